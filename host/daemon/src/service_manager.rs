//! What the daemon tells the service manager that started it, by the protocol of systemd (sd_notify): that it is ready, that it goes on, what it
//! does, and that it ends. Without `NOTIFY_SOCKET` in the environment, nothing is sent.

use std::env;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use hotshoe_base::supervisor::Supervisor;
use parking_lot::Mutex;
use sd_notify::NotifyState;

/// The time that the daemon asks for at once while it starts.
const EXTENSION: Duration = Duration::from_secs(30);
/// Interval at which it asks again.
const EXTEND_EVERY: Duration = Duration::from_secs(10);
/// Time that the parts of the daemon get after the drain.
const AFTER_DRAIN: Duration = Duration::from_secs(30);
/// The part that asks for more time while the daemon starts.
const STARTING: &str = "starting";

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    is_there: bool,
    watchdog: Option<Duration>,
    status: Mutex<Shown>,
}

/// The status that the service manager shows.
#[derive(Debug, Default)]
struct Shown {
    text: String,
    /// Whether the daemon drains: then the text stays.
    is_last: bool,
}

/// Asks for more time until it is dropped.
#[derive(Debug)]
pub(crate) struct MoreTime {
    _done: Option<SyncSender<()>>,
}

impl ServiceManager {
    /// The one that the environment of this process names.
    pub fn of_environment() -> Self {
        let is_there = env::var_os("NOTIFY_SOCKET").is_some_and(|path| !path.is_empty());
        Self {
            is_there,
            watchdog: sd_notify::watchdog_enabled().filter(|_| is_there),
            status: Mutex::default(),
        }
    }

    /// The time without a sign of life after which the service manager restarts the process. `None` without a watchdog.
    pub(crate) const fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The daemon serves its release, or has none and waits for one.
    pub fn ready(&self) {
        self.send(&[NotifyState::Ready]);
    }

    /// The configuration is being read again. [`Self::ready`] ends this.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.send(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!(%error, "cannot read the monotonic clock"),
        }
    }

    /// The daemon drains, which takes at most `deadline`.
    pub(crate) fn stopping(&self, deadline: Duration) {
        self.show("draining", true);
        let more = extension(deadline.saturating_add(AFTER_DRAIN));
        self.send(&[NotifyState::Stopping, more]);
    }

    /// Every part that matters goes on.
    pub(crate) fn alive(&self) {
        if self.watchdog.is_some() {
            self.send(&[NotifyState::Watchdog]);
        }
    }

    /// Shows what the daemon does, in one line, until it drains. The same text is sent once.
    pub(crate) fn set_status(&self, text: &str) {
        self.show(text, false);
    }

    fn show(&self, text: &str, is_last: bool) {
        let line: String = text
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        // Locked until the text is sent, so that texts of two threads arrive in this order.
        let mut shown = self.status.lock();
        if shown.is_last || shown.text == line {
            return;
        }
        self.send(&[NotifyState::Status(&line)]);
        *shown = Shown {
            text: line,
            is_last,
        };
    }

    /// Asks for more time for the start, in which components may be compiled, but for no more than `most`.
    pub(crate) fn more_time(self: &Arc<Self>, most: Duration, supervisor: &Supervisor) -> MoreTime {
        if !self.is_there {
            return MoreTime { _done: None };
        }
        self.send(&[extension(EXTENSION)]);
        let (sender, done) = sync_channel::<()>(0);
        let (manager, clock) = (Arc::clone(self), supervisor.clock().clone());
        let ask = move || {
            let began = clock.now();
            while clock.elapsed(began) < most {
                let next = clock.deadline(EXTEND_EVERY);
                if let Err(RecvTimeoutError::Disconnected) = clock.recv_until(&done, next) {
                    return;
                }
                manager.send(&[extension(EXTENSION)]);
            }
        };
        if let Err(error) = supervisor.task(STARTING, ask) {
            tracing::warn!(%error, "cannot start the thread that asks for more time to start");
        }
        MoreTime {
            _done: Some(sender),
        }
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        if !self.is_there {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            tracing::warn!(%error, "cannot reach the service manager");
        }
    }
}

fn extension(time: Duration) -> NotifyState<'static> {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    NotifyState::ExtendTimeoutUsec(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_ends_late_does_not_replace_the_status_of_a_drain() {
        let manager = ServiceManager::default();
        manager.set_status("serves light 1");
        manager.stopping(Duration::ZERO);
        manager.set_status("serves light 1");
        assert_eq!(manager.status.lock().text, "draining");
    }
}
