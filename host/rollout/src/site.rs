//! The devices of one site in a rollout, as its registry knows them, and when it publishes their count.

use std::collections::{BTreeMap, BTreeSet};

use hotshoe_trust::{Device, Time};

use crate::{
    cell::Cell,
    count::Count,
    plan::Plan,
    report::{Report, Tracked},
    reporting::report_interval_s,
    rollouts::Rollout,
    share::{Arm, place},
    signed::SignedPlan,
    times::seconds_between,
    verdict::ArmFigures,
};

/// Longest time between two counts, in seconds.
pub const COUNT_INTERVAL_S: u64 = 30;
/// Least time between two counts, in seconds: many devices change at once.
pub const LEAST_COUNT_INTERVAL_S: u64 = 5;

/// The devices of a site in one rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteDevices {
    devices: BTreeMap<String, Tracked>,
    is_changed: bool,
    last: Option<Published>,
    number: u64,
    /// Until then, devices may be missing that were counted by an earlier run.
    counts_from: Option<Time>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Published {
    at: Time,
    cells: Vec<Cell>,
    arms: BTreeMap<Arm, ArmFigures>,
}

impl SiteDevices {
    /// Without devices. `number` is that of the last count of an earlier run.
    pub fn since(number: u64) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    /// Counts only from then on: an earlier run counted devices that have not reported to this one yet, and its last count stands.
    #[must_use]
    pub fn counting_from(self, time: Time) -> Self {
        Self {
            counts_from: Some(time),
            ..self
        }
    }

    /// Adds the devices of the site that are known without a report. One that never reports is silent.
    pub fn expect(&mut self, plan: &Plan, devices: impl IntoIterator<Item = Device>, now: Time) {
        for device in devices {
            let room = self.devices.len() < most_devices(plan);
            let Some(placement) = place(plan, &device).filter(|_| room) else {
                continue;
            };
            self.devices.entry(device.name).or_insert_with(|| {
                self.is_changed = true;
                Tracked::new(placement, "unknown".to_owned(), now)
            });
        }
    }

    /// Removes devices that are not on the site's list any more.
    pub fn keep_only(&mut self, names: &BTreeSet<String>) {
        let before = self.devices.len();
        self.devices.retain(|name, _| names.contains(name));
        self.is_changed |= self.devices.len() != before;
    }

    /// Takes a report; `false` if it is old, not valid, of a device that the plan is not for, or of one too many.
    pub fn hear(
        &mut self,
        plan: &SignedPlan,
        device: &Device,
        class: &str,
        report: Report,
        now: Time,
    ) -> bool {
        let Some(placement) = place(plan, device) else {
            return false;
        };
        let known = self.devices.get(&device.name);
        if known.is_none() && self.devices.len() >= most_devices(plan) {
            return false;
        }
        let mut tracked = match known {
            Some(known) if known.is_of_class(class) => known.clone(),
            // The device was expected, or its hardware is another one.
            Some(known) => known.of_class(class),
            None => Tracked::new(placement, class.to_owned(), now),
        };
        let before = tracked.stated();
        if !tracked.hear(plan, report, now) {
            return false;
        }
        self.is_changed |= known.is_none() || tracked.stated() != before;
        self.devices.insert(device.name.clone(), tracked);
        true
    }

    /// Number of devices.
    pub fn len(&self) -> usize {
        self.devices.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty()
    }

    /// A statement changed the rollout: the next count is due early.
    pub const fn touch(&mut self) {
        self.is_changed = true;
    }

    /// When the next count is due, without further reports: `None` if at once.
    pub fn due(&self, now: Time) -> Option<u64> {
        let last = self.last.as_ref()?;
        let passed = match last.at <= now {
            true => seconds_between(last.at, now),
            // The clock was set back.
            false => COUNT_INTERVAL_S,
        };
        let interval = match self.is_changed {
            true => LEAST_COUNT_INTERVAL_S,
            false => COUNT_INTERVAL_S,
        };
        interval.checked_sub(passed).filter(|left| *left > 0)
    }

    /// The count now, with the number of the last one.
    pub fn current(&self, rollout: &Rollout, names: (&str, &str), now: Time) -> Count {
        let (plan, control) = (rollout.plan(), rollout.control());
        Count::of(
            plan,
            control,
            names,
            (self.number, now),
            self.devices.values(),
        )
    }

    /// The count that is due: 5 s after the last one if anything has changed, else after 30 s. `is_changed` says whether it differs from
    /// the one before it.
    pub fn count(
        &mut self,
        rollout: &Rollout,
        names: (&str, &str),
        now: Time,
    ) -> Option<(Count, bool)> {
        // Where the clock was set back, the time is far off.
        let most_s = report_interval_s(rollout.plan());
        let waits = |from: Time| now < from && seconds_between(now, from) <= most_s;
        if self.due(now).is_some() || self.counts_from.is_some_and(waits) {
            return None;
        }
        self.number = self.number.saturating_add(1);
        let (plan, control) = (rollout.plan(), rollout.control());
        let devices = self.devices.values();
        let count = Count::of(plan, control, names, (self.number, now), devices);
        let published = Published {
            at: now,
            cells: count.cells.clone(),
            arms: count.arms.clone(),
        };
        let is_changed = self
            .last
            .as_ref()
            .is_none_or(|last| (&last.cells, &last.arms) != (&published.cells, &published.arms));
        self.last = Some(published);
        self.is_changed = false;
        Some((count, is_changed))
    }
}

fn most_devices(plan: &Plan) -> usize {
    usize::try_from(plan.max_site_devices).unwrap_or(usize::MAX)
}
