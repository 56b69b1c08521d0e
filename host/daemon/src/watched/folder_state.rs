//! State that the service and the reader of a watched folder share; part of it is in the status.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_protocol::status::WatchMode;
use parking_lot::{Condvar, Mutex, MutexGuard};

/// State that the service and the reader of a watched folder share.
#[derive(Debug, Default)]
pub(crate) struct FolderState {
    state: Mutex<State>,
    changed: Condvar,
}

/// The part of it that is in the status.
#[derive(Debug, Clone, Default)]
pub(crate) struct FolderView {
    /// How changes are found. `None` until the folder is watched.
    pub(crate) mode: Option<WatchMode>,
    /// Why it is not [`WatchMode::Events`].
    pub(crate) reason: Option<String>,
    /// Entries that are not read.
    pub(crate) skipped: u64,
}

#[derive(Debug, Default)]
struct State {
    view: FolderView,
    /// Whether files wait, because no release serves.
    is_paused: bool,
    /// Whether files wait, because the device rests.
    is_resting: bool,
    /// Files whose samples were dropped. They are read again.
    dropped: BTreeSet<PathBuf>,
    /// How long processed files may be kept.
    retention: Option<Duration>,
}

impl FolderState {
    /// Lets files wait: no release serves.
    pub(super) fn pause(&self) {
        self.lock().is_paused = true;
    }

    /// Has waiting files read.
    pub(super) fn resume(&self) {
        self.lock().is_paused = false;
        self.changed.notify_all();
    }

    /// Lets files wait while the device rests, or has them read again.
    pub(super) fn rest(&self, rests: bool) {
        self.lock().is_resting = rests;
        self.changed.notify_all();
    }

    /// Has a file read again: its sample was dropped.
    pub(super) fn dropped(&self, path: PathBuf) {
        self.lock().dropped.insert(path);
    }

    /// Waits until a release serves and the device does not rest, or until `stopped` is set and [`Self::wake`] called. False at `until`, where
    /// processed files have a retention.
    pub(crate) fn await_release(
        &self,
        stopped: &AtomicBool,
        clock: &Clock,
        until: Instant,
    ) -> bool {
        let mut state = self.lock();
        while (state.is_paused || state.is_resting) && !stopped.load(Ordering::Acquire) {
            if state.retention.is_none() {
                self.changed.wait(&mut state);
            } else if clock.now() < until {
                clock.wait_until(&self.changed, &mut state, until);
            } else {
                return false;
            }
        }
        true
    }

    /// Wakes the waiting reader.
    pub(crate) fn wake(&self) {
        // With the lock, so that a reader that has just looked at its flag waits already.
        let _state = self.lock();
        self.changed.notify_all();
    }

    /// The files whose samples were dropped since the last call.
    pub(crate) fn take_dropped(&self) -> BTreeSet<PathBuf> {
        std::mem::take(&mut self.lock().dropped)
    }

    /// Sets how changes are found. Returns how they were found before.
    pub(crate) fn set_mode(&self, mode: WatchMode, reason: Option<String>) -> Option<WatchMode> {
        let mut state = self.lock();
        state.view.reason = reason;
        state.view.mode.replace(mode)
    }

    /// Sets how long processed files may be kept.
    pub(super) fn set_retention(&self, retention: Option<Duration>) {
        self.lock().retention = retention;
        self.changed.notify_all();
    }

    /// How long processed files may be kept.
    pub(crate) fn retention(&self) -> Option<Duration> {
        self.lock().retention
    }

    /// Whether the folder is not there.
    pub(crate) fn is_missing(&self) -> bool {
        self.lock().view.mode == Some(WatchMode::Missing)
    }

    /// Sets the number of entries that are not read.
    pub(crate) fn set_skipped(&self, skipped: usize) {
        self.lock().view.skipped = skipped as u64;
    }

    /// What the status has.
    pub(super) fn view(&self) -> FolderView {
        self.lock().view.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}
