//! Counts of samples since the start, and their differences.

use hotshoe_protocol::status::Counters;

/// Counts of samples, and of what went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Samples that came in.
    pub accepted: u64,
    /// Samples with a result.
    pub results: u64,
    /// Samples that were left out.
    pub skipped: u64,
    /// Samples that were dropped.
    pub dropped: u64,
    /// Samples that failed.
    pub failed: u64,
    /// Samples on which a component missed its deadline.
    pub deadline_misses: u64,
    /// Samples on which a component trapped.
    pub traps: u64,
    /// Runs of models that failed by a fault of the backend.
    pub backend_faults: u64,
}

impl Counts {
    /// Those of the tally. The tally knows no backends.
    pub fn of(counters: &Counters, deadline_misses: u64, traps: u64) -> Self {
        Self {
            accepted: counters.accepted,
            results: counters.results,
            skipped: counters.skipped,
            dropped: counters.dropped_total(),
            failed: counters.failed,
            deadline_misses,
            traps,
            backend_faults: 0,
        }
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let grown = |now: u64, before: u64| now.saturating_sub(before);
        Self {
            accepted: grown(self.accepted, before.accepted),
            results: grown(self.results, before.results),
            skipped: grown(self.skipped, before.skipped),
            dropped: grown(self.dropped, before.dropped),
            failed: grown(self.failed, before.failed),
            deadline_misses: grown(self.deadline_misses, before.deadline_misses),
            traps: grown(self.traps, before.traps),
            backend_faults: grown(self.backend_faults, before.backend_faults),
        }
    }
}
