//! More statements than anybody can look at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hotshoe_trust::{DeviceSelector, Digest, Envelope, Order};

use super::scene::{Scene, quick};
use crate::site::{settled_on, statement};

/// Statements in a flood.
const FLOOD: u64 = 10_000;
/// After so many of them, the device must answer a sample.
const SAMPLE_EVERY: u64 = 1_000;

/// A well-formed statement that wants a release that no source has, issued some seconds from now.
fn vain(number: u64, name: &str, seconds: i64) -> Vec<u8> {
    let order = Order::Deploy {
        release: Digest::of(&number.to_le_bytes()),
        name: name.to_owned(),
        generation: 1_000 + number,
        bundles: vec![Digest::of(b"no bundle")],
        activate: true,
    };
    let mut statement = statement(order, DeviceSelector::default());
    statement.issued += jiff::SignedDuration::from_secs(seconds);
    Envelope::new(&statement).unwrap().to_bytes()
}

#[test]
fn a_flood_of_desired_states() {
    let mut scene = Scene::new();
    let mut peer = scene.peer();
    // It answers at once that it has nothing.
    peer.source(drop);
    for number in 0..FLOOD {
        let name = format!("flood-{number}");
        peer.put(&format!("@desired/{name}"), &vain(number, &name, 0));
        if number % SAMPLE_EVERY == 0 {
            scene.serves(1);
        }
    }
    scene.is_unharmed();
    let second = scene.site.pack(&quick(2, ""));
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));
    scene.serves(2);
}

#[test]
fn a_flood_of_statements_that_claim_to_be_newer() {
    let mut scene = Scene::new();
    let mut peer = scene.peer();
    peer.source(drop);
    for number in 0..200 {
        let name = format!("flood-{number}");
        peer.put(&format!("@desired/{name}"), &vain(number, &name, 240));
    }
    // One that takes the good one's name, too.
    peer.state("light", &vain(0, "light", 240));
    let second = scene.site.pack(&quick(2, ""));
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));
    scene.serves(2);
}

#[test]
fn a_flood_under_the_name_of_the_release() {
    let mut scene = Scene::new();
    let second = scene.site.pack(&quick(2, ""));
    let peer = scene.peer();
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let flood = thread::spawn(move || {
        let mut number = 0;
        while !ended.load(Ordering::Relaxed) {
            peer.put("@desired/light", format!("rubbish {number}").as_bytes());
            number += 1;
        }
    });
    scene.says("malformed");
    scene.site.publish(&second);
    scene.daemon.feed_until(settled_on(2));
    scene.serves(2);
    over.store(true, Ordering::Relaxed);
    flood.join().unwrap();
}
