//! A table of a site's devices.

use std::collections::BTreeMap;

use hotshoe_link::DeviceKey;
use hotshoe_link::device_list::Unproven;
use hotshoe_protocol::status::SlotStatus;
use serde::Serialize;
use serde_json::{Value, json};

use super::report::{broken, health, working};
use hotshoe_release::terminal::Terminal;

pub(crate) use hotshoe_link::DeviceReport;

/// A device that is present.
#[derive(Debug)]
pub(crate) struct Overview {
    /// The device's site.
    pub site: String,
    /// The device's name.
    pub device: String,
    /// The answer, if there is one.
    pub answer: Option<DeviceReport>,
}

impl Overview {
    /// Joins answers with the devices that are present, by site and name.
    pub(crate) fn join(answers: Vec<DeviceReport>, present: Vec<DeviceKey>) -> Vec<Self> {
        let mut devices: BTreeMap<(String, String), Option<DeviceReport>> = present
            .into_iter()
            .map(|key| ((key.site, key.device), None))
            .collect();
        for answer in answers {
            let key = (answer.status.site.clone(), answer.status.device.clone());
            devices.insert(key, Some(answer));
        }
        devices
            .into_iter()
            .map(|((site, device), answer)| Self {
                site,
                device,
                answer,
            })
            .collect()
    }
}

/// The device's own status with `answered`, or only the names.
impl Serialize for Overview {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = match &self.answer {
            Some(answer) => serde_json::to_value(answer).map_err(serde::ser::Error::custom)?,
            None => json!({"site": self.site, "device": self.device}),
        };
        if let Value::Object(fields) = &mut value {
            fields.insert("answered".to_owned(), self.answer.is_some().into());
        }
        value.serialize(serializer)
    }
}

/// The devices as a table, with a column for the site if there may be several.
pub(crate) fn table(overviews: &[Overview], with_sites: bool, terminal: &Terminal) -> String {
    let mut header = vec![
        "device",
        "live",
        "previous",
        "trial",
        "phase",
        "health",
        "last rollback",
        "said",
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
    let Some(answer) = &overview.answer else {
        let mut row = vec![overview.device.clone(), terminal.warning("no answer")];
        row.resize_with(8, nothing);
        return row;
    };
    let status = &answer.status;
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
        match (answer.daemons(), broken(status)) {
            (daemons @ 2.., _) => terminal.bad(&format!("{daemons} daemons with this name")),
            (_, Some(words)) => terminal.bad(&words),
            (_, None) => health(status, terminal).unwrap_or_else(nothing),
        },
        rollback,
        match answer.unproven {
            None => terminal.good("signed"),
            Some(Unproven::NoList) => "claimed".to_owned(),
            Some(why) => terminal.bad(&format!("claimed: {}", why.name())),
        },
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
