//! Samples in a second, from the counts of two statuses.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hotshoe_protocol::status::Status;

use super::app::DeviceId;

/// Least time between two statuses that make a rate.
const LEAST: Duration = Duration::from_millis(500);

/// The rates of the stages of devices.
#[derive(Debug, Default)]
pub(super) struct Rates {
    devices: BTreeMap<DeviceId, Measured>,
}

#[derive(Debug)]
struct Measured {
    at: Instant,
    /// The session of the daemon, which is new at each start.
    session: String,
    counts: BTreeMap<String, u64>,
    rates: BTreeMap<String, f64>,
}

impl Rates {
    /// Takes a status that arrived at this time.
    pub(super) fn take(&mut self, device: &DeviceId, status: &Status, at: Instant) {
        let stages = status.stages.iter();
        let counts = stages.map(|stage| (stage.name.clone(), stage.count));
        let mut measured = Measured {
            at,
            session: status.session.id.clone(),
            counts: counts.collect(),
            rates: BTreeMap::new(),
        };
        if let Some(before) = self.devices.get(device)
            && before.session == measured.session
        {
            let time = at.saturating_duration_since(before.at);
            if time < LEAST {
                return;
            }
            let rate = |(name, count): (&String, &u64)| {
                // A stage that is new has had all its samples since then.
                let count = count.saturating_sub(before.counts.get(name).copied().unwrap_or(0));
                (name.clone(), count as f64 / time.as_secs_f64())
            };
            measured.rates = measured.counts.iter().map(rate).collect();
        }
        self.devices.insert(device.clone(), measured);
    }

    /// The rate of a stage; `None` after the first status of a daemon.
    pub(super) fn of(&self, device: &DeviceId, stage: &str) -> Option<f64> {
        self.devices.get(device)?.rates.get(stage).copied()
    }

    /// Forgets the devices that are not there any more.
    pub(super) fn keep(&mut self, mut is_there: impl FnMut(&DeviceId) -> bool) {
        self.devices.retain(|device, _| is_there(device));
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{id, status};
    use super::*;
    use serde_json::json;

    fn at(session: &str, count: u64) -> Status {
        status(json!({
            "session": {"id": session, "locators": [], "peers": 0},
            "stages": [{"name": "total", "count": count, "p50_us": 1, "p95_us": 2}],
        }))
    }

    #[test]
    fn a_rate_is_between_two_statuses_of_one_run() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        rates.take(&id(), &at("1", 10), start);
        assert_eq!(rates.of(&id(), "total"), None);
        rates.take(&id(), &at("1", 14), after(2_000));
        assert_eq!(rates.of(&id(), "total"), Some(2.0));
        // Too soon: the rate before stays, and so does what it is measured from.
        rates.take(&id(), &at("1", 15), after(2_100));
        assert_eq!(rates.of(&id(), "total"), Some(2.0));
        rates.take(&id(), &at("1", 17), after(3_000));
        assert_eq!(rates.of(&id(), "total"), Some(3.0));
        // A daemon that restarted counts from zero.
        rates.take(&id(), &at("2", 5), after(4_000));
        assert_eq!(rates.of(&id(), "total"), None);
        rates.keep(|_| false);
        assert!(rates.devices.is_empty());
    }
}
