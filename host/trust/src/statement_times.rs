//! When statements count as issued.
//!
//! A deployer's clock may be ahead of the device's, by at most the skew that a statement may have. Its statement counts from when it was
//! first received: otherwise it would block the statements of other deployers until that time.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::release::Time;

/// Most statements from the future that are remembered. The earliest is forgotten first.
const MAX_AHEAD: usize = 64;
/// Time by which a statement counts earlier than a later one that was received before it.
const EARLIER: Duration = Duration::from_micros(1);
/// Time by which a statement counts later than the one before it.
const LATER: Duration = Duration::from_nanos(1);

/// Statements from the future: when each says it was issued, and when it counts as issued. Both are in the same order.
#[derive(Debug, Clone, Default)]
pub struct StatementTimes {
    ahead: BTreeMap<Time, Time>,
}

impl StatementTimes {
    /// With the recorded times of statements, of which some may be after `now`.
    pub fn new(recorded: impl IntoIterator<Item = Time>, now: Time) -> Self {
        let mut future: Vec<Time> = recorded.into_iter().filter(|time| *time > now).collect();
        future.sort_unstable();
        future.dedup();
        let mut from = now;
        let mut ahead = BTreeMap::new();
        for time in future.into_iter().rev().take(MAX_AHEAD) {
            ahead.insert(time, from);
            from = earlier(from);
        }
        Self { ahead }
    }

    /// Notes a statement that says it was issued then, and returns when it counts as issued.
    pub fn hear(&mut self, issued: Time, now: Time) -> Time {
        if issued <= now || self.ahead.contains_key(&issued) {
            return self.counts_from(issued);
        }
        let before = self.ahead.range(..issued).next_back();
        let before = before.map(|(_, before)| later(*before));
        let after = self.ahead.range(issued..).next().map(|(_, after)| *after);
        let from = match (before, after) {
            (Some(before), Some(after)) if now >= after => before.min(after),
            (None, Some(after)) if now >= after => earlier(after),
            (before, _) => before.map_or(now, |before| before.max(now)),
        };
        self.add(issued, from);
        from
    }

    /// When a statement counts as issued that was recorded with this time.
    pub fn counts_from(&self, recorded: Time) -> Time {
        self.ahead.get(&recorded).copied().unwrap_or(recorded)
    }

    /// The time to record for a statement that counts from then, so that after a restart it is still newer than those before it.
    pub fn time_to_record(&mut self, from: Time) -> Time {
        let before = self.ahead.iter().rev().find(|(_, other)| **other <= from);
        match before {
            Some((issued, other)) if *issued > from => {
                if *other == from {
                    return *issued;
                }
                let recorded = later(*issued);
                self.add(recorded, from);
                recorded
            }
            _ => from,
        }
    }

    fn add(&mut self, issued: Time, from: Time) {
        self.ahead.insert(issued, from);
        if self.ahead.len() > MAX_AHEAD {
            self.ahead.pop_first();
        }
    }
}

fn later(time: Time) -> Time {
    time.checked_add(LATER).unwrap_or(time)
}

fn earlier(time: Time) -> Time {
    time.checked_sub(EARLIER).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds after some time.
    fn at(seconds: u64) -> Time {
        Time::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn a_statement_from_the_future_counts_from_when_it_was_heard() {
        let mut times = StatementTimes::default();
        assert_eq!(times.hear(at(10), at(20)), at(10));
        // Its clock is 4 minutes ahead.
        assert_eq!(times.hear(at(260), at(20)), at(20));
        assert_eq!(times.time_to_record(at(20)), at(260));
        // A colleague publishes 10 s later, and is newer.
        assert_eq!(times.hear(at(30), at(31)), at(30));
        assert!(times.counts_from(at(260)) < at(30));
        // The first one is heard again, also when its time has come: it stays the older one.
        assert_eq!(times.hear(at(260), at(40)), at(20));
        assert_eq!(times.hear(at(260), at(400)), at(20));
    }

    #[test]
    fn the_order_holds_after_a_restart() {
        let mut times = StatementTimes::default();
        times.hear(at(260), at(20));
        let first = times.time_to_record(at(20));
        let second = times.hear(at(30), at(31));
        let second = times.time_to_record(second);
        assert!(second > first, "the record of the newer one is newer");
        assert_eq!(times.counts_from(second), at(30));
        let mut again = StatementTimes::new([first, second, at(5)], at(100));
        assert!(again.hear(at(260), at(101)) < again.counts_from(second));
        // One that is issued after the restart is newer than both.
        assert!(again.hear(at(102), at(103)) > again.counts_from(second));
        assert_eq!(again.counts_from(at(5)), at(5));
    }

    #[test]
    fn statements_of_one_clock_that_is_ahead_keep_their_order() {
        let mut times = StatementTimes::default();
        let last = times.hear(at(202), at(10));
        let first = times.hear(at(200), at(11));
        let middle = times.hear(at(201), at(12));
        assert!(first < middle && middle < last);
        assert!(times.hear(at(203), at(10)) > last);
    }

    #[test]
    fn the_number_of_remembered_statements_has_a_limit() {
        let mut times = StatementTimes::default();
        for second in 0..1_000 {
            times.hear(at(1_000 + second), at(0));
        }
        assert_eq!(times.ahead.len(), MAX_AHEAD);
        let many = (0..1_000).map(|second| at(1_000 + second));
        assert_eq!(StatementTimes::new(many, at(0)).ahead.len(), MAX_AHEAD);
    }
}
