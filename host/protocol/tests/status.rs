//! The status: what older and newer readers make of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use hotshoe_protocol::status::{STATUS_FORMAT, Status};
use serde_json::{Map, Value, json};

/// What `hotshoe status --json` of version 0.1.0 prints of a daemon without a release and with a watched folder, after a reload, before
/// there were events.
const GOLDEN: &str = include_str!("golden/status.json");
/// The fields that a reader does without.
const OPTIONAL: [&str; 12] = [
    "format",
    "development",
    "key",
    "models",
    "components",
    "memory",
    "parts",
    "log",
    "reload",
    "watch",
    "events",
    "last_rollback",
];

fn golden() -> Map<String, Value> {
    serde_json::from_str(GOLDEN).unwrap()
}

fn read(status: &Map<String, Value>) -> Status {
    serde_json::from_value(Value::Object(status.clone())).unwrap()
}

#[test]
fn a_status_of_today_is_read_and_written_back_as_it_was() {
    let status = read(&golden());
    assert_eq!(status.format, STATUS_FORMAT);
    assert_eq!(serde_json::to_value(&status).unwrap(), json!(golden()));
}

#[test]
fn a_reader_ignores_the_fields_of_a_newer_writer() {
    let mut newer = golden();
    newer.insert("battery".to_owned(), json!({"percent": 80}));
    for (_, value) in &mut newer {
        if let Value::Object(fields) = value {
            fields.insert("new_field".to_owned(), json!([1, 2]));
        }
    }
    // Maps of names take any name; these have numbers and texts only.
    for map in ["labels", "refused", "ignored"] {
        newer[map].as_object_mut().unwrap().remove("new_field");
    }
    let events = json!([{"kind": "of a format without the other fields"}]);
    newer.insert("events".to_owned(), events);
    assert_eq!(read(&newer), read(&golden()));
    newer.insert("format".to_owned(), json!(99));
    assert_eq!(read(&newer).format, 99);
}

#[test]
fn a_reader_goes_on_without_every_optional_field() {
    let mut older = golden();
    for field in OPTIONAL {
        older.remove(field);
    }
    let status = read(&older);
    assert_eq!((status.format, status.device.as_str()), (1, "line-4"));
    assert!(status.parts.is_empty() && status.events.is_empty() && status.watch.is_none());
}
