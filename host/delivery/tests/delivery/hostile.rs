//! Sources that send bad data, nothing, or too much, beside an honest one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hotshoe_delivery::{Cancel, DeliveryConfig};
use zenoh::Wait;
use zenoh::bytes::Encoding;

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
