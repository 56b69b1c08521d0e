//! Times in whole seconds.

use hotshoe_trust::Time;

/// The time so many seconds later; the end of time if that is beyond it.
pub(crate) fn after(time: Time, seconds: u64) -> Time {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    Time::from_second(time.as_second().saturating_add(seconds)).unwrap_or(Time::MAX)
}

/// Seconds from `from` to `to`; 0 if `to` is earlier.
pub(crate) fn seconds_between(from: Time, to: Time) -> u64 {
    u64::try_from(to.as_second().saturating_sub(from.as_second())).unwrap_or(0)
}
