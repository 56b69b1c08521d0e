//! The age of a log: time that only goes forward.
//!
//! While the program runs it is the monotonic time, so a clock that is set deletes nothing. Between two runs of one start of the machine it
//! is the uptime. Over a restart of the machine only the time of day is left: what it went forward counts, what it went back does not. A
//! time of day before [`EARLIEST_WALL_MS`] was never set, and says nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hotshoe_base::Clock;
use serde::{Deserialize, Serialize};

use crate::host::Host;

/// 2024-01-01T00:00:00Z in milliseconds since 1970, before any outbox was written. A machine without a battery for its clock starts in 1970:
/// the step to the right time, once there is a network, would expire every record.
const EARLIEST_WALL_MS: u64 = 1_704_067_200_000;

/// An age with what it was measured by. All in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    pub(crate) age_ms: u64,
    pub(crate) wall_ms: u64,
    pub(crate) boot: String,
    pub(crate) uptime_ms: u64,
}

/// The age of an open log.
#[derive(Debug)]
pub(crate) struct Age {
    clock: Clock,
    host: Host,
    opened: Instant,
    at_opening_ms: u64,
}

impl Age {
    /// The age of a log whose last stamp is `last`, which wrote its last frame at `newest` (age and time of day).
    pub(crate) fn new(clock: Clock, host: Host, last: &Stamp, newest: Option<(u64, u64)>) -> Self {
        let (age_ms, wall_ms) = match newest {
            Some((age, wall)) if age > last.age_ms => (age, wall),
            _ => (last.age_ms, last.wall_ms),
        };
        let uptime_then = last
            .uptime_ms
            .saturating_add(age_ms.saturating_sub(last.age_ms));
        let passed = if !host.boot.is_empty() && host.boot == last.boot {
            millis(host.uptime).saturating_sub(uptime_then)
        } else if wall_ms < EARLIEST_WALL_MS {
            0
        } else {
            since_1970(clock.wall()).saturating_sub(wall_ms)
        };
        Self {
            opened: clock.now(),
            at_opening_ms: age_ms.saturating_add(passed),
            clock,
            host,
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.at_opening_ms + millis(self.clock.elapsed(self.opened))
    }

    pub(crate) fn wall_ms(&self) -> u64 {
        since_1970(self.clock.wall())
    }

    /// The monotonic time at which the log has this age.
    pub(crate) fn instant(&self, age_ms: u64) -> Instant {
        let left = age_ms.saturating_sub(self.now_ms());
        self.clock.deadline(Duration::from_millis(left))
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let since_opening = self.clock.elapsed(self.opened);
        Stamp {
            age_ms: self.now_ms(),
            wall_ms: self.wall_ms(),
            boot: self.host.boot.clone(),
            uptime_ms: millis(self.host.uptime.saturating_add(since_opening)),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn since_1970(wall: SystemTime) -> u64 {
    wall.duration_since(UNIX_EPOCH).map_or(0, millis)
}

#[cfg(test)]
mod tests {
    use hotshoe_base::VirtualClock;

    use super::*;

    const WALL: u64 = 1_764_000_000_000;

    fn host(boot: &str, uptime_s: u64) -> Host {
        Host {
            machine: "m".to_owned(),
            boot: boot.to_owned(),
            uptime: Duration::from_secs(uptime_s),
        }
    }

    /// The age of a log that was last seen at 1,000 s, in seconds.
    fn age_s(wall_s: i64, host: Host) -> u64 {
        let last = Stamp {
            age_ms: 1_000_000,
            wall_ms: WALL,
            boot: "one".to_owned(),
            uptime_ms: 50_000,
        };
        let wall = UNIX_EPOCH + Duration::from_millis(WALL.saturating_add_signed(wall_s * 1000));
        let time = VirtualClock::at(wall);
        Age::new(time.clock(), host, &last, Some((1_010_000, WALL + 10_000))).now_ms() / 1000
    }

    #[test]
    fn within_a_boot_the_uptime_counts_and_over_one_what_the_wall_went_forward() {
        // The last frame came 10 s after the stamp, so at an uptime of 60 s.
        assert_eq!(age_s(1_000_000, host("one", 90)), 1_040);
        assert_eq!(age_s(-5, host("one", 90)), 1_040);
        assert_eq!(age_s(1_000_000, host("two", 90)), 1_010 + 1_000_000 - 10);
        assert_eq!(age_s(-5, host("two", 90)), 1_010);
        assert_eq!(age_s(20, host("", 0)), 1_020);
    }

    #[test]
    fn a_clock_that_was_never_set_is_not_taken_for_decades() {
        let last = Stamp {
            age_ms: 1_000_000,
            wall_ms: 60_000,
            boot: "one".to_owned(),
            uptime_ms: 60_000,
        };
        let age_s = |wall_ms, host, newest| {
            let time = VirtualClock::at(UNIX_EPOCH + Duration::from_millis(wall_ms));
            Age::new(time.clock(), host, &last, newest).now_ms() / 1000
        };
        assert_eq!(age_s(WALL, host("two", 90), None), 1_000);
        let newest = Some((1_010_000, EARLIEST_WALL_MS - 1));
        assert_eq!(age_s(WALL, host("two", 90), newest), 1_010);
        // A frame that came after the clock was set.
        let newest = Some((1_010_000, WALL - 5_000));
        assert_eq!(age_s(WALL, host("two", 90), newest), 1_015);
        // Within one start of the machine, the uptime still counts.
        assert_eq!(age_s(WALL, host("one", 90), None), 1_030);
    }

    #[test]
    fn a_clock_that_is_set_while_the_log_is_open_changes_nothing() {
        let time = VirtualClock::at(UNIX_EPOCH + Duration::from_millis(WALL));
        let age = Age::new(time.clock(), host("one", 0), &Stamp::default(), None);
        time.set_wall(UNIX_EPOCH + Duration::from_millis(WALL * 2));
        assert_eq!(age.now_ms(), 0);
        time.advance(Duration::from_secs(3));
        assert_eq!(age.now_ms(), 3_000);
        time.set_wall(UNIX_EPOCH);
        assert_eq!((age.now_ms(), age.wall_ms()), (3_000, 0));
        assert_eq!(
            age.instant(5_000),
            time.clock().now() + Duration::from_secs(2)
        );
    }
}
