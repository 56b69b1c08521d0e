//! The clock that a part asks for the time, and waits by: the system's, or one that only moves when a test tells it to.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, MutexGuard};

pub use r#virtual::VirtualClock;
use r#virtual::{POLL, Virtual};

mod r#virtual;

/// What a longer time is cut to.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Where a part gets the time from. The default is the system's clock. A clone is the same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Virtual>>);

impl Clock {
    /// The clock of the operating system.
    pub fn system() -> Self {
        Self::default()
    }

    /// The monotonic time.
    pub fn now(&self) -> Instant {
        self.0.as_ref().map_or_else(Instant::now, |time| time.now())
    }

    /// The time of day. It steps when the device's clock is set.
    pub fn wall(&self) -> SystemTime {
        self.0
            .as_ref()
            .map_or_else(SystemTime::now, |time| time.wall())
    }

    /// The monotonic time that has passed since `since`; zero if that is still to come.
    pub fn elapsed(&self, since: Instant) -> Duration {
        self.now().saturating_duration_since(since)
    }

    /// The end of `time` from now. A time that no instant can show ends in a hundred years.
    pub fn deadline(&self, time: Duration) -> Instant {
        let now = self.now();
        now.checked_add(time).unwrap_or(now + LONGEST)
    }

    /// Blocks the calling thread for `time`.
    pub fn sleep(&self, time: Duration) {
        match &self.0 {
            None => thread::sleep(time),
            Some(clock) => clock.sleep(time),
        }
    }

    /// Receives the next message, or ends at `until`. A message that is already there is received even if `until` has passed.
    ///
    /// # Errors
    /// [`RecvTimeoutError`], as [`Receiver::recv_timeout`].
    pub fn recv_until<T>(
        &self,
        receiver: &Receiver<T>,
        until: Instant,
    ) -> Result<T, RecvTimeoutError> {
        match &self.0 {
            None => receiver.recv_timeout(self.left(until)),
            Some(clock) => clock.recv_until(receiver, until),
        }
    }

    /// Waits for a notification, or until `until`. As with every [`Condvar`], the caller checks its condition again: the wait may end early.
    pub fn wait_until<T>(&self, condvar: &Condvar, guard: &mut MutexGuard<'_, T>, until: Instant) {
        match &self.0 {
            None => {
                condvar.wait_for(guard, self.left(until));
            }
            Some(clock) => clock.waiting(until, || {
                condvar.wait_for(guard, POLL);
            }),
        }
    }

    fn left(&self, until: Instant) -> Duration {
        until.saturating_duration_since(self.now())
    }
}

#[cfg(test)]
mod tests;
