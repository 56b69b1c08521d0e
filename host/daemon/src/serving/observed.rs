//! Counts of one release while it serves, by the mode that its samples run in.

use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_senses::{History, Shape};
use hotshoe_trust::Release;
use parking_lot::Mutex;

pub use hotshoe_protocol::status::Observed;

use crate::serving::latency::{float, whole_micros};

/// The outcome of one sample, from best to worst. Samples that the intake refuses are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SampleOutcome {
    /// A result.
    Success,
    /// A component, a model or a policy returned an error.
    Error,
    /// A component missed its deadline.
    Deadline,
    /// A component trapped, exceeded its memory or fuel, or could not be instantiated.
    Trap,
}

/// Most ways to run whose counts are kept apart: the modes of a release, with and without variants left out. Samples of further ones
/// count for all of them together alone.
pub const MAX_VARIATIONS: usize = 32;
/// The one series of a history.
const SERIES: &str = "pipeline";

/// A way to run a release: what its latency depends on beside the samples.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variation {
    /// The mode; `None` is the full one.
    pub mode: Option<String>,
    /// How many of the preferred variants of each model are left out.
    pub skip_variants: u32,
}

impl Variation {
    fn is(&self, mode: Option<&str>, skip_variants: u32) -> bool {
        self.mode.as_deref() == mode && self.skip_variants == skip_variants
    }
}

/// The mode that a release runs in when this one is in force: `None` is the full one, also for a mode that it does not have.
pub(crate) fn mode_of<'a>(release: &Release, in_force: Option<&'a str>) -> Option<&'a str> {
    in_force.filter(|name| release.modes.get(*name).is_some_and(|it| it.level > 0))
}

/// Counts for one release, from the start of its serving. A sample costs a worker one short lock.
#[derive(Debug)]
pub struct Observer {
    clock: Clock,
    started: Instant,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    all: Count,
    each: Vec<(Variation, Count)>,
}

/// The samples of one way to run, or of all.
#[derive(Debug)]
struct Count {
    seen: Observed,
    /// Time in the pipeline, in microseconds.
    times: History,
}

impl Default for Count {
    fn default() -> Self {
        let shape = Shape {
            series: 1,
            ..Shape::default()
        };
        Self {
            seen: Observed::default(),
            times: History::new(shape),
        }
    }
}

impl Count {
    fn add(&mut self, outcome: SampleOutcome, micros: u64, at: Duration) {
        self.seen.samples += 1;
        self.seen.errors += u64::from(outcome != SampleOutcome::Success);
        self.seen.traps += u64::from(outcome == SampleOutcome::Trap);
        self.seen.deadline_misses += u64::from(outcome == SampleOutcome::Deadline);
        // It has room for its one series.
        let _ = self.times.add(SERIES, float(micros), at);
    }

    fn read(&self) -> Observed {
        let times = self.times.last_summary(SERIES);
        Observed {
            p95_us: times.map(|times| whole_micros(times.p95)),
            ..self.seen
        }
    }
}

impl Observer {
    /// Without samples, with the time by `clock`.
    pub fn timed_by(clock: Clock) -> Self {
        Self {
            started: clock.now(),
            clock,
            counts: Mutex::new(Counts {
                all: Count::default(),
                each: Vec::new(),
            }),
        }
    }

    /// Adds one sample, with the mode that it ran in (`None` is the full one), the number of preferred variants that were left out, and
    /// its time in the pipeline in microseconds.
    pub fn add(&self, mode: Option<&str>, skip_variants: u32, outcome: SampleOutcome, micros: u64) {
        let at = self.clock.elapsed(self.started);
        let mut counts = self.counts.lock();
        counts.all.add(outcome, micros, at);
        let mut each = counts.each.iter_mut();
        let known = each.find(|(other, _)| other.is(mode, skip_variants));
        if let Some((_, count)) = known {
            count.add(outcome, micros, at);
        } else if counts.each.len() < MAX_VARIATIONS {
            let ran = Variation {
                mode: mode.map(str::to_owned),
                skip_variants,
            };
            let mut count = Count::default();
            count.add(outcome, micros, at);
            counts.each.push((ran, count));
        }
    }

    /// All counts, and the 95th percentile of the five minutes up to the last sample.
    pub fn read(&self) -> Observed {
        self.counts.lock().all.read()
    }

    /// All counts, and those of each way to run.
    pub fn seen(&self) -> Seen {
        let counts = self.counts.lock();
        let each = counts.each.iter();
        Seen {
            all: counts.all.read(),
            each: each
                .map(|(ran, count)| (ran.clone(), count.read()))
                .collect(),
        }
    }
}

/// What an [`Observer`] has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// All samples.
    pub all: Observed,
    /// Those of each way to run.
    pub each: Vec<(Variation, Observed)>,
}

impl Seen {
    /// The samples that ran in this way.
    pub fn of(&self, variation: &Variation) -> Observed {
        let mut each = self.each.iter();
        let known = each.find(|(ran, _)| ran == variation);
        known.map_or_else(Observed::default, |(_, observed)| *observed)
    }
}
