//! Freshness of statements: a device that hears none may be cut off by an attacker. Pure.

use std::time::Duration;

use hotshoe_trust::Time;

/// Time after the start before the age of statements is checked.
const GRACE: Duration = Duration::from_secs(60);

/// Whether the newest valid statement is older than `within`. `None` in the first minute after the start.
pub fn is_stale(
    newest_heard: Option<Time>,
    within: Duration,
    now: Time,
    running: Duration,
) -> Option<bool> {
    if running < GRACE {
        return None;
    }
    let age = newest_heard.map(|newest| now.duration_since(newest));
    Some(age.is_none_or(|age| age.is_positive() && age.unsigned_abs() > within))
}
