//! Events: stable names, round trips, and what a reader makes of a newer writer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;

use hotshoe_protocol::event::{
    ClockQuality, EVENT_FORMAT, Event, EventCause, Kind, KnownKind, Severity, Subject,
};
use hotshoe_protocol::status::DeployEvent;
use hotshoe_store::{Cause, Phase};
use hotshoe_trust::{Digest, Time};
use proptest::prelude::*;
use serde_json::{Value, json};
use strum::{VariantArray, VariantNames};

/// What this version writes for [`rolled_back`].
const GOLDEN: &str = include_str!("golden/event.json");
/// An event of a format that does not exist yet, by hand: other kind, subject, severity and clock, and fields of its own.
const NEWER: &str = include_str!("golden/event-newer.json");

fn rolled_back() -> Event {
    Event {
        format: EVENT_FORMAT,
        severity: Severity::Warning,
        kind: Kind::Known(KnownKind::ReleaseRolledBack),
        subject: Subject::Release {
            name: "label-reader".to_owned(),
            generation: 7,
            digest: Digest::of(b"label-reader"),
        },
        cause: Some(EventCause::new("trap_rate", "trapped on 3 of 20 samples")),
        time: "2026-11-30T06:00:00Z".parse().unwrap(),
        clock: ClockQuality::Synchronised,
        sequence: 12,
        details: BTreeMap::from([("phase".to_owned(), json!("rolled-back"))]),
        unknown: BTreeMap::new(),
    }
}

#[test]
fn an_event_is_written_as_the_golden_file_has_it() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    assert_eq!(serde_json::to_value(rolled_back()).unwrap(), golden);
    let read: Event = serde_json::from_value(golden).unwrap();
    assert_eq!(read, rolled_back());
    assert_eq!(
        read.to_string(),
        "release label-reader 7: the release is rolled back (trap_rate: trapped on 3 of 20 samples)"
    );
}

#[test]
fn an_event_of_a_newer_format_is_read_as_far_as_it_is_known() {
    let event: Event = serde_json::from_str(NEWER).unwrap();
    assert_eq!(event.format, 99);
    assert_eq!(event.kind, Kind::Unknown("battery_low".to_owned()));
    assert_eq!(event.subject, Subject::Unknown);
    assert_eq!(event.severity, Severity::Warning);
    assert_eq!(event.clock, ClockQuality::Unknown);
    assert_eq!(event.unknown["region"], json!("north"));
    let again = serde_json::to_value(&event).unwrap();
    assert_eq!(
        (&again["kind"], &again["region"]),
        (&json!("battery_low"), &json!("north"))
    );
    assert_eq!(event.to_string(), "unknown: battery_low");
}

/// Fleets read this key, so its bytes stay.
#[test]
fn a_deploy_event_has_the_same_bytes_as_before() {
    let digest = Digest::of(b"label-reader");
    let event = DeployEvent {
        site: "lab".to_owned(),
        device: "line-4".to_owned(),
        release: digest,
        name: "label-reader".to_owned(),
        generation: 7,
        phase: Phase::RolledBack,
        fetched: 1,
        total: 2,
        cause: Some(Cause::new("trap_rate", "trapped")),
        statement: None,
        at: "2026-11-30T06:00:00Z".parse().unwrap(),
    };
    let before = format!(
        r#"{{"site":"lab","device":"line-4","release":"{digest}","name":"label-reader","generation":7,"phase":"rolled-back","fetched":1,"total":2,"cause":{{"name":"trap_rate","message":"trapped"}},"at":"2026-11-30T06:00:00Z"}}"#
    );
    assert_eq!(serde_json::to_string(&event).unwrap(), before);
}

#[test]
fn the_names_are_stable() {
    let kinds: Vec<&str> = KnownKind::VARIANTS.iter().map(|kind| kind.name()).collect();
    assert_eq!(
        kinds,
        [
            "release_absent",
            "release_fetching",
            "release_verified",
            "release_staged",
            "release_self_tested",
            "release_shadow",
            "release_trial",
            "release_live",
            "release_refused",
            "release_failed",
            "release_rolled_back",
            "release_retried",
            "release_swapped",
            "no_release_serves",
            "crash_loop",
            "worker_stuck",
            "part_restarted",
            "part_died",
            "component_paused",
            "component_recovered",
            "file_set_aside",
            "file_skipped",
            "folder_lost",
            "folder_watched",
            "folder_polled",
            "peers_lost",
            "name_conflict",
            "name_conflict_ended",
            "statements_stale",
            "disk_write_failed",
            "mode_changed",
            "governor_failed",
            "governor_recovered",
            "plan_refused",
            "alert",
            "sensor_failed",
            "output_failed",
            "egress_refused",
            "alert_raised",
            "alert_resolved",
            "drift_began",
            "drift_ended",
            "drift_fallback_failed",
        ]
    );
    assert_eq!(
        <Subject as VariantNames>::VARIANTS,
        [
            "device",
            "release",
            "component",
            "model",
            "source",
            "file",
            "thread",
            "unknown"
        ]
    );
    for kind in KnownKind::VARIANTS {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
    }
    let severities: Vec<&str> = Severity::VARIANTS.iter().map(|it| it.name()).collect();
    assert_eq!(severities, ["info", "notice", "error", "warning"]);
    let clocks: Vec<&str> = ClockQuality::VARIANTS.iter().map(|it| it.name()).collect();
    assert_eq!(clocks, ["synchronised", "unsynchronised", "unknown"]);
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        prop::sample::select(KnownKind::VARIANTS).prop_map(Kind::Known),
        "x_[a-z_]{1,12}".prop_map(Kind::Unknown),
    ]
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Device),
        Just(Subject::Unknown),
        (".{0,8}", any::<u64>(), any::<[u8; 32]>()).prop_map(|(name, generation, digest)| {
            Subject::Release {
                name,
                generation,
                digest: Digest::from_bytes(digest),
            }
        }),
        ".{0,8}".prop_map(|name| Subject::Component { name }),
        ".{0,8}".prop_map(|name| Subject::Model { name }),
        ".{0,8}".prop_map(|name| Subject::Source { name }),
        ".{0,8}".prop_map(|path| Subject::File { path }),
        ".{0,8}".prop_map(|name| Subject::Thread { name }),
    ]
}

prop_compose! {
    fn event()(
        format in 1..100_u32,
        severity in prop::sample::select(Severity::VARIANTS),
        kind in kind(),
        subject in subject(),
        cause in prop::option::of(("[a-z_]{1,8}", ".{0,16}").prop_map(|(name, message)| EventCause { name, message })),
        seconds in 0..4_000_000_000_i64,
        clock in prop::sample::select(ClockQuality::VARIANTS),
        sequence in any::<u64>(),
        details in prop::collection::btree_map("[a-z]{1,4}", any::<u32>().prop_map(Value::from), 0..4),
        unknown in prop::collection::btree_map("new_[a-z]{1,4}", any::<u32>().prop_map(Value::from), 0..4),
    ) -> Event {
        let time = Time::from_second(seconds).unwrap();
        Event { format, severity, kind, subject, cause, time, clock, sequence, details, unknown }
    }
}

proptest! {
    #[test]
    fn an_event_comes_back_as_it_was(event in event()) {
        let text = serde_json::to_string(&event).unwrap();
        prop_assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn a_list_keeps_what_is_an_event(events in prop::collection::vec(event(), 0..4), other in ".{0,8}") {
        #[derive(serde::Deserialize)]
        struct List(#[serde(deserialize_with = "hotshoe_protocol::event::readable")] Vec<Event>);
        let mut values: Vec<Value> = events.iter().map(|event| json!(event)).collect();
        values.push(json!({"format": 3, "what": other}));
        let List(read) = serde_json::from_value(json!(values)).unwrap();
        prop_assert_eq!(read, events);
    }
}
