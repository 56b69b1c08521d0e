//! The activity of one connection, which decides when it must end.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::options::Limits;

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It sent no allowed request in time.
    Silent,
    /// The client does not read an answer.
    Stalled,
    /// It was idle for too long.
    Idle,
}

/// The requests of one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    state: Mutex<State>,
    /// Notified when the next deadline may have changed.
    changed: Notify,
    /// Notified when the connection must close to free capacity.
    evicted: Notify,
    /// Notified when the connection becomes idle, and could be evicted.
    capacity: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    /// Whether a request was allowed.
    admitted_request: bool,
    /// The number of requests that are not answered yet.
    open: usize,
    /// Since when there are none.
    idle_since: Instant,
    /// By request: when a piece of its answer was last read.
    taken: BTreeMap<u64, Instant>,
    next: u64,
}

impl Activity {
    pub(crate) fn new(capacity: Arc<Notify>) -> Self {
        let now = Instant::now();
        let state = State {
            admitted_request: false,
            open: 0,
            idle_since: now,
            taken: BTreeMap::new(),
            next: 0,
        };
        Self {
            opened: now,
            state: Mutex::new(state),
            changed: Notify::new(),
            evicted: Notify::new(),
            capacity,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Records that a request was allowed.
    pub(crate) fn admitted_request(&self) {
        self.lock().admitted_request = true;
        self.changed.notify_one();
    }

    /// For an idle connection: whether it ever had an allowed request, and since when it is idle. The smallest value is evicted first.
    pub(crate) fn idle(&self) -> Option<(bool, Instant)> {
        let state = self.lock();
        (state.open == 0).then_some((state.admitted_request, state.idle_since))
    }

    /// Asks the connection to close.
    pub(crate) fn evict(&self) {
        self.evicted.notify_one();
    }

    /// Waits until the connection must close to free capacity.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// The next deadline, and how the connection ends then.
    fn next(&self, limits: &Limits) -> Option<(Instant, End)> {
        let state = self.lock();
        let silent =
            (!state.admitted_request).then(|| (self.opened + limits.first_request, End::Silent));
        let last = state.taken.values().min();
        let stalled = last.map(|&last| (last + limits.stall, End::Stalled));
        let idle = (state.open == 0).then(|| (state.idle_since + limits.idle, End::Idle));
        [silent, stalled, idle]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }

    /// Waits until a deadline has passed.
    pub(crate) async fn wait_for_end(&self, limits: &Limits) -> End {
        loop {
            let changed = self.changed.notified();
            let Some((at, end)) = self.next(limits) else {
                changed.await;
                continue;
            };
            tokio::select! {
                // Reading a piece meanwhile extends the deadline.
                () = sleep_until(at) => if self.next(limits) == Some((at, end)) {
                    return end;
                },
                () = changed => {}
            }
        }
    }
}

/// One request of a connection, until its answer is written.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    activity: Arc<Activity>,
    id: u64,
}

impl ActiveRequest {
    pub(crate) fn new(activity: Arc<Activity>) -> Self {
        let mut state = activity.lock();
        let id = state.next;
        state.next += 1;
        state.open += 1;
        drop(state);
        activity.changed.notify_one();
        Self { activity, id }
    }

    /// Records that a piece of the answer waits for the client.
    pub(crate) fn offered(&self) {
        let mut state = self.activity.lock();
        let first = state.taken.insert(self.id, Instant::now()).is_none();
        drop(state);
        if first {
            self.activity.changed.notify_one();
        }
    }

    /// Records that the next piece of the answer is not ready.
    pub(crate) fn making(&self) {
        self.activity.lock().taken.remove(&self.id);
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut state = self.activity.lock();
        state.taken.remove(&self.id);
        state.open = state.open.saturating_sub(1);
        let idle = state.open == 0;
        if idle {
            state.idle_since = Instant::now();
        }
        drop(state);
        if idle {
            self.activity.changed.notify_one();
            self.activity.capacity.notify_one();
        }
    }
}
