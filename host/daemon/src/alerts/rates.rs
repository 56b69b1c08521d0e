//! How many samples failed within a window of time. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use hotshoe_engine::Fault;
use hotshoe_protocol::status::Counters;

/// Most counts that are kept: the window moves in sixtieths of its length.
const SLOTS: u32 = 60;

/// Counts of samples since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleCounts {
    /// Samples that ended with a result or failed.
    pub processed: u64,
    /// Samples that failed, without those that failed because of a deadline.
    pub failed: u64,
    /// Samples on which a component missed its deadline, also where that was tolerated.
    pub late: u64,
}

impl SampleCounts {
    /// Those of a tally, and the samples on which a component missed its deadline.
    pub fn of(counters: &Counters, late: u64) -> Self {
        // Not `late`: a sample whose policy was late and tolerated has a result.
        let failed_late = counters.faults.get(Fault::Deadline.name());
        let failed_late = failed_late.copied().unwrap_or_default();
        Self {
            processed: counters.results + counters.failed,
            failed: counters.failed.saturating_sub(failed_late),
            late,
        }
    }
}

/// The counts of a window.
#[derive(Debug, Default)]
pub struct RateWindow(VecDeque<(Duration, SampleCounts)>);

impl RateWindow {
    /// Adds the counts at a moment. Returns what was counted within about the window before it.
    pub fn next(&mut self, now: SampleCounts, window: Duration, at: Duration) -> SampleCounts {
        let from = at.saturating_sub(window);
        // The last one before the window is its beginning.
        while self.0.get(1).is_some_and(|(begun, _)| *begun <= from) {
            self.0.pop_front();
        }
        let before = self.0.front().map_or_else(SampleCounts::default, |it| it.1);
        let is_due = |last: Duration| at.saturating_sub(last) >= window / SLOTS;
        if self.0.back().is_none_or(|(last, _)| is_due(*last)) {
            self.0.push_back((at, now));
        }
        let grown = |now: u64, before: u64| now.saturating_sub(before);
        SampleCounts {
            processed: grown(now.processed, before.processed),
            failed: grown(now.failed, before.failed),
            late: grown(now.late, before.late),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn counts(processed: u64, failed: u64) -> SampleCounts {
        SampleCounts {
            processed,
            failed,
            late: 0,
        }
    }

    #[test]
    fn tolerated_deadlines_do_not_hide_failures() {
        let counters = Counters {
            results: 90,
            failed: 10,
            faults: [("deadline".to_owned(), 3), ("trap".to_owned(), 7)].into(),
            ..Counters::default()
        };
        let expected = SampleCounts {
            processed: 100,
            failed: 7,
            late: 50,
        };
        assert_eq!(SampleCounts::of(&counters, 50), expected);
    }

    #[test]
    fn what_was_counted_before_the_window_does_not_count() {
        let mut window = RateWindow::default();
        let mut next = |seconds, processed, failed| {
            window.next(
                counts(processed, failed),
                WINDOW,
                Duration::from_secs(seconds),
            )
        };
        assert_eq!(next(0, 0, 0), counts(0, 0));
        assert_eq!(next(1, 10, 5), counts(10, 5));
        assert_eq!(next(30, 20, 5), counts(20, 5));
        // At 61 s, the window begins at 1 s, where 10 had been counted.
        assert_eq!(next(61, 30, 5), counts(20, 0));
        assert_eq!(next(1_000, 30, 5), counts(0, 0));
    }

    #[test]
    fn a_window_keeps_a_bounded_number_of_counts() {
        let mut window = RateWindow::default();
        for step in 0..100_000 {
            let at = Duration::from_millis(step * 100);
            window.next(counts(step, 0), WINDOW, at);
        }
        assert!(window.0.len() <= SLOTS as usize + 2, "{}", window.0.len());
    }
}
