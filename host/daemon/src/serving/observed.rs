//! Counts of one release while it serves.

use std::sync::atomic::{AtomicU64, Ordering};

use hotshoe_pipeline::latency::{RecentDurations, nearest_rank};
use parking_lot::Mutex;

pub use hotshoe_protocol::status::Observed;

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

/// Counts for one release, from the start of its serving. A sample costs a worker a few atomic additions and one short lock.
#[derive(Debug, Default)]
pub struct Observer {
    samples: AtomicU64,
    errors: AtomicU64,
    traps: AtomicU64,
    deadlines: AtomicU64,
    recent: Mutex<RecentDurations>,
}

impl Observer {
    /// Adds one sample and its time in the pipeline, in microseconds.
    pub fn add(&self, outcome: SampleOutcome, micros: u64) {
        // The failures before the total, so that a reader never sees a sample without its failure.
        match outcome {
            SampleOutcome::Success => {}
            SampleOutcome::Error => count(&self.errors),
            SampleOutcome::Trap => {
                count(&self.traps);
                count(&self.errors);
            }
            SampleOutcome::Deadline => {
                count(&self.deadlines);
                count(&self.errors);
            }
        }
        let mut recent = self.recent.lock();
        recent.add(micros);
        drop(recent);
        self.samples.fetch_add(1, Ordering::Release);
    }

    /// Number of samples.
    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Acquire)
    }

    /// All counts, and the 95th percentile of recent times.
    pub fn read(&self) -> Observed {
        let samples = self.samples();
        let recent = self.recent.lock();
        let sorted = recent.sorted();
        drop(recent);
        Observed {
            samples,
            errors: self.errors.load(Ordering::Acquire),
            traps: self.traps.load(Ordering::Acquire),
            deadline_misses: self.deadlines.load(Ordering::Acquire),
            p95_us: nearest_rank(&sorted, 95),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Release);
}
