//! The devices of one site in a rollout, as its registry knows them, and when it publishes their count.

use std::collections::{BTreeMap, BTreeSet};

use hotshoe_trust::{Device, Time};

use crate::{
    count::Count,
    plan::Plan,
    report::{Report, Tracked},
    reporting::report_interval_s,
    rollouts::Rollout,
    share::place,
    signed::SignedPlan,
    times::seconds_between,
};

/// Longest time between two counts, in seconds.
pub const COUNT_INTERVAL_S: u64 = 30;
/// Least time between two counts, in seconds: many devices change at once.
pub const LEAST_COUNT_INTERVAL_S: u64 = 5;

/// Why a count is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountReason {
    /// Something that a gate may decide by at once: a device failed, no device is waited for any more, or a statement was heard.
    News,
    /// The last one is 30 s old. What happens on the way of a device, and figures of health, wait for it.
    Interval,
}

/// The devices of a site in one rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteDevices {
    devices: BTreeMap<String, Tracked>,
    has_news: bool,
    /// Whether a device has come to an end since the last look, so that it may have been the last one that was waited for.
    has_ended: bool,
    last: Option<Time>,
    number: u64,
    /// Until then, devices may be missing that were counted by an earlier run.
    counts_from: Option<Time>,
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
                self.has_news = true;
                Tracked::new(placement, "unknown".to_owned(), now)
            });
        }
    }

    /// Removes devices that are not on the site's list any more.
    pub fn keep_only(&mut self, names: &BTreeSet<String>) {
        let before = self.devices.len();
        self.devices.retain(|name, _| names.contains(name));
        self.has_news |= self.devices.len() != before;
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
        let stated = tracked.stated();
        if stated != before && stated.0.is_end() {
            self.has_news |= stated.0.is_failure();
            self.has_ended = true;
        }
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

    /// A statement changed the rollout, which is news.
    pub const fn touch(&mut self) {
        self.has_news = true;
    }

    /// Why a count is due now; `None` if none is.
    fn due(&mut self, rollout: &Rollout, now: Time) -> Option<CountReason> {
        let Some(last) = self.last else {
            return Some(CountReason::News);
        };
        let passed = match last <= now {
            true => seconds_between(last, now),
            // The clock was set back.
            false => COUNT_INTERVAL_S,
        };
        if passed < LEAST_COUNT_INTERVAL_S {
            return None;
        }
        if std::mem::take(&mut self.has_ended) {
            self.has_news |= !self.is_waiting(rollout, now);
        }
        match self.has_news {
            true => Some(CountReason::News),
            false => (passed >= COUNT_INTERVAL_S).then_some(CountReason::Interval),
        }
    }

    /// Whether a device that the rollout has reached may still change.
    fn is_waiting(&self, rollout: &Rollout, now: Time) -> bool {
        let (plan, control) = (rollout.plan(), rollout.control());
        let mut devices = self.devices.values();
        devices.any(|device| {
            let concluded = device.conclude(plan, control, now);
            concluded.is_some_and(|it| it.is_open)
        })
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

    /// The count that is due, and why: at least 5 s after the last one with news, else after 30 s.
    pub fn count(
        &mut self,
        rollout: &Rollout,
        names: (&str, &str),
        now: Time,
    ) -> Option<(Count, CountReason)> {
        // Where the clock was set back, the time is far off.
        let most_s = report_interval_s(rollout.plan());
        let waits = |from: Time| now < from && seconds_between(now, from) <= most_s;
        if self.counts_from.is_some_and(waits) {
            return None;
        }
        let reason = self.due(rollout, now)?;
        self.number = self.number.saturating_add(1);
        self.last = Some(now);
        self.has_news = false;
        Some((self.current(rollout, names, now), reason))
    }
}

fn most_devices(plan: &Plan) -> usize {
    usize::try_from(plan.max_site_devices).unwrap_or(usize::MAX)
}
