//! Sources that send bad data, nothing, or too much, beside an honest one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hotshoe_delivery::{Cancel, DeliveryConfig};
use hotshoe_protocol::group::{GROUP, header};
use hotshoe_store::Catalogue;
use hotshoe_trust::Digest;
use zenoh::Wait;
use zenoh::bytes::Encoding;
use zenoh::query::Query;

use crate::support::{
    DEADLINE, Deployer, Device, Rogue, SITE, connecting, listening, noise, object_key, publisher,
    until,
};

/// A fetch with short timeouts, so that the tests are fast.
fn hasty() -> DeliveryConfig {
    DeliveryConfig {
        stall: Duration::from_millis(500),
        batch_timeout: Duration::from_secs(2),
        ..DeliveryConfig::default()
    }
}

fn counted() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (Arc::clone(&count), count)
}

#[test]
fn rubbish_costs_a_source_its_standing_and_the_release_nothing() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(11, 4 << 20));
    let device = Device::new("camera", &listening(), hasty());
    let (asked, count) = counted();
    let rogue = Rogue::new(&device.locators(), "registry-a", move |query, digests| {
        count.fetch_add(1, Ordering::Relaxed);
        for digest in digests {
            let key = object_key(query, digest);
            query.reply(key, noise(99, 1_000)).wait().unwrap();
        }
    });
    let watched = device.link.site_session().sources().unwrap();
    until("the rogue is there", || watched.live().len() == 1);
    let locators = device.locators();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| device.fetch(&made));
        until("the rogue is asked", || asked.load(Ordering::Relaxed) > 0);
        let source = publisher(&connecting(&locators), &made);
        let moved = fetching.join().unwrap();
        assert!(!moved.from.contains_key("registry-a"), "{moved:?}");
        // It was demoted with the package already, and is not asked again.
        assert!(moved.refused.is_empty(), "{moved:?}");
        assert!(source.sent() > 4 << 20);
    });
    drop(rogue);
}

#[test]
fn silence_does_not_stop_another_source() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(12, 4 << 20));
    let device = Device::new("camera", &listening(), hasty());
    let held = std::sync::Mutex::new(Vec::new());
    // The queries are kept, so that Zenoh itself waits for their ends.
    let _rogue = Rogue::new(&device.locators(), "registry-a", move |query, _| {
        held.lock().unwrap().push(query.clone());
    });
    let _source = publisher(&connecting(&device.locators()), &made);
    let watched = device.link.site_session().sources().unwrap();
    until("both are there", || watched.live().len() == 2);
    let moved = device.fetch(&made);
    assert!(moved.bytes_received > 4 << 20);
    assert!(!moved.from.contains_key("registry-a"), "{moved:?}");
}

#[test]
fn a_bomb_unpacks_to_no_more_than_was_asked_for() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(13, 1 << 20));
    let device = Device::new("camera", &listening(), hasty());
    let bomb = zstd::bulk::compress(&vec![0_u8; 256 << 20], 3).unwrap();
    assert!(bomb.len() < 100_000);
    let (asked, count) = counted();
    let _rogue = Rogue::new(&device.locators(), "registry-a", move |query, digests| {
        count.fetch_add(1, Ordering::Relaxed);
        for digest in digests {
            let key = object_key(query, digest);
            let reply = query.reply(key, bomb.clone());
            reply
                .encoding(Encoding::from("application/zstd"))
                .wait()
                .unwrap();
        }
    });
    let locators = device.locators();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| device.fetch(&made));
        until("the rogue is asked", || asked.load(Ordering::Relaxed) > 0);
        let _source = publisher(&connecting(&locators), &made);
        let moved = fetching.join().unwrap();
        assert!(!moved.from.contains_key("registry-a"), "{moved:?}");
    });
}

#[test]
fn rubbish_under_another_sources_key_does_not_harm_that_source() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(14, 4 << 20));
    let device = Device::new("camera", &listening(), hasty());
    let everything = format!("hotshoe/{SITE}/@objects/*/*");
    let _rogue = Rogue::under(
        &device.locators(),
        "registry-a",
        &everything,
        |query, digests| {
            for digest in digests {
                let key = object_key(query, digest);
                let _ = query.reply(key, noise(98, 500)).wait();
            }
        },
    );
    let source = publisher(&connecting(&device.locators()), &made);
    let watched = device.link.site_session().sources().unwrap();
    until("both are there", || watched.live().len() == 2);
    let moved = device.fetch(&made);
    assert!(moved.from.contains_key(source.source()), "{moved:?}");
}

#[test]
fn endless_replies_end_at_the_fetcher() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(15, 1 << 20));
    let device = Device::new("camera", &listening(), hasty());
    let _rogue = Rogue::new(&device.locators(), "registry-a", |query, digests| {
        let Some(digest) = digests.first() else {
            return;
        };
        for _ in 0..2_000 {
            let _ = query
                .reply(object_key(query, *digest), noise(97, 2_000))
                .wait();
        }
    });
    let _source = publisher(&connecting(&device.locators()), &made);
    let moved = device.blobs_of(&made, |_| {}, &Cancel::after(DEADLINE));
    let refused: u64 = moved.refused.values().sum();
    assert!(refused < 500, "{moved:?}");
}

/// A reply with several objects.
fn group(objects: &[(Digest, bool, &[u8])]) -> Vec<u8> {
    let list: Vec<_> = objects
        .iter()
        .map(|(digest, zstd, bytes)| (*digest, *zstd, bytes.len()))
        .collect();
    let mut reply = header(&list);
    for (.., bytes) in objects {
        reply.extend_from_slice(bytes);
    }
    reply
}

/// The key of a reply with several objects.
fn group_key(query: &Query) -> String {
    let key = query.key_expr().as_str();
    format!("{}/{GROUP}", key.rsplit_once('/').unwrap().0)
}

#[test]
fn a_wrong_byte_costs_one_chunk_of_a_reply_and_the_source_is_named() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(16, 2 << 20));
    let device = Device::new("camera", &listening(), hasty());
    let catalogue = Catalogue::new();
    catalogue.add_layout(&made.layout).unwrap();
    let (spoilt, count) = counted();
    let _rogue = Rogue::new(&device.locators(), "registry-a", move |query, digests| {
        let mut contents: Vec<_> = digests
            .iter()
            .map(|digest| catalogue.read(*digest).unwrap())
            .collect();
        if let [_, second, _, ..] = contents.as_mut_slice()
            && second.len() > 500
            && count.fetch_add(1, Ordering::Relaxed) == 0
        {
            second[500] ^= 1;
        }
        let objects: Vec<_> = digests
            .iter()
            .zip(&contents)
            .map(|(digest, content)| (*digest, false, content.as_slice()))
            .collect();
        query
            .reply(group_key(query), group(&objects))
            .wait()
            .unwrap();
    });
    let locators = device.locators();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| device.blobs_of(&made, |_| {}, &Cancel::after(DEADLINE)));
        until("a chunk was spoilt", || spoilt.load(Ordering::Relaxed) > 0);
        let source = publisher(&connecting(&locators), &made);
        let moved = fetching.join().unwrap();
        assert!(moved.refused["registry-a"] >= 1, "{moved:?}");
        assert!(moved.from["registry-a"] > 0, "{moved:?}");
        assert!(moved.from[source.source()] > 0, "{moved:?}");
    });
}

#[test]
fn a_group_that_is_malformed_or_was_not_asked_for_costs_its_source_only() {
    let deployer = Deployer::new();
    let made = deployer.release("ocr", 1, &noise(17, 1 << 20));
    let device = Device::new("camera", &listening(), hasty());
    let bomb = zstd::bulk::compress(&vec![0_u8; 64 << 20], 3).unwrap();
    type Reply = fn(&[Digest], &[u8]) -> Vec<u8>;
    let replies: [Reply; 4] = [
        |_, _| vec![1, 255, 7],
        |digests, _| group(&[(digests[0], false, b"short")])[..30].to_vec(),
        |_, _| group(&[(Digest::of(b"other"), false, b"other".as_slice()); 3]),
        |digests, bomb| group(&[(digests[0], true, bomb), (digests[0], true, bomb)]),
    ];
    let (asked, count) = counted();
    let rogues: Vec<_> = ["registry-a", "registry-b", "registry-c", "registry-d"]
        .iter()
        .zip(replies)
        .map(|(name, reply)| {
            let (count, bomb) = (Arc::clone(&count), bomb.clone());
            Rogue::new(&device.locators(), name, move |query, digests| {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = query.reply(group_key(query), reply(&digests, &bomb)).wait();
            })
        })
        .collect();
    let watched = device.link.site_session().sources().unwrap();
    until("the rogues are there", || {
        watched.live().len() == rogues.len()
    });
    let locators = device.locators();
    std::thread::scope(|scope| {
        let fetching = scope.spawn(|| device.fetch(&made));
        until("the rogues are asked", || {
            asked.load(Ordering::Relaxed) >= 4
        });
        let source = publisher(&connecting(&locators), &made);
        let moved = fetching.join().unwrap();
        assert_eq!(moved.from.keys().collect::<Vec<_>>(), [source.source()]);
    });
}
