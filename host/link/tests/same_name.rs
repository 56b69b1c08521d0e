//! Two sessions with the name of one device find each other: side by side, and through a session that both are connected to.
#![allow(clippy::unwrap_used, reason = "tests")]

mod sessions;

use std::time::{Duration, SystemTime};

use hotshoe_base::VirtualClock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{ZenohConfig, ZenohMode};
use hotshoe_egress::Classifier;
use hotshoe_link::{Link, Serving, Site};
use hotshoe_tests::until;

use sessions::{connected, listening};

/// A session of the device `camera`.
fn device(config: &ZenohConfig, time: &VirtualClock) -> (Link, Serving) {
    let supervisor = Supervisor::timed_by(time.clock());
    let link = Link::open_with(config, "lab", "camera", &supervisor).unwrap();
    let serving = link
        .serve(&[], |_, _| {}, || Classifier::host(&()))
        .unwrap();
    (link, serving)
}

/// Waits until each of two sessions has found the other, and then until the first finds none after the end of the second.
fn find_each_other(time: &VirtualClock, one: (Link, Serving), two: (Link, Serving)) {
    assert!(one.0.same_name().is_empty() && two.0.same_name().is_empty());
    let ids = |link: &Link| vec![link.status().id];
    until("they find each other", || {
        time.advance(Duration::from_secs(1));
        one.0.same_name() == ids(&two.0) && two.0.same_name() == ids(&one.0)
    });
    drop(two.1);
    two.0.close();
    until("the other is gone", || one.0.same_name().is_empty());
    drop(one.1);
    one.0.close();
}

#[test]
fn sessions_that_are_connected_find_each_other() {
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let one = device(&listening(), &time);
    let two = device(&connected(one.0.status().locators), &time);
    find_each_other(&time, one, two);
}

#[test]
fn sessions_behind_a_router_find_each_other() {
    let time = VirtualClock::at(SystemTime::UNIX_EPOCH);
    let router = ZenohConfig {
        mode: ZenohMode::Router,
        ..listening()
    };
    let registry = Site::open_with(&router, "lab", &Supervisor::timed_by(time.clock())).unwrap();
    let names = registry.relay_names().unwrap();
    let one = device(&connected(registry.status().locators), &time);
    let two = device(&connected(registry.status().locators), &time);
    find_each_other(&time, one, two);
    drop(names);
    registry.close();
}
