//! One device, as the page of its site shows it.

use hotshoe_protocol::status::Status;
use hotshoe_trust::Time;
use serde_json::{Value, json};

/// Largest part of a status that a row has, in bytes: 8 KiB. Of a larger one the row has the size alone: a status may have 1 MiB.
const MAX_FIELDS_BYTES: usize = 8 << 10;

/// What a row has of a status, under the names there. `broken` lists the parts of the daemon that do not run.
pub(super) fn fields(status: &Status) -> Value {
    let broken: Vec<&str> = status.broken().map(|part| part.name.as_str()).collect();
    let mut fields = json!({
        "site": status.site,
        "device": status.device,
        "version": status.version,
        "development": status.development,
        "release": status.release,
        "cannot_serve": status.cannot_serve,
        "slots": status.slots,
        "deploy": status.deploy,
        "last_rollback": status.last_rollback,
        "health": status.health,
        "stale": status.stale,
        "queue": status.queue,
        "counters": status.counters,
        "broken": broken,
    });
    // As in the status, where they are missing if there are none.
    if let (false, Value::Object(fields)) = (status.alerts.is_empty(), &mut fields) {
        fields.insert("alerts".to_owned(), json!(status.alerts));
    }
    let bytes = serde_json::to_vec(&fields).map_or(0, |bytes| bytes.len());
    if bytes <= MAX_FIELDS_BYTES {
        return fields;
    }
    json!({"site": status.site, "device": status.device, "too_large_bytes": bytes})
}

/// A device of the site.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row {
    /// Its last answer, with whether it is claimed.
    said: Option<Value>,
    /// Since when it has not answered, by the registry's clock. `None` while it does, and before it was asked.
    silent_since: Option<Time>,
    /// Whether its liveliness token is there.
    pub(super) is_present: bool,
    /// Whether the site's list of devices has it.
    pub(super) is_listed: bool,
}

impl Row {
    /// Takes an answer: the fields of a [`hotshoe_link::DeviceReport`].
    pub(super) fn answer(&mut self, said: Value) {
        self.said = Some(said);
        self.silent_since = None;
    }

    /// Notes that it did not answer.
    pub(super) fn miss(&mut self, now: Time) {
        self.silent_since.get_or_insert(now);
    }

    /// Whether its last question was answered.
    const fn has_answered(&self) -> bool {
        self.said.is_some() && self.silent_since.is_none()
    }

    /// The row as JSON. What a device said last stays while it is silent.
    pub(super) fn shown(&self, site: &str, device: &str) -> Value {
        let mut shown = self.said.clone().unwrap_or_default();
        let more = json!({
            "site": site,
            "device": device,
            "answered": self.has_answered(),
            "silent_since": self.silent_since,
            "present": self.is_present,
            "listed": self.is_listed,
        });
        match (&mut shown, more) {
            (Value::Object(fields), Value::Object(more)) => {
                fields.extend(more);
                shown
            }
            (_, more) => more,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn now() -> Time {
        "2026-11-30T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_silent_device_keeps_what_it_said() {
        let mut row = Row::default();
        assert_eq!(row.shown("lab", "cam")["answered"], false);
        row.answer(json!({"site": "lab", "device": "cam", "claimed": true, "version": "1"}));
        let shown = row.shown("lab", "cam");
        assert_eq!(
            (&shown["answered"], &shown["version"]),
            (&json!(true), &json!("1"))
        );
        assert_eq!(shown["silent_since"], Value::Null);
        row.miss(now());
        let later = now() + std::time::Duration::from_secs(60);
        row.miss(later);
        let shown = row.shown("lab", "cam");
        assert_eq!(
            (&shown["answered"], &shown["version"]),
            (&json!(false), &json!("1"))
        );
        assert_eq!(shown["silent_since"], "2026-11-30T12:00:00Z");
    }
}
