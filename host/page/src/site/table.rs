//! All devices of a site, and what has changed since pages were told. Pure.

use std::collections::{BTreeMap, BTreeSet};

use hotshoe_link::{DeviceChange, DeviceReports};
use hotshoe_trust::Time;
use serde_json::{Value, json};

use super::row::Row;

/// Most devices of a table. For a further one, a device that is neither present nor listed makes room.
pub(super) const MAX_DEVICES: usize = 4_096;
/// Longest name of a device, in bytes. Names that `hotshoe.toml` allows have 64; any session can choose the name in a key.
const MAX_NAME_BYTES: usize = 256;

/// The devices of a site.
#[derive(Debug)]
pub(super) struct Table {
    site: String,
    rows: BTreeMap<String, Row>,
    /// Devices to ask by name.
    pending: BTreeSet<String>,
    changed: BTreeSet<String>,
    removed: BTreeSet<String>,
    /// Names of this round for which there was no room, or that were too long.
    left_out: u64,
}

impl Table {
    pub(super) fn new(site: &str) -> Self {
        Self {
            site: site.to_owned(),
            rows: BTreeMap::new(),
            pending: BTreeSet::new(),
            changed: BTreeSet::new(),
            removed: BTreeSet::new(),
            left_out: 0,
        }
    }

    /// The number of devices.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether a device is known.
    pub(super) fn has(&self, device: &str) -> bool {
        self.rows.contains_key(device)
    }

    /// Names that were left out since [`Self::begin_round`].
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Sets which devices are listed. Those must answer, since an attacker may block one.
    pub(super) fn list<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let names: BTreeSet<&str> = names.collect();
        let known: Vec<String> = self.rows.keys().cloned().collect();
        for device in known
            .iter()
            .map(String::as_str)
            .chain(names.iter().copied())
        {
            let is_listed = names.contains(device);
            self.change(device, |row| row.is_listed = is_listed);
        }
    }

    /// Takes a change of a device, which is to be asked then.
    pub(super) fn note(&mut self, device: &str, change: DeviceChange) {
        let is_known = self.has(device);
        match change {
            DeviceChange::Appeared => self.change(device, |row| row.is_present = true),
            DeviceChange::Gone if is_known => self.change(device, |row| row.is_present = false),
            // Anybody can publish an event under any name.
            DeviceChange::Gone | DeviceChange::Event => {}
        }
        if self.has(device) {
            self.pending.insert(device.to_owned());
        }
    }

    /// At most `most` devices that are to be asked by name.
    pub(super) fn take_pending(&mut self, most: usize) -> Vec<String> {
        let taken: Vec<String> = self.pending.iter().take(most).cloned().collect();
        for device in &taken {
            self.pending.remove(device);
        }
        taken
    }

    /// Forgets which devices to ask by name, and how many were left out, before all are asked.
    pub(super) fn begin_round(&mut self) {
        self.pending.clear();
        self.left_out = 0;
    }

    /// Takes the answers to a question to one device, or to all.
    pub(super) fn answers(
        &mut self,
        asked: Option<&str>,
        reports: DeviceReports<Value>,
        now: Time,
    ) {
        let mut silent: BTreeSet<String> = match asked {
            Some(device) => self
                .rows
                .contains_key(device)
                .then(|| device.to_owned())
                .into_iter()
                .collect(),
            None => self.rows.keys().cloned().collect(),
        };
        for ((_, device), report) in reports.into_reports() {
            silent.remove(&device);
            let said = serde_json::to_value(&report).unwrap_or_default();
            self.change(&device, |row| row.answer(said));
        }
        for device in silent {
            self.change(&device, |row| row.miss(now));
        }
    }

    /// Changes the row of a device, which is made if there is room for it.
    fn change(&mut self, device: &str, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.rows.get_mut(device) {
            let before = row.clone();
            change(row);
            if *row != before {
                self.changed.insert(device.to_owned());
            }
            return;
        }
        if device.len() > MAX_NAME_BYTES || !self.has_room() {
            self.left_out += 1;
            return;
        }
        let mut row = Row::default();
        change(&mut row);
        self.removed.remove(device);
        self.changed.insert(device.to_owned());
        self.rows.insert(device.to_owned(), row);
    }

    /// Makes room for one more device.
    fn has_room(&mut self) -> bool {
        if self.rows.len() < MAX_DEVICES {
            return true;
        }
        let mut rows = self.rows.iter();
        let leaving = rows.find(|(_, row)| !row.is_present && !row.is_listed);
        let Some(leaving) = leaving.map(|(device, _)| device.clone()) else {
            return false;
        };
        self.rows.remove(&leaving);
        self.pending.remove(&leaving);
        self.changed.remove(&leaving);
        self.removed.insert(leaving);
        true
    }

    /// All rows.
    pub(super) fn rows(&self) -> Vec<Value> {
        let rows = self.rows.iter();
        rows.map(|(device, row)| row.shown(&self.site, device))
            .collect()
    }

    /// What changed since the last call. `None` if nothing did.
    pub(super) fn take_changes(&mut self) -> Option<Value> {
        let (changed, removed) = (
            std::mem::take(&mut self.changed),
            std::mem::take(&mut self.removed),
        );
        if changed.is_empty() && removed.is_empty() {
            return None;
        }
        let rows: Vec<Value> = changed
            .iter()
            .filter_map(|device| Some(self.rows.get(device)?.shown(&self.site, device)))
            .collect();
        Some(json!({"changed": rows, "removed": removed}))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn now() -> Time {
        "2026-11-30T12:00:00Z".parse().unwrap()
    }

    fn names(changes: &Value) -> Vec<&str> {
        let rows = changes["changed"].as_array().unwrap().iter();
        rows.map(|row| row["device"].as_str().unwrap()).collect()
    }

    #[test]
    fn a_device_that_appears_is_asked_and_one_that_goes_stays() {
        let mut table = Table::new("lab");
        table.note("cam", DeviceChange::Appeared);
        assert_eq!(table.take_pending(8), ["cam"]);
        let changes = table.take_changes().unwrap();
        assert_eq!(changes["changed"][0]["present"], true);
        assert_eq!(table.take_changes(), None);
        table.note("cam", DeviceChange::Gone);
        table.answers(Some("cam"), DeviceReports::default(), now());
        let changes = table.take_changes().unwrap();
        assert_eq!(changes["changed"][0]["present"], false);
        assert_eq!(
            changes["changed"][0]["silent_since"],
            "2026-11-30T12:00:00Z"
        );
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn events_and_tokens_of_unknown_names_make_no_row_but_an_own_token_does() {
        let mut table = Table::new("lab");
        table.note("forged", DeviceChange::Event);
        table.note("gone", DeviceChange::Gone);
        assert_eq!((table.len(), table.take_changes()), (0, None));
        assert!(table.take_pending(8).is_empty());
        table.note(&"x".repeat(257), DeviceChange::Appeared);
        assert_eq!((table.len(), table.left_out()), (0, 1));
        table.note("<script>", DeviceChange::Appeared);
        assert_eq!(names(&table.take_changes().unwrap()), ["<script>"]);
    }

    #[test]
    fn a_listed_device_that_was_never_seen_is_silent() {
        let mut table = Table::new("lab");
        table.list(["line-3", "line-4"].into_iter());
        table.answers(None, DeviceReports::default(), now());
        let changes = table.take_changes().unwrap();
        assert_eq!(names(&changes), ["line-3", "line-4"]);
        assert_eq!(changes["changed"][0]["listed"], true);
        assert_eq!(changes["changed"][0]["answered"], false);
        table.list(["line-4"].into_iter());
        let changes = table.take_changes().unwrap();
        assert_eq!(names(&changes), ["line-3"]);
        assert_eq!(changes["changed"][0]["listed"], false);
    }

    #[test]
    fn a_full_table_gives_the_places_of_devices_that_are_gone() {
        let mut table = Table::new("lab");
        for number in 0..MAX_DEVICES {
            table.note(&format!("d{number:04}"), DeviceChange::Appeared);
        }
        table.note("more", DeviceChange::Appeared);
        assert_eq!((table.has("more"), table.left_out()), (false, 1));
        // It is one device, however often it is asked for.
        table.begin_round();
        assert_eq!(table.left_out(), 0);
        table.note("more", DeviceChange::Appeared);
        assert_eq!(table.left_out(), 1);
        table.note("d0007", DeviceChange::Gone);
        let _ = table.take_changes();
        table.note("more", DeviceChange::Appeared);
        assert!(table.has("more") && !table.has("d0007"));
        assert_eq!(table.len(), MAX_DEVICES);
        let changes = table.take_changes().unwrap();
        assert_eq!(changes["removed"], json!(["d0007"]));
        assert_eq!(names(&changes), ["more"]);
    }
}
