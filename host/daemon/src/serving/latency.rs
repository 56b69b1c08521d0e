//! Latency of stages, over the last minutes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_protocol::status::StageLatency;
use hotshoe_senses::{History, Shape, Summary};
use parking_lot::Mutex;

/// Most stages that are kept; further ones are ignored.
pub const MAX_STAGES: usize = 64;
/// The stage from the arrival of a sample to its end.
pub const TOTAL: &str = "total";
/// Number of slots before the present one that belong to a window of figures.
pub(crate) const SLOTS_OF_WINDOW: u32 = 4;

/// Collects durations by stage, in bounded memory.
#[derive(Debug)]
pub struct Latency {
    clock: Clock,
    started: Instant,
    stages: Mutex<Stages>,
}

#[derive(Debug)]
struct Stages {
    /// In microseconds.
    history: History,
    /// Samples since the start.
    counts: BTreeMap<String, u64>,
}

/// The latencies at one time, in microseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latencies {
    /// Since the start.
    pub at: Duration,
    /// The number of the present slot.
    pub slot: u64,
    /// Each stage over the window: the present slot, and four before it.
    pub stages: Vec<(String, Summary)>,
    /// Whole samples in the present slot.
    pub total_of_slot: Option<Summary>,
    /// Whole samples in the slot before it.
    pub total_of_last_slot: Option<Summary>,
}

impl Default for Latency {
    fn default() -> Self {
        Self::timed_by(Clock::default())
    }
}

impl Latency {
    /// An empty one with the time by `clock`. Its slots have 15 s.
    pub fn timed_by(clock: Clock) -> Self {
        Self {
            started: clock.now(),
            clock,
            stages: Mutex::new(Stages::of(Shape::default().slot)),
        }
    }

    /// The same with slots of another length, in which what was recorded is dropped.
    #[must_use]
    pub fn with_slots_of(self, slot: Duration) -> Self {
        Self {
            stages: Mutex::new(Stages::of(slot)),
            ..self
        }
    }

    /// Adds one duration in microseconds.
    pub fn record(&self, stage: &str, micros: u64) {
        self.record_all([(stage, micros)]);
    }

    /// Adds the durations of one sample, in microseconds.
    pub fn record_all<'a>(&self, durations: impl IntoIterator<Item = (&'a str, u64)> + Clone) {
        for (stage, micros) in durations.clone() {
            metrics::histogram!("hotshoe_stage_seconds", "stage" => stage.to_owned())
                .record(float(micros) / 1e6);
        }
        let at = self.clock.elapsed(self.started);
        let mut stages = self.stages.lock();
        for (stage, micros) in durations {
            stages.add(stage, micros, at);
        }
    }

    /// Every stage, by name, over the five minutes up to its last sample.
    pub fn snapshot(&self) -> Vec<StageLatency> {
        let stages = self.stages.lock();
        let one = |(name, count): (&String, &u64)| {
            let summary = stages.history.last_summary(name)?;
            Some(StageLatency {
                name: name.clone(),
                count: *count,
                p50_us: whole_micros(summary.p50),
                p95_us: whole_micros(summary.p95),
                p99_us: Some(whole_micros(summary.p99)),
                window_samples: Some(summary.count as u64),
            })
        };
        stages.counts.iter().filter_map(one).collect()
    }

    /// The latencies now.
    pub fn read(&self) -> Latencies {
        let at = self.clock.elapsed(self.started);
        let stages = self.stages.lock();
        let history = &stages.history;
        let (slot, window) = (history.slot(at), history.slot_time() * SLOTS_OF_WINDOW);
        let of_slot = |slot| history.summary_of_slot(TOTAL, slot);
        let one = |name: &str| Some((name.to_owned(), history.summary(name, window, at)?));
        Latencies {
            at,
            slot,
            stages: history.names().filter_map(one).collect(),
            total_of_slot: of_slot(slot),
            total_of_last_slot: slot.checked_sub(1).and_then(of_slot),
        }
    }
}

impl Stages {
    fn of(slot: Duration) -> Self {
        let shape = Shape {
            slot,
            series: MAX_STAGES,
            ..Shape::default()
        };
        Self {
            history: History::new(shape),
            counts: BTreeMap::new(),
        }
    }

    fn add(&mut self, stage: &str, micros: u64, at: Duration) {
        if let Some(count) = self.counts.get_mut(stage) {
            *count += 1;
        } else if self.counts.len() < MAX_STAGES {
            self.counts.insert(stage.to_owned(), 1);
        } else {
            return;
        }
        // There is room for as many series as stages, and names of stages are short.
        let _ = self.history.add(stage, float(micros), at);
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "2^53 microseconds are 285 years"
)]
pub(crate) const fn float(micros: u64) -> f64 {
    micros as f64
}

/// Rounded. A sketch has no value below zero here, and none beyond 1,000,000,000.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a conversion saturates"
)]
pub(crate) fn whole_micros(micros: f64) -> u64 {
    micros.round() as u64
}
