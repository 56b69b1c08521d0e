#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use serde_json::{Value, json};

use super::*;

fn release() -> Digest {
    Digest::of(b"the release")
}

fn courses(goal: Goal, selector: DeviceSelector) -> Courses {
    Courses::new(release(), goal, selector)
}

fn named(name: &str) -> DeviceSelector {
    DeviceSelector {
        names: vec![name.to_owned()],
        ..DeviceSelector::default()
    }
}

fn event(device: &str, phase: Phase) -> DeployEvent {
    DeployEvent {
        site: "lab".to_owned(),
        device: device.to_owned(),
        release: release(),
        name: "labels".to_owned(),
        generation: 2,
        phase,
        fetched: 0,
        total: 0,
        cause: None,
        statement: None,
        at: Time::UNIX_EPOCH,
    }
}

fn failed(device: &str, phase: Phase, cause: &str) -> DeployEvent {
    DeployEvent {
        cause: Some(Cause::new(cause, "so it is")),
        ..event(device, phase)
    }
}

/// A status whose deploy part and slots are given as JSON.
fn status(device: &str, line: &str, deploy: Value, slots: Value) -> Status {
    serde_json::from_value(json!({
        "site": "lab", "device": device, "version": "0.1.0", "labels": {"line": line}, "release": null,
        "slots": slots, "deploy": deploy, "last_rollback": null, "health": null, "trust_version": 1,
        "swaps": 0, "rollbacks": 0, "refused": {}, "ignored": {}, "last_swap_ns": null, "stale": false,
        "uptime_s": 1, "workers": 1, "queue": {"len": 0, "capacity": 1, "policy": "block"},
        "counters": Counters::default(), "stages": [],
        "session": {"id": "1", "locators": [], "peers": 0},
    }))
    .expect("a status")
}

use hotshoe_protocol::status::Counters;

fn working(phase: Phase, cause: Option<&str>, waiting: Option<&str>) -> Value {
    json!({
        "phase": phase, "release": release(), "name": "labels", "generation": 2, "fetched": 1, "total": 2,
        "cause": cause.map(|name| json!({"name": name, "message": "so it is"})), "waiting": waiting,
    })
}

fn empty() -> Value {
    json!({"live": null, "previous": null, "staged": null, "trial": null})
}

#[test]
fn a_device_goes_from_fetching_to_confirmed() {
    let mut courses = courses(Goal::Confirmed, DeviceSelector::default());
    for phase in [
        Phase::Fetching,
        Phase::Verified,
        Phase::Staged,
        Phase::SelfTested,
        Phase::Trial,
    ] {
        assert_eq!(courses.event(&event("a", phase)), Change::Phase, "{phase}");
        assert!(!courses.are_over(1));
    }
    assert_eq!(courses.event(&event("a", Phase::Trial)), Change::None);
    assert_eq!(courses.event(&event("a", Phase::Live)), Change::Phase);
    assert!(courses.are_over(1) && courses.are_good());
    assert!(!courses.are_over(2), "another one is expected");
}

#[test]
fn a_failure_names_its_cause() {
    let mut courses = courses(Goal::Confirmed, DeviceSelector::default());
    courses.event(&failed("a", Phase::RolledBack, "trap_rate"));
    let course = courses.get("a").unwrap();
    assert_eq!(course.outcome, Some(Outcome::RolledBack));
    assert_eq!(course.cause().unwrap().name, "trap_rate");
    assert!(courses.are_over(1) && !courses.are_good());
    // Nothing changes an end.
    courses.event(&event("a", Phase::Live));
    assert_eq!(courses.get("a").unwrap().outcome, Some(Outcome::RolledBack));
}

#[test]
fn what_is_cancelled_meanwhile_is_withdrawn() {
    let mut courses = courses(Goal::Confirmed, DeviceSelector::default());
    courses.event(&event("a", Phase::Absent));
    assert_eq!(courses.get("a").unwrap().outcome, None);
    courses.event(&failed("a", Phase::Absent, "cancelled"));
    assert_eq!(courses.get("a").unwrap().outcome, Some(Outcome::Withdrawn));
}

#[test]
fn other_devices_and_other_releases_are_left_aside() {
    let mut courses = courses(Goal::Confirmed, named("a*"));
    assert_eq!(courses.seen("b"), Change::None);
    assert_eq!(courses.event(&event("b", Phase::Live)), Change::None);
    let mut other = event("a", Phase::Live);
    other.release = Digest::of(b"another");
    assert_eq!(courses.event(&other), Change::None);
    assert_eq!(courses.devices().count(), 0);
    assert_eq!(courses.seen("a"), Change::Phase);
    assert_eq!(courses.seen("a"), Change::None);
}

#[test]
fn labels_are_known_by_the_status_alone() {
    let labels = BTreeMap::from([("line".to_owned(), "4".to_owned())]);
    let selector = DeviceSelector {
        labels,
        ..DeviceSelector::default()
    };
    let mut courses = courses(Goal::Confirmed, selector);
    courses.seen("a");
    courses.event(&event("a", Phase::Live));
    assert_eq!(courses.devices().count(), 0);
    let now = Time::UNIX_EPOCH;
    courses.status(
        &status("a", "5", working(Phase::Live, None, None), empty()),
        true,
        now,
    );
    assert_eq!(courses.devices().count(), 0);
    courses.status(
        &status("b", "4", working(Phase::Live, None, None), empty()),
        true,
        now,
    );
    assert!(courses.are_over(1) && courses.are_good());
}

#[test]
fn an_earlier_failure_of_the_same_release_counts_only_when_it_has_settled() {
    let mut courses = courses(Goal::Confirmed, DeviceSelector::default());
    let refused = working(Phase::Refused, Some("failed_before"), None);
    let status = status("a", "4", refused, empty());
    courses.status(&status, false, Time::UNIX_EPOCH);
    assert_eq!(courses.get("a").unwrap().outcome, None);
    courses.status(&status, true, Time::UNIX_EPOCH);
    assert_eq!(courses.get("a").unwrap().outcome, Some(Outcome::Refused));
}

#[test]
fn a_release_that_is_live_already_is_confirmed_at_once() {
    let mut courses = courses(Goal::Confirmed, DeviceSelector::default());
    let nothing = json!({
        "phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0, "cause": null,
        "waiting": null,
    });
    let slot = json!({"release": release(), "name": "labels", "generation": 2, "installed": "2026-01-01T00:00:00Z"});
    let slots = json!({"live": slot, "previous": null, "staged": null, "trial": null});
    courses.status(&status("a", "4", nothing, slots), false, Time::UNIX_EPOCH);
    assert!(courses.are_over(1) && courses.are_good());
}

#[test]
fn a_trial_counts_its_samples() {
    let mut courses = courses(Goal::Confirmed, DeviceSelector::default());
    let slot = json!({"release": release(), "name": "labels", "generation": 2, "installed": "2026-01-01T00:00:00Z"});
    let trial = |samples: u64| {
        json!({"live": null, "previous": null, "staged": null, "trial": {
            "slot": slot, "tries_left": 0, "since": "2026-01-01T00:00:00Z",
            "samples": samples, "wanted_samples": 20, "seconds": 1, "wanted_seconds": 10,
        }})
    };
    let now = Time::UNIX_EPOCH;
    courses.event(&event("a", Phase::Trial));
    let at = |samples| status("a", "4", working(Phase::Trial, None, None), trial(samples));
    assert_eq!(courses.status(&at(3), true, now), Change::Figure);
    assert_eq!(courses.get("a").unwrap().samples, Some((3, 20)));
    assert_eq!(courses.status(&at(3), true, now), Change::None);
}

#[test]
fn staging_is_over_when_the_release_waits_to_be_activated() {
    let mut courses = courses(Goal::Staged, DeviceSelector::default());
    courses.event(&event("a", Phase::Staged));
    assert!(!courses.are_over(1));
    let waits = working(Phase::SelfTested, None, Some("activation"));
    courses.status(&status("a", "4", waits, empty()), true, Time::UNIX_EPOCH);
    assert_eq!(courses.get("a").unwrap().outcome, Some(Outcome::Staged));
}

#[test]
fn a_device_that_says_nothing_of_the_release_tells_why() {
    let mut courses = courses(Goal::Confirmed, DeviceSelector::default());
    let nothing = json!({
        "phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0, "cause": null,
        "waiting": null,
    });
    let mut status = status("a", "4", nothing, empty());
    status.ignored.insert("refused_before".to_owned(), 3);
    let now = Time::UNIX_EPOCH;
    assert_eq!(courses.status(&status, true, now), Change::None);
    for name in ["unsigned_statement", "other_device"] {
        status.ignored.insert(name.to_owned(), 1);
    }
    assert_eq!(courses.status(&status, false, now), Change::Phase);
    assert_eq!(courses.get("a").unwrap().ignored, ["unsigned_statement"]);
    assert_eq!(courses.get("a").unwrap().outcome, Some(Outcome::Failed));
    assert_eq!(courses.status(&status, true, now), Change::None);
}

#[test]
fn a_claim_confirms_nothing_where_signatures_are_asked_for() {
    let mut courses = courses(Goal::Confirmed, DeviceSelector::default());
    let live = event("a", Phase::Live);
    let why = Unproven::Unsigned;
    assert_eq!(courses.claimed(&live, why, false), Change::Phase);
    assert_eq!(courses.claimed(&live, why, false), Change::None);
    assert!(!courses.are_over(1), "the device itself may yet be heard");
    courses.claimed(&live, why, true);
    assert_eq!(courses.get("a").unwrap().outcome, Some(Outcome::Unverified));
    assert!(courses.are_over(1) && !courses.are_good());
    assert_eq!(courses.good(), 0);
    // The device itself has the last word.
    courses.proved("a");
    courses.event(&event("a", Phase::Trial));
    assert_eq!(courses.claimed(&live, why, true), Change::None);
    assert!(!courses.are_over(1));
    courses.event(&live);
    assert!(courses.are_over(1) && courses.are_good());
}

#[test]
fn a_status_that_is_not_signed_is_a_claim() {
    let mut courses = courses(Goal::Confirmed, named("a"));
    let nothing = json!({
        "phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0, "cause": null,
        "waiting": null,
    });
    let slot = json!({"release": release(), "name": "labels", "generation": 2, "installed": "2026-01-01T00:00:00Z"});
    let slots = json!({"live": slot, "previous": null, "staged": null, "trial": null});
    let now = Time::UNIX_EPOCH;
    for device in ["a", "b"] {
        let status = status(device, "4", nothing.clone(), slots.clone());
        courses.claimed_status(&status, Unproven::Unlisted, true, now);
    }
    assert_eq!(courses.devices().count(), 1);
    assert_eq!(courses.get("a").unwrap().outcome, Some(Outcome::Unverified));
    assert_eq!(courses.good(), 0);
}
