//! A status for tests.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use hotshoe_protocol::status::{Counters, Status};
use hotshoe_trust::{Digest, Time};
use serde_json::{Value, json};

use super::app::DeviceId;

/// A status of `lab/cam` with these fields in place of the empty ones.
pub(super) fn status(fields: Value) -> Status {
    let mut status = json!({
        "site": "lab", "device": "cam", "version": "0.1.0", "labels": {}, "release": null,
        "slots": {"live": null, "previous": null, "staged": null, "trial": null},
        "deploy": {"phase": "absent", "release": null, "name": null, "generation": null, "fetched": 0, "total": 0,
            "cause": null, "waiting": null},
        "last_rollback": null, "health": null, "trust_version": 1, "swaps": 0, "rollbacks": 0, "refused": {}, "ignored": {},
        "last_swap_ns": null, "stale": false, "uptime_s": 1, "workers": 2,
        "queue": {"len": 0, "capacity": 64, "policy": "block"}, "counters": Counters::default(), "stages": [],
        "session": {"id": "1", "locators": [], "peers": 0},
    });
    if let (Some(status), Value::Object(fields)) = (status.as_object_mut(), fields) {
        status.extend(fields);
    }
    serde_json::from_value(status).expect("a status")
}

/// Site and name of that status.
pub(super) fn id() -> DeviceId {
    ("lab".to_owned(), "cam".to_owned())
}

/// Noon of a day, and so many seconds.
pub(super) fn time(seconds: i64) -> Time {
    Time::from_second(1_795_953_600 + seconds).expect("a time")
}

fn slot(name: &str, generation: u64) -> Value {
    json!({"release": Digest::of(name.as_bytes()), "name": name, "generation": generation, "installed": time(0)})
}

pub(super) fn event(severity: &str, kind: &str, message: &str) -> Value {
    json!({"format": 1, "severity": severity, "kind": kind, "subject": {"what": "thread", "name": "watch"},
        "cause": {"name": "panic", "message": message}, "time": time(0), "sequence": 1})
}

/// A device that does everything that the views show.
pub(super) fn busy() -> Status {
    let mut counters = serde_json::to_value(Counters::default()).expect("counters");
    counters["accepted"] = 20.into();
    counters["results"] = 17.into();
    counters["failed"] = 2.into();
    counters["in_flight"] = 1.into();
    counters["faults"] = json!({"trapped": 2});
    counters["failed_at"] = json!({"read": 2});
    status(json!({
        "counters": counters,
        "queue": {"len": 3, "capacity": 64, "policy": "drop-oldest"},
        "release": {"name": "labels", "digest": Digest::of(b"labels"), "generation": 7, "signers": ["alice"]},
        "slots": {"live": slot("labels", 6), "previous": slot("older", 5), "staged": null,
            "trial": {"slot": slot("labels", 7), "tries_left": 2, "since": time(0), "samples": 4, "wanted_samples": 9,
                "seconds": 5, "wanted_seconds": 30}},
        "deploy": {"phase": "trial", "release": Digest::of(b"labels"), "name": "labels", "generation": 7, "fetched": 1,
            "total": 1, "cause": null, "waiting": null},
        "stages": [
            {"name": "detect", "count": 18, "p50_us": 2_100, "p95_us": 3_200, "p99_us": 4_300},
            {"name": "queue", "count": 20, "p50_us": 11, "p95_us": 22, "p99_us": 33},
            {"name": "read", "count": 19, "p50_us": 900, "p95_us": 950, "p99_us": 960},
            {"name": "total", "count": 19, "p50_us": 3_001, "p95_us": 4_002, "p99_us": 5_003},
        ],
        "models": [{"name": "detect", "variant": "int8", "backend": "tract", "provider": "cpu", "provider_notes": [],
            "reason": "tract is faster: 2 ms and 3 ms", "threads": 1, "plans": 1, "plans_made": 1, "runs": 18, "failed": 0,
            "abandoned": 1, "expired": 2, "in_flight": 0, "waiting": 0, "batches": 0,
            "fallbacks": [{"variant": "fp32", "cause": "memory"}]}],
        "governor": {"by": "default", "mode": "small", "mode_seconds": 12.0, "changes": 3,
            "plan": {"mode": {"value": "small", "reason": "the hottest zone has 76.0 C"}},
            "sensors": {"hottest_celsius": 76.04, "charge_ratio": 0.5, "mains": false}},
        "events": [event("error", "part_died", "no reason")],
    }))
}
