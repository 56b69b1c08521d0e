//! What answers under the names of devices, and whether the devices are proven to have sent it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use hotshoe_protocol::status::Status;
use serde::Serialize;
use serde::ser::Error;
use serde_json::Value;

use crate::device_list::{DeviceList, Unproven};
use crate::device_message::DeviceMessage;

/// A device's status, or a part of it, and whether the device is proven to have sent it.
#[derive(Debug, Clone)]
pub struct DeviceReport<S = Status> {
    /// The status, or what is kept of it.
    pub status: S,
    /// Why the status is only claimed; none if the device has signed it, or is on this machine.
    pub unproven: Option<Unproven>,
    /// The number of answers under this device's name.
    pub answers: usize,
    /// The sessions that answered under this device's name, all signed or all claimed.
    pub sessions: BTreeSet<String>,
    /// The number of other sessions with its name that the device itself sees.
    pub same_name: usize,
}

/// One report for each device, from answers over the network. Of several answers under one name, a proven one wins.
#[derive(Debug)]
pub struct DeviceReports<S = Status>(BTreeMap<(String, String), DeviceReport<S>>);

impl<S> Default for DeviceReports<S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<S> DeviceReports<S> {
    /// Adds an answer. `keep` returns what is kept of its status.
    pub fn add(
        &mut self,
        said: DeviceMessage<Status>,
        list: Option<&DeviceList>,
        keep: impl FnOnce(Status) -> S,
    ) {
        let reported = DeviceReport {
            unproven: said.check(list).err(),
            ..DeviceReport::of_status(said.value, keep)
        };
        match self.0.entry((said.site, said.device)) {
            Entry::Vacant(entry) => {
                entry.insert(reported);
            }
            Entry::Occupied(mut entry) => {
                let answers = entry.get().answers + 1;
                let (known, new) = (entry.get().unproven, reported.unproven);
                let sessions = reported.sessions.clone();
                if known.is_some() {
                    let before = entry.insert(reported);
                    // Anybody can claim to be the device that signs.
                    if new.is_some() {
                        entry.get_mut().sessions.extend(before.sessions);
                    }
                } else if new.is_none() {
                    entry.get_mut().sessions.extend(sessions);
                }
                entry.get_mut().answers = answers;
            }
        }
    }

    /// The reports by site and name.
    pub fn into_reports(self) -> impl Iterator<Item = ((String, String), DeviceReport<S>)> {
        self.0.into_iter()
    }
}

impl<S> DeviceReport<S> {
    fn of_status(status: Status, keep: impl FnOnce(Status) -> S) -> Self {
        Self {
            sessions: BTreeSet::from([status.session.id.clone()]),
            same_name: status.same_name.len(),
            status: keep(status),
            unproven: None,
            answers: 1,
        }
    }

    /// The number of daemons with this device's name: those that answered, or those that the device itself sees.
    pub fn daemons(&self) -> usize {
        self.sessions.len().max(self.same_name + 1)
    }
}

impl DeviceReport {
    /// The status of a device on this machine, from its control socket.
    pub fn own(status: Status) -> Self {
        Self::of_status(status, |status| status)
    }

    /// One report for each device.
    pub fn of(said: Vec<DeviceMessage<Status>>, list: Option<&DeviceList>) -> Vec<Self> {
        let mut reports = DeviceReports::default();
        for said in said {
            reports.add(said, list, |status| status);
        }
        reports.into_reports().map(|(_, report)| report).collect()
    }

    /// The warning that several daemons have this device's name.
    pub fn conflict_text(&self) -> Option<String> {
        let daemons = self.daemons();
        (daemons > 1).then(|| same_name_text(&self.status.device, daemons))
    }

    /// Why the status is not proven, as text.
    pub fn unproven_text(&self) -> Option<String> {
        let why = self.unproven?;
        Some(match self.answers {
            0 | 1 => format!("claimed, not verified: {why}"),
            answers => {
                format!(
                    "claimed, not verified: {why}; and there are {answers} answers under this name"
                )
            }
        })
    }
}

/// The fields of the status with `claimed`, and `claim` if it is one.
impl<S: Serialize> Serialize for DeviceReport<S> {
    fn serialize<T: serde::Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        let mut value = serde_json::to_value(&self.status).map_err(T::Error::custom)?;
        if let Value::Object(fields) = &mut value {
            fields.insert("claimed".to_owned(), self.unproven.is_some().into());
            if let Some(why) = self.unproven {
                fields.insert("claim".to_owned(), why.name().into());
            }
            if self.answers > 1 {
                fields.insert("answers".to_owned(), self.answers.into());
            }
            if self.daemons() > 1 {
                fields.insert("daemons".to_owned(), self.daemons().into());
            }
        }
        value.serialize(serializer)
    }
}

/// The warning that several daemons have the name of one device.
pub fn same_name_text(device: &str, daemons: usize) -> String {
    format!(
        "{daemons} daemons are called `{device}`; give each its own `device` in hotshoe.toml, and a copied device an empty data folder"
    )
}
