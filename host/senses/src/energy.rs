//! Energy of the device, and of one inference.

use std::time::Duration;

use serde::Serialize;

use crate::reading::{RaplZone, Reading};

/// Power beyond this is a counter that was reset and not one that wrapped around, in watts.
const MAX_WATTS: f64 = 10_000.0;

/// Where a figure of energy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerSource {
    /// Counters of the processor, and of memory where it has one.
    Rapl,
    /// What the batteries supply: the whole device.
    Battery,
}

/// Energy over a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Energy {
    /// Where it comes from.
    pub source: PowerSource,
    /// In joules.
    pub joules: f64,
    /// The time that it was measured over, in seconds.
    pub seconds: f64,
}

impl Energy {
    /// Mean power, in watts.
    pub fn watts(&self) -> f64 {
        self.joules / self.seconds
    }
}

/// Adds up energy from reading to reading, window by window. Two readings may not be further apart than the counters take to wrap
/// around: 65,536 J, which are 5 minutes at 200 W, are the smallest range.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    last: Option<Last>,
    rapl: Sum,
    battery: Sum,
}

#[derive(Debug, Clone)]
struct Last {
    at: Duration,
    rapl: Vec<RaplZone>,
    watts: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    joules: f64,
    seconds: f64,
}

impl Sum {
    fn add(&mut self, joules: Option<f64>, seconds: f64) {
        if let Some(joules) = joules {
            self.joules += joules;
            self.seconds += seconds;
        }
    }

    fn energy(self, source: PowerSource) -> Option<Energy> {
        (self.seconds > 0.0).then_some(Energy {
            source,
            joules: self.joules,
            seconds: self.seconds,
        })
    }
}

impl Meter {
    /// Adds a reading of the time `at`.
    pub fn add(&mut self, reading: &Reading, at: Duration) {
        let now = Last {
            at,
            rapl: reading.rapl.clone(),
            watts: reading.discharge_watts(),
        };
        if let Some(last) = &self.last {
            let seconds = at.saturating_sub(last.at).as_secs_f64();
            if seconds > 0.0 {
                let is_possible = |joules: &f64| *joules <= MAX_WATTS * seconds;
                let counted = rapl_joules(&last.rapl, &now.rapl).filter(is_possible);
                self.rapl.add(counted, seconds);
                let mean = last.watts.zip(now.watts).map(|(a, b)| f64::midpoint(a, b));
                self.battery.add(mean.map(|watts| watts * seconds), seconds);
            }
        }
        self.last = Some(now);
    }

    /// Ends the window. The energy of the time in which it is known: that of the counters, else that of the batteries. `None` if there is
    /// neither.
    pub fn end_window(&mut self) -> Option<Energy> {
        let (rapl, battery) = (self.rapl, self.battery);
        (self.rapl, self.battery) = (Sum::default(), Sum::default());
        let rapl = rapl.energy(PowerSource::Rapl);
        rapl.or_else(|| battery.energy(PowerSource::Battery))
    }
}

/// Energy between two readings of the counters, in joules: that of the whole platform where it is counted, else of all packages and
/// memories. `None` if there is none, if a counter is missing in one of them, or if one wrapped around and does not tell its range.
pub fn rapl_joules(before: &[RaplZone], after: &[RaplZone]) -> Option<f64> {
    let (before, after) = (counted(before), counted(after));
    if before.len() != after.len() || after.is_empty() {
        return None;
    }
    let micro = |(before, after): (&&RaplZone, &&RaplZone)| {
        if before.zone != after.zone {
            return None;
        }
        match after.energy_uj.checked_sub(before.energy_uj) {
            Some(grown) => Some(grown),
            None => {
                let to_end = after.range_uj?.checked_sub(before.energy_uj)?;
                to_end.checked_add(after.energy_uj)
            }
        }
    };
    let each: Option<Vec<u64>> = before.iter().zip(&after).map(micro).collect();
    #[expect(
        clippy::cast_precision_loss,
        reason = "an error of 2^-53 of the energy"
    )]
    let joules = |micro: u64| micro as f64 / 1e6;
    Some(each?.into_iter().map(joules).sum())
}

/// The counters that count nothing twice. `core` and `uncore` are within their package.
fn counted(zones: &[RaplZone]) -> Vec<&RaplZone> {
    let is = |zone: &&RaplZone, name: &str| zone.label.as_deref() == Some(name);
    if let Some(platform) = zones.iter().find(|zone| is(zone, "psys")) {
        return vec![platform];
    }
    let is_package = |zone: &&RaplZone| match &zone.label {
        Some(label) => label.starts_with("package"),
        // A zone within another has a second colon.
        None => zone.zone.matches(':').count() == 1,
    };
    let zones = zones.iter();
    zones
        .filter(|zone| is_package(zone) || is(zone, "dram"))
        .collect()
}

/// What one model or variant did in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Finished runs.
    pub runs: u64,
    /// Time in them, in microseconds.
    pub busy_us: u64,
}

/// Joules of one inference, for each model or variant in the order of `works`: the energy of the window, the device's idle power included, by
/// its share of the busy time, divided by its runs. `None` where the energy is not known, or nothing ran.
pub fn per_inference(
    energy: Option<&Energy>,
    window: Duration,
    works: &[Work],
) -> Vec<Option<f64>> {
    let joules = energy.map(|energy| energy.watts() * window.as_secs_f64());
    let busy: f64 = works.iter().map(|work| float(work.busy_us)).sum();
    let runs: f64 = works.iter().map(|work| float(work.runs)).sum();
    let one = |work: &Work| {
        let share = if busy > 0.0 {
            float(work.busy_us) / busy
        } else {
            float(work.runs) / runs
        };
        let joules = joules.filter(|_| work.runs > 0)?;
        Some(joules * share / float(work.runs))
    };
    works.iter().map(one).collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 microseconds are 285 years"
)]
fn float(count: u64) -> f64 {
    count as f64
}
