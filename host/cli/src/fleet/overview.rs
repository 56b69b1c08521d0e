//! A site's devices, a line each.
use std::collections::BTreeMap;

use hotshoe_daemon::Status;
use hotshoe_daemon::link::DeviceKey;
use hotshoe_daemon::status::SlotStatus;
use serde::Serialize;
use serde_json::{Value, json};

use super::report::{broken, health, working};
use crate::terminal::Terminal;

/// A device that is there.
#[derive(Debug)]
pub struct Overview {
    /// Its site.
    pub site: String,
    /// Its name.
    pub device: String,
    /// What it answered, if it did.
    pub status: Option<Status>,
}

impl Overview {
    /// Joins answers with liveliness tokens, by site and name.
    pub fn join(statuses: Vec<Status>, present: Vec<DeviceKey>) -> Vec<Self> {
        let mut devices: BTreeMap<(String, String), Option<Status>> = present
            .into_iter()
            .map(|key| ((key.site, key.device), None))
            .collect();
        for status in statuses {
            let key = (status.site.clone(), status.device.clone());
            devices.insert(key, Some(status));
        }
        devices
            .into_iter()
            .map(|((site, device), status)| Self {
                site,
                device,
                status,
            })
            .collect()
    }
}

/// The device's own status with `answered`, or the names alone.
impl Serialize for Overview {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = match &self.status {
            Some(status) => serde_json::to_value(status).map_err(serde::ser::Error::custom)?,
            None => json!({"site": self.site, "device": self.device}),
        };
        if let Value::Object(fields) = &mut value {
            fields.insert("answered".to_owned(), self.status.is_some().into());
        }
        value.serialize(serializer)
    }
}

/// The devices as a table, with their sites where there may be several.
pub fn table(overviews: &[Overview], with_sites: bool, terminal: &Terminal) -> String {
    let mut header = vec![
        "device",
        "live",
        "previous",
        "trial",
        "phase",
        "health",
        "last rollback",
    ];
    if with_sites {
        header.insert(0, "site");
    }
    let rows = overviews.iter().map(|it| {
        let mut row = row(it, terminal);
        if with_sites {
            row.insert(0, it.site.clone());
        }
        row
    });
    terminal.table(&header, rows)
}

fn row(overview: &Overview, terminal: &Terminal) -> Vec<String> {
    let nothing = || "-".to_owned();
    let Some(status) = &overview.status else {
        let mut row = vec![overview.device.clone(), terminal.warning("no answer")];
        row.resize_with(7, nothing);
        return row;
    };
    let slots = &status.slots;
    let slot = |slot: &Option<SlotStatus>| slot.as_ref().map_or_else(nothing, named);
    let trial = slots.trial.as_ref().map_or_else(nothing, |trial| {
        let samples = format!(
            "{}/{}",
            trial.samples.min(trial.wanted_samples),
            trial.wanted_samples
        );
        terminal.warning(&format!("{}, {samples} samples", named(&trial.slot)))
    });
    let rollback = status.last_rollback.as_ref().map_or_else(nothing, |it| {
        terminal.bad(&format!("{} {}: {}", it.name, it.generation, it.cause))
    });
    vec![
        overview.device.clone(),
        slot(&slots.live),
        slot(&slots.previous),
        trial,
        working(status, terminal),
        match broken(status) {
            Some(words) => terminal.bad(&words),
            None => health(status, terminal).unwrap_or_else(nothing),
        },
        rollback,
    ]
}

fn named(slot: &SlotStatus) -> String {
    format!("{} {}", slot.name, slot.generation)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_device_that_is_there_and_silent_is_listed() {
        let present = ["b", "a"].map(|device| DeviceKey {
            site: "lab".to_owned(),
            device: device.to_owned(),
        });
        let overviews = Overview::join(Vec::new(), present.to_vec());
        let json = serde_json::to_value(&overviews).unwrap();
        let silent = |device: &str| json!({"site": "lab", "device": device, "answered": false});
        assert_eq!(json, json!([silent("a"), silent("b")]));
        let text = table(&overviews, true, &Terminal::new(true));
        assert!(text.contains("no answer"), "{text}");
    }
}
