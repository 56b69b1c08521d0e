//! A status for tests.
#![allow(clippy::expect_used, reason = "tests")]

use hotshoe_protocol::status::{Counters, Status};
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
