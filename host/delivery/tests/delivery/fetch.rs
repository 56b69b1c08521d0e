//! Fetches: what is transferred, what is reused, and what is resumed.

use std::collections::BTreeSet;
use std::sync::mpsc::channel;

use hotshoe_config::{ZenohConfig, ZenohMode};
use hotshoe_delivery::{Cancel, DeliveryConfig, FetchError};
use hotshoe_link::ObjectReply;
use hotshoe_protocol::wire::{expand, is_origin};
use hotshoe_trust::{ChunkIndex, Digest};

use crate::support::{
    DEADLINE, Deployer, Device, Made, SITE, connecting, listening, noise, publisher, until,
};

#[test]
fn a_release_arrives_whole_and_a_changed_model_moves_what_changed() {
    let deployer = Deployer::new();
    let model = noise(1, 10 << 20);
    let first = deployer.release("ocr", 1, &model);
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    let source = publisher(&connecting(&device.locators()), &first);
    let moved = device.fetch(&first);
    let total: u64 = first.release.blobs().map(|b| b.size).sum();
    assert_eq!(moved.bytes_reused, 0, "{moved:?}");
    assert!(
        moved.bytes_received.abs_diff(total) < total / 100,
        "{moved:?}"
    );
    assert_eq!(moved.from.keys().collect::<Vec<_>>(), [source.source()]);
    assert!(moved.refused.is_empty());
    source.close();

    let mut changed = model;
    changed.splice(4 << 20..(4 << 20) + 100_000, noise(2, 99_000));
    let second = deployer.release("ocr", 2, &changed);
    let source = publisher(&connecting(&device.locators()), &second);
    let moved = device.fetch(&second);
    assert!(
        moved.bytes_received < changed.len() as u64 / 20,
        "{} of {} bytes moved",
        moved.bytes_received,
        changed.len()
    );
    // Nothing is left to fetch, so no source is needed.
    source.close();
    let again = device.fetch(&second);
    assert_eq!(again.bytes_received, 0);
}

#[test]
fn many_chunks_come_in_one_reply_and_only_those_that_shrink_are_compressed() {
    let deployer = Deployer::new();
    let mut model = noise(5, 2 << 20);
    model[512 << 10..1 << 20].fill(7);
    let made = deployer.release("ocr", 1, &model);
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    let source = publisher(&connecting(&device.locators()), &made);
    let index = made.release.chunks.values().next().unwrap();
    let index = made.layout.read(index).unwrap();
    let chunks = ChunkIndex::parse_chunks(&index).unwrap();
    let asked: Vec<_> = chunks
        .iter()
        .take(16)
        .map(|chunk| (chunk.digest, chunk.size))
        .collect();
    let site = device.link.site_session();
    let watched = site.sources().unwrap();
    until("the source is there", || watched.live().len() == 1);
    let (replies, heard) = channel();
    let _pending = site
        .ask(source.source(), "camera", &asked, DEADLINE, move |reply| {
            let _ = replies.send(reply);
        })
        .unwrap();
    let mut found = Vec::new();
    let mut forms = [0, 0];
    let count = loop {
        match heard.recv_timeout(DEADLINE).unwrap() {
            ObjectReply::Objects { objects, .. } => {
                let bytes = objects.bytes();
                for part in objects.parts(&bytes).unwrap() {
                    forms[usize::from(part.zstd)] += 1;
                    let sent = &bytes[part.range];
                    let content = match part.zstd {
                        true => expand(sent, 256 << 10).unwrap(),
                        false => sent.to_vec(),
                    };
                    assert_eq!(Digest::of(&content), part.digest);
                    found.push(part.digest);
                }
            }
            ObjectReply::Finished { replies } => break replies,
            other => panic!("{other:?}"),
        }
    };
    let distinct: BTreeSet<_> = asked.iter().map(|(digest, _)| *digest).collect();
    assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), distinct);
    assert!(count <= 4, "{count} replies for {} chunks", asked.len());
    assert!(forms[0] > 0 && forms[1] > 0, "{forms:?}");
}

#[test]
fn a_fetch_goes_on_where_it_was_left() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(3, 12 << 20));
    let slow = DeliveryConfig {
        max_bytes_per_second: Some(6 << 20),
        ..DeliveryConfig::default()
    };
    let device = Device::new("camera", &listening(), slow);
    let source = publisher(&connecting(&device.locators()), &made);
    let total: u64 = made.release.blobs().map(|b| b.size).sum();
    let cancel = Cancel::new();
    let error = device
        .fetcher
        .release(
            &made.release,
            &device.blobs,
            |progress| {
                if progress.fetched > total / 3 {
                    cancel.cancel();
                }
            },
            &cancel,
        )
        .unwrap_err();
    assert!(error.is_cancelled(), "{error}");
    assert_eq!(error.name(), "cancelled");
    let sent = source.sent();
    assert!(
        sent > 0 && sent < total,
        "{sent} of {total} bytes were sent"
    );
    let moved = device.blobs_of(&made, |_| {}, &Cancel::after(DEADLINE));
    assert!(moved.bytes_reused >= total / 3, "{moved:?}");
    assert!(
        (moved.bytes_reused + moved.bytes_received).abs_diff(total) < total / 50,
        "{moved:?} of {total}"
    );
}

#[test]
fn without_a_source_a_fetch_waits_and_does_not_fail() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(4, 300_000));
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    let locators = device.locators();
    let (waiting, waits) = channel();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            let progress = |p: hotshoe_delivery::Progress| {
                let _ = waiting.send(p);
            };
            device.blobs_of(&made, progress, &Cancel::after(DEADLINE))
        });
        let progress = waits.recv_timeout(DEADLINE).unwrap();
        assert_eq!((progress.fetched, progress.sources), (0, 0));
        let source = publisher(&connecting(&locators), &made);
        let moved = fetching.join().unwrap();
        assert!(moved.bytes_received > 0);
        assert_eq!(source.sent(), moved.bytes_received);
    });
}

#[test]
fn a_fetch_of_what_does_not_exist_ends_when_it_is_cancelled() {
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, b"weights");
    let _source = publisher(&connecting(&device.locators()), &made);
    let cancel = Cancel::after(std::time::Duration::from_millis(500));
    let nothing = Digest::of(b"nothing");
    let error = device.fetcher.package(nothing, &[], &cancel).unwrap_err();
    assert!(matches!(error, FetchError::Cancelled), "{error}");
}

#[test]
fn a_large_blob_without_chunks_is_refused() {
    let deployer = Deployer::new();
    let mut made = deployer.release("ocr", 1, &noise(5, 5 << 20));
    made.release.chunks.clear();
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    let error = device
        .fetcher
        .release(&made.release, &device.blobs, |_| {}, &Cancel::new())
        .unwrap_err();
    assert!(matches!(error, FetchError::NotChunked { .. }), "{error}");
    assert!(error.is_permanent());
}

#[test]
fn clients_behind_a_router_get_it_too_and_download_it_once() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(6, 8 << 20));
    let router = ZenohConfig {
        mode: ZenohMode::Router,
        ..listening()
    };
    let router = hotshoe_link::Site::open(&router, SITE).unwrap();
    let connect = connecting(&router.status().locators);
    let client = ZenohConfig {
        mode: ZenohMode::Client,
        ..connect.clone()
    };
    let source = publisher(&connect, &made);
    let devices: Vec<Device> = (0..4)
        .map(|i| Device::new(&format!("camera-{i}"), &client, DeliveryConfig::default()))
        .collect();
    let sharing: Vec<_> = devices
        .iter()
        .map(|d| d.link.share(d.catalogue.clone()).unwrap())
        .collect();
    let watched = devices[0].link.site_session().sources().unwrap();
    until("all sources are known", || watched.live().len() == 5);
    let moved: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = devices
            .iter()
            .map(|device| scope.spawn(|| device.fetch(&made)))
            .collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let total: u64 = made.release.blobs().map(|b| b.size).sum();
    let shared: u64 = sharing.iter().map(hotshoe_link::Sharing::sent).sum();
    let by_origin: u64 = moved
        .iter()
        .flat_map(|m| &m.from)
        .filter(|(name, _)| is_origin(name))
        .map(|(_, bytes)| bytes)
        .sum();
    println!(
        "total {total}, from the origin {by_origin}, from neighbours {shared}, sent {}",
        source.sent()
    );
    // Four devices without sharing take four times the release. Chunks that a busy neighbour does not send in time come from the origin.
    assert!(by_origin < 3 * total, "{by_origin} of {total}");
    assert!(shared > total, "{shared} of {total}");
    drop(sharing);
    router.close();
}

#[test]
fn a_wrong_index_of_a_blob_that_is_here_already_fails_the_release() {
    let deployer = Deployer::new();
    let mut made = deployer.release("ocr", 1, &noise(6, 1 << 20));
    let device = Device::new("camera", &listening(), DeliveryConfig::default());
    for blob in made.release.blobs() {
        device.blobs.put(&made.layout.read(&blob).unwrap()).unwrap();
    }
    let release = |made: &Made| {
        let cancel = Cancel::after(DEADLINE);
        device
            .fetcher
            .release(&made.release, &device.blobs, |_| {}, &cancel)
    };
    release(&made).unwrap();

    // The right sizes, and another digest for the last chunk.
    let index = made.release.chunks.values_mut().next().unwrap();
    let mut bytes = made.layout.read(index).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    *index = device.blobs.put(&bytes).unwrap();
    let error = release(&made).unwrap_err();
    assert_eq!(error.name(), "bad_index", "{error}");
    assert!(error.is_permanent());
}
