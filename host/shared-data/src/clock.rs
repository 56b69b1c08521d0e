//! A hybrid logical clock: Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical Physical Clocks", OPODIS 2014.
//!
//! A time is the wall clock in milliseconds and a counter. It never goes back at one replica, and a write is later than all writes that its
//! replica has seen, also if the wall clock is behind. The paper leaves a clock that is far ahead to the operator; here such a time is
//! refused, because it would win until the wall clock gets there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far a time may be ahead of the wall clock, and how far the clocks of two ends may differ: 5 minutes, as for statements.
pub const MAX_CLOCK_DRIFT: Duration = Duration::from_secs(5 * 60);

/// A time of a hybrid logical clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HybridTime {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub wall_ms: u64,
    /// Number of the write within that millisecond.
    pub counter: u32,
}

/// A time that is too far ahead of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a time is {ahead_ms} ms ahead of this clock, and at most {} ms are allowed; set the clocks of both ends",
    MAX_CLOCK_DRIFT.as_millis()
)]
pub struct AheadOfClock {
    /// By how much, in milliseconds.
    pub ahead_ms: u64,
}

impl HybridTime {
    /// The latest time that is accepted at this wall time.
    pub(crate) fn horizon(now_ms: u64) -> Self {
        let drift_ms = u64::try_from(MAX_CLOCK_DRIFT.as_millis()).unwrap_or(u64::MAX);
        Self {
            wall_ms: now_ms.saturating_add(drift_ms),
            counter: u32::MAX,
        }
    }

    /// Refuses a time that is too far ahead.
    ///
    /// # Errors
    /// [`AheadOfClock`].
    pub fn check(self, now_ms: u64) -> Result<(), AheadOfClock> {
        if self <= Self::horizon(now_ms) {
            return Ok(());
        }
        let ahead_ms = self.wall_ms.saturating_sub(now_ms);
        Err(AheadOfClock { ahead_ms })
    }
}

/// The clock of one replica. Wall times are arguments, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HybridClock {
    last: HybridTime,
}

impl HybridClock {
    /// A clock that has given no time yet.
    pub const fn new() -> Self {
        Self {
            last: HybridTime {
                wall_ms: 0,
                counter: 0,
            },
        }
    }

    /// The latest time that it gave or observed.
    pub const fn last(&self) -> HybridTime {
        self.last
    }

    /// The time of a new write, which is later than all times before it.
    pub fn tick(&mut self, now_ms: u64) -> HybridTime {
        let last = self.last;
        self.last = if now_ms > last.wall_ms {
            HybridTime {
                wall_ms: now_ms,
                counter: 0,
            }
        } else {
            match last.counter.checked_add(1) {
                Some(counter) => HybridTime { counter, ..last },
                None => HybridTime {
                    wall_ms: last.wall_ms.saturating_add(1),
                    counter: 0,
                },
            }
        };
        self.last
    }

    /// Notes the time of another replica's write, so that later writes here come after it.
    ///
    /// # Errors
    /// [`AheadOfClock`] if it is too far ahead of the wall clock. Nothing is noted then.
    pub fn observe(&mut self, time: HybridTime, now_ms: u64) -> Result<(), AheadOfClock> {
        time.check(now_ms)?;
        self.last = self.last.max(time);
        Ok(())
    }

    /// Goes back to `last`, after the times beyond it were removed everywhere at this replica.
    pub(crate) const fn reset(&mut self, last: HybridTime) {
        self.last = last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: u64, counter: u32) -> HybridTime {
        HybridTime { wall_ms, counter }
    }

    #[test]
    fn a_write_is_later_than_all_before_it_whatever_the_wall_clock_shows() {
        let mut clock = HybridClock::default();
        assert_eq!(clock.tick(100), at(100, 0));
        assert_eq!(clock.tick(100), at(100, 1));
        // The wall clock is set back.
        assert_eq!(clock.tick(40), at(100, 2));
        assert_eq!(clock.tick(101), at(101, 0));
        assert_eq!(clock.observe(at(500, 7), 101), Ok(()));
        assert_eq!(clock.tick(102), at(500, 8));
        // An earlier time of another replica changes nothing.
        assert_eq!(clock.observe(at(3, 0), 103), Ok(()));
        assert_eq!(clock.tick(501), at(501, 0));
    }

    #[test]
    fn a_time_that_is_too_far_ahead_is_refused_and_not_noted() {
        let mut clock = HybridClock::default();
        assert_eq!(clock.observe(at(300_000, u32::MAX), 0), Ok(()));
        assert_eq!(
            clock.observe(at(300_002, 0), 1),
            Err(AheadOfClock { ahead_ms: 300_001 })
        );
        assert_eq!(clock.last(), at(300_000, u32::MAX));
    }

    #[test]
    fn a_full_counter_goes_on_in_the_next_millisecond() {
        let mut clock = HybridClock::default();
        clock.reset(at(9, u32::MAX));
        assert_eq!(clock.tick(9), at(10, 0));
    }
}
