//! How many clients the control socket has at once.

use std::sync::Arc;
use std::time::Duration;

use hotshoe_base::Clock;
use parking_lot::{Condvar, Mutex, MutexGuard};

/// The places of clients.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Clients whose command has not arrived.
    pub silent: Arc<Callers>,
    /// Clients whose command runs.
    pub running: Arc<Callers>,
}

#[derive(Debug, Default)]
pub(super) struct Callers {
    count: Mutex<usize>,
    fewer: Condvar,
}

/// The place of one client, freed on drop.
pub(super) struct CallerPermit(Arc<Callers>);

impl Callers {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock()
    }

    pub(super) fn take(self: &Arc<Self>, most: usize) -> Option<CallerPermit> {
        let mut count = self.lock();
        (*count < most).then(|| {
            *count += 1;
            CallerPermit(Arc::clone(self))
        })
    }

    pub(super) fn wait_for_none(&self, most: Duration, clock: &Clock) {
        let until = clock.now() + most;
        let mut count = self.lock();
        while *count > 0 && clock.now() < until {
            clock.wait_until(&self.fewer, &mut count, until);
        }
    }
}

impl Drop for CallerPermit {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.fewer.notify_all();
    }
}
