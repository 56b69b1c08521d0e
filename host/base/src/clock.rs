//! The clock that parts ask for the time, so that a part can be given another one.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A clock: the monotonic time, the time of day, and waits.
#[derive(Clone, Debug, Default)]
pub struct Clock {}

impl Clock {
    /// The system's clock.
    pub const fn system() -> Self {
        Self {}
    }

    /// The monotonic time.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The time of day.
    pub fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    /// The time since `since`; zero if that is later.
    pub fn elapsed(&self, since: Instant) -> Duration {
        self.now().saturating_duration_since(since)
    }

    /// Waits.
    pub fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Receives a message that arrives before `until`.
    ///
    /// # Errors
    /// As [`Receiver::recv_timeout`].
    pub fn recv_until<T>(
        &self,
        receiver: &Receiver<T>,
        until: Instant,
    ) -> Result<T, RecvTimeoutError> {
        receiver.recv_timeout(until.saturating_duration_since(self.now()))
    }
}
