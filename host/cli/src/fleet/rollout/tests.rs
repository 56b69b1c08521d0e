#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use serde_json::{Value, json};

use super::*;

fn release() -> Digest {
    Digest::of(b"the release")
}

fn rollout(goal: Goal, selector: DeviceSelector) -> Rollout {
    Rollout::new(release(), goal, selector)
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
        cause: Some(Cause::new(cause, "a reason")),
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
        "cause": cause.map(|name| json!({"name": name, "message": "a reason"})), "waiting": waiting,
    })
}

fn empty() -> Value {
    json!({"live": null, "previous": null, "staged": null, "trial": null})
}

#[test]
fn a_device_goes_from_fetching_to_confirmed() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    for phase in [
        Phase::Fetching,
        Phase::Verified,
        Phase::Staged,
        Phase::SelfTested,
        Phase::Trial,
    ] {
        assert_eq!(rollout.event(&event("a", phase)), Change::Phase, "{phase}");
        assert!(!rollout.are_over(1));
    }
    assert_eq!(rollout.event(&event("a", Phase::Trial)), Change::None);
    assert_eq!(rollout.event(&event("a", Phase::Live)), Change::Phase);
    assert!(rollout.are_over(1) && rollout.are_good());
    assert!(!rollout.are_over(2), "another one is expected");
}

#[test]
fn a_failure_names_its_cause() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    rollout.event(&failed("a", Phase::RolledBack, "trap_rate"));
    let progress = rollout.get("a").unwrap();
    assert_eq!(progress.outcome, Some(Outcome::RolledBack));
    assert_eq!(progress.cause().unwrap().name, "trap_rate");
    assert!(rollout.are_over(1) && !rollout.are_good());
    // A final state does not change.
    rollout.event(&event("a", Phase::Live));
    assert_eq!(rollout.get("a").unwrap().outcome, Some(Outcome::RolledBack));
}

#[test]
fn a_cancelled_release_is_withdrawn() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    rollout.event(&event("a", Phase::Absent));
    assert_eq!(rollout.get("a").unwrap().outcome, None);
    rollout.event(&failed("a", Phase::Absent, "cancelled"));
    assert_eq!(rollout.get("a").unwrap().outcome, Some(Outcome::Withdrawn));
}

#[test]
fn other_devices_and_other_releases_are_ignored() {
    let mut rollout = rollout(Goal::Confirmed, named("a*"));
    assert_eq!(rollout.add_device("b"), Change::None);
    assert_eq!(rollout.event(&event("b", Phase::Live)), Change::None);
    let mut other = event("a", Phase::Live);
    other.release = Digest::of(b"another");
    assert_eq!(rollout.event(&other), Change::None);
    assert_eq!(rollout.devices().count(), 0);
    assert_eq!(rollout.add_device("a"), Change::Phase);
    assert_eq!(rollout.add_device("a"), Change::None);
}

#[test]
fn labels_are_known_by_the_status_alone() {
    let labels = BTreeMap::from([("line".to_owned(), "4".to_owned())]);
    let selector = DeviceSelector {
        labels,
        ..DeviceSelector::default()
    };
    let mut rollout = rollout(Goal::Confirmed, selector);
    rollout.add_device("a");
    rollout.event(&event("a", Phase::Live));
    assert_eq!(rollout.devices().count(), 0);
    let now = Time::UNIX_EPOCH;
    rollout.status(
        &status("a", "5", working(Phase::Live, None, None), empty()),
        true,
        now,
    );
    assert_eq!(rollout.devices().count(), 0);
    rollout.status(
        &status("b", "4", working(Phase::Live, None, None), empty()),
        true,
        now,
    );
    assert!(rollout.are_over(1) && rollout.are_good());
}

#[test]
fn an_earlier_failure_of_the_same_release_counts_only_when_it_has_settled() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    let refused = working(Phase::Refused, Some("failed_before"), None);
    let status = status("a", "4", refused, empty());
    rollout.status(&status, false, Time::UNIX_EPOCH);
    assert_eq!(rollout.get("a").unwrap().outcome, None);
    rollout.status(&status, true, Time::UNIX_EPOCH);
    assert_eq!(rollout.get("a").unwrap().outcome, Some(Outcome::Refused));
}

#[test]
fn a_release_that_is_live_already_is_confirmed_at_once() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    let nothing = json!({
        "phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0, "cause": null,
        "waiting": null,
    });
    let slot = json!({"release": release(), "name": "labels", "generation": 2, "installed": "2026-01-01T00:00:00Z"});
    let slots = json!({"live": slot, "previous": null, "staged": null, "trial": null});
    rollout.status(&status("a", "4", nothing, slots), false, Time::UNIX_EPOCH);
    assert!(rollout.are_over(1) && rollout.are_good());
}

#[test]
fn a_trial_counts_its_samples() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    let slot = json!({"release": release(), "name": "labels", "generation": 2, "installed": "2026-01-01T00:00:00Z"});
    let trial = |samples: u64| {
        json!({"live": null, "previous": null, "staged": null, "trial": {
            "slot": slot, "tries_left": 0, "since": "2026-01-01T00:00:00Z",
            "samples": samples, "wanted_samples": 20, "seconds": 1, "wanted_seconds": 10,
        }})
    };
    let now = Time::UNIX_EPOCH;
    rollout.event(&event("a", Phase::Trial));
    let at = |samples| status("a", "4", working(Phase::Trial, None, None), trial(samples));
    assert_eq!(rollout.status(&at(3), true, now), Change::Figure);
    assert_eq!(rollout.get("a").unwrap().samples, Some((3, 20)));
    assert_eq!(rollout.status(&at(3), true, now), Change::None);
}

#[test]
fn staging_is_over_when_the_release_waits_to_be_activated() {
    let mut rollout = rollout(Goal::Staged, DeviceSelector::default());
    rollout.event(&event("a", Phase::Staged));
    assert!(!rollout.are_over(1));
    let waits = working(Phase::SelfTested, None, Some("activation"));
    rollout.status(&status("a", "4", waits, empty()), true, Time::UNIX_EPOCH);
    assert_eq!(rollout.get("a").unwrap().outcome, Some(Outcome::Staged));
}

#[test]
fn a_device_that_ignored_the_statement_says_why() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    let nothing = json!({
        "phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0, "cause": null,
        "waiting": null,
    });
    let mut status = status("a", "4", nothing, empty());
    status.ignored.insert("refused_before".to_owned(), 3);
    let now = Time::UNIX_EPOCH;
    assert_eq!(rollout.status(&status, true, now), Change::None);
    for name in ["unsigned_statement", "other_device"] {
        status.ignored.insert(name.to_owned(), 1);
    }
    assert_eq!(rollout.status(&status, false, now), Change::Phase);
    assert_eq!(rollout.get("a").unwrap().ignored, ["unsigned_statement"]);
    assert_eq!(rollout.get("a").unwrap().outcome, Some(Outcome::Failed));
    assert_eq!(rollout.status(&status, true, now), Change::None);
}

#[test]
fn a_claim_confirms_nothing_where_signatures_are_required() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    let live = event("a", Phase::Live);
    let why = Unproven::Unsigned;
    assert_eq!(rollout.claimed(&live, why, false), Change::Phase);
    assert_eq!(rollout.claimed(&live, why, false), Change::None);
    assert!(!rollout.are_over(1), "the device itself may still answer");
    rollout.claimed(&live, why, true);
    assert_eq!(rollout.get("a").unwrap().outcome, Some(Outcome::Unverified));
    assert!(rollout.are_over(1) && !rollout.are_good());
    assert_eq!(rollout.succeeded(), 0);
    // What the device itself signs replaces a claim.
    rollout.mark_proven("a");
    rollout.event(&event("a", Phase::Trial));
    assert_eq!(rollout.claimed(&live, why, true), Change::None);
    assert!(!rollout.are_over(1));
    rollout.event(&live);
    assert!(rollout.are_over(1) && rollout.are_good());
}

#[test]
fn a_status_that_is_not_signed_is_a_claim() {
    let mut rollout = rollout(Goal::Confirmed, named("a"));
    let nothing = json!({
        "phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0, "cause": null,
        "waiting": null,
    });
    let slot = json!({"release": release(), "name": "labels", "generation": 2, "installed": "2026-01-01T00:00:00Z"});
    let slots = json!({"live": slot, "previous": null, "staged": null, "trial": null});
    let now = Time::UNIX_EPOCH;
    for device in ["a", "b"] {
        let status = status(device, "4", nothing.clone(), slots.clone());
        rollout.claimed_status(&status, Unproven::Unlisted, true, now);
    }
    assert_eq!(rollout.devices().count(), 1);
    assert_eq!(rollout.get("a").unwrap().outcome, Some(Outcome::Unverified));
    assert_eq!(rollout.succeeded(), 0);
}

fn other() -> Digest {
    Digest::of(b"another release")
}

/// The slots with this live release, and no other.
fn live(release: Digest) -> Value {
    let slot = json!({"release": release, "name": "labels", "generation": 3, "installed": "2026-01-01T00:00:00Z"});
    json!({"live": slot, "previous": null, "staged": null, "trial": null})
}

/// A deployment of the other release in this phase.
fn other_works(phase: Phase) -> Value {
    json!({
        "phase": phase, "release": other(), "name": "other", "generation": 1, "fetched": 0, "total": 0,
        "cause": null, "waiting": null,
    })
}

#[test]
fn a_release_that_another_one_replaces_at_once_is_displaced() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    rollout.event(&failed("a", Phase::Live, DeployEvent::REPLACED_NEXT));
    assert_eq!(rollout.get("a").unwrap().outcome, None);
    let mut hear = |deploy, slots| {
        rollout.status(&status("a", "1", deploy, slots), true, Time::UNIX_EPOCH);
        let progress = rollout.get("a").unwrap();
        let cause = progress.cause().map(|cause| cause.name.clone());
        (progress.outcome, cause)
    };
    let waits = hear(other_works(Phase::Trial), live(release()));
    assert_eq!(waits, (None, None));
    let displaced = (Some(Outcome::Displaced), Some("displaced".to_owned()));
    assert_eq!(hear(other_works(Phase::Live), live(other())), displaced);
    assert_eq!(hear(other_works(Phase::Live), live(other())), displaced);
    assert!(!rollout.are_good());
}

#[test]
fn a_release_is_confirmed_when_the_one_that_would_replace_it_fails() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    rollout.event(&failed("a", Phase::Live, DeployEvent::REPLACED_NEXT));
    let end = status("a", "1", other_works(Phase::RolledBack), live(release()));
    rollout.status(&end, true, Time::UNIX_EPOCH);
    let outcome = rollout.get("a").unwrap().outcome;
    assert_eq!(outcome, Some(Outcome::Confirmed));
    // Later, another one is confirmed.
    let end = status("a", "1", other_works(Phase::Live), live(other()));
    rollout.status(&end, true, Time::UNIX_EPOCH);
    let outcome = rollout.get("a").unwrap().outcome;
    assert_eq!(outcome, Some(Outcome::Displaced));
}

#[test]
fn a_statement_that_is_refused_by_its_time_shows_the_difference_of_the_clocks() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    let nothing = json!({
        "phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0, "cause": null,
        "waiting": null,
    });
    for (replayed, behind) in [(0, 240), (1, 240), (1, 0)] {
        let mut said = status("a", "1", nothing.clone(), empty());
        said.ignored.insert("replayed".to_owned(), replayed);
        let now = Time::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        said.time = Some(now - std::time::Duration::from_secs(behind));
        rollout.status(&said, true, now);
        let words = crate::fleet::display::words(rollout.get("a").unwrap());
        match (replayed, behind) {
            (0, _) => assert_eq!(words, "seen"),
            (_, 0) => assert!(
                words.contains("newer statement of another deployer"),
                "{words}"
            ),
            _ => assert!(
                words.contains("clock is 240 s behind this machine's"),
                "{words}"
            ),
        }
    }
}

#[test]
fn several_daemons_of_one_name_are_noted_once() {
    let mut rollout = rollout(Goal::Confirmed, DeviceSelector::default());
    assert!(!rollout.same_name("a", 2), "it is not selected");
    rollout.add_device("a");
    assert!(rollout.same_name("a", 2));
    assert!(!rollout.same_name("a", 2));
    assert_eq!(rollout.get("a").unwrap().daemons, 2);
}
