//! The deploy thread's part of the status. The deploy thread writes it, other threads read it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use hotshoe_audit::SignedHead;
use hotshoe_base::Clock;
use hotshoe_engine::MemoryChoice;
use hotshoe_protocol::status::{DeployStatus, RollbackStatus, SlotsStatus};
use hotshoe_store::Cause;
use parking_lot::Mutex;

use crate::events::EventLog;
use crate::serving::observed::Variation;

/// The current [`DeployView`], shared between threads, and the daemon's last events.
#[derive(Debug, Default)]
pub struct PublishedStatus {
    view: Mutex<DeployView>,
    events: Arc<EventLog>,
}

/// The deploy thread's part of the status, at one moment.
#[derive(Debug, Clone, Default)]
pub struct DeployView {
    /// The mode of component memories, with its reason.
    pub memory: Option<MemoryChoice>,
    /// The ledger's slots.
    pub slots: SlotsStatus,
    /// Why the live release cannot serve.
    pub cannot_serve: Option<Cause>,
    /// Start of the trial, on the monotonic clock.
    pub probation_since: Option<Instant>,
    /// The way to run whose samples count for the trial.
    pub judged: Option<Variation>,
    /// When the last statement was heard that is not older than the followed one, on the monotonic clock.
    pub statement_heard: Option<Instant>,
    /// The release that is being deployed, or the last one that was.
    pub deploy: DeployStatus,
    /// The last release that was rolled back.
    pub last_rollback: Option<RollbackStatus>,
    /// The version of the trusted keys.
    pub trust_version: u64,
    /// Number of changes of the release that serves.
    pub swaps: u64,
    /// Number of trials that were rolled back, except those that a newer release replaced.
    pub rollbacks: u64,
    /// Releases that were refused or failed, by cause.
    pub refused: BTreeMap<String, u64>,
    /// Statements and orders that were not followed, by reason.
    pub ignored: BTreeMap<String, u64>,
    /// Duration of the last swap of the pointer, in nanoseconds.
    pub last_swap_ns: Option<u64>,
    /// Whether the newest valid statement is older than the configuration allows.
    pub stale: bool,
    /// The last signed head of the audit log.
    pub audit: Option<SignedHead>,
}

impl PublishedStatus {
    /// Without a release, with the times of events by `clock`.
    pub fn timed_by(clock: Clock) -> Self {
        Self {
            view: Mutex::default(),
            events: Arc::new(EventLog::timed_by(clock)),
        }
    }

    /// A copy of the current view.
    pub fn view(&self) -> DeployView {
        self.lock().clone()
    }

    /// The last events.
    pub const fn events(&self) -> &Arc<EventLog> {
        &self.events
    }

    /// Changes the view under its lock.
    pub fn change(&self, change: impl FnOnce(&mut DeployView)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, DeployView> {
        self.view.lock()
    }
}
