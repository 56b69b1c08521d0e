use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for anything. Only a test that fails gets there: nothing is asserted about how long something takes.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Waits until `event` is true; fails with `what` at the deadline.
#[track_caller]
pub fn until(what: &str, mut event: impl FnMut() -> bool) {
    let started = Instant::now();
    while !event() {
        assert!(started.elapsed() < DEADLINE, "still not so: {what}");
        thread::yield_now();
    }
}
