//! The parts of the status that the deploy thread and the governor's thread write, and other threads read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hotshoe_audit::SignedHead;
use hotshoe_base::Clock;
use hotshoe_engine::MemoryChoice;
use hotshoe_protocol::alert::{AlertSeverity, AlertStatus};
use hotshoe_protocol::status::{
    DeployStatus, GovernorStatus, KindStatus, RollbackStatus, RolloutStatus, SlotsStatus,
};
use hotshoe_store::Cause;
use hotshoe_trust::ReleaseKind;
use parking_lot::Mutex;

use crate::events::EventLog;
use crate::serving::observed::Variation;

/// Most monitors of drift. Further ones are not told.
const MAX_MONITORS: usize = 32;

/// The current [`DeployView`], shared between threads, and the daemon's last events.
#[derive(Debug, Default)]
pub struct PublishedStatus {
    view: Mutex<DeployView>,
    governor: Mutex<Option<GovernorStatus>>,
    alerts: Mutex<Vec<AlertStatus>>,
    /// What each monitor of drift said last.
    drift: Mutex<BTreeMap<String, Option<(AlertSeverity, String)>>>,
    /// Least time between two messages of the deploy thread's progress by the plan in force, in seconds.
    interval_s: AtomicU32,
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
    /// The rollouts that the device is a member of.
    pub rollouts: Vec<RolloutStatus>,
    /// The releases of other kinds than pipelines.
    pub kinds: BTreeMap<ReleaseKind, KindStatus>,
    /// Why a new release of a rollout would be put off now.
    pub deferral: Option<&'static str>,
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
            governor: Mutex::default(),
            alerts: Mutex::default(),
            drift: Mutex::default(),
            interval_s: AtomicU32::default(),
            events: Arc::new(EventLog::timed_by(clock)),
        }
    }

    /// A copy of the current view.
    pub fn view(&self) -> DeployView {
        self.lock().clone()
    }

    /// The sensors and the plan in force, as the governor's thread wrote them last.
    pub fn governor(&self) -> Option<GovernorStatus> {
        self.governor.lock().clone()
    }

    /// Replaces what [`Self::governor`] returns.
    pub fn set_governor(&self, status: GovernorStatus) {
        *self.governor.lock() = Some(status);
    }

    /// The alerts that last, as the thread of alerts wrote them last.
    pub fn alerts(&self) -> Vec<AlertStatus> {
        self.alerts.lock().clone()
    }

    /// Replaces what [`Self::alerts`] returns.
    pub fn set_alerts(&self, alerts: Vec<AlertStatus>) {
        *self.alerts.lock() = alerts;
    }

    /// Takes what a monitor of drift found, or that nothing drifts. It stays until the monitor says something else.
    pub fn drift(&self, monitor: &str, found: Option<(AlertSeverity, String)>) {
        let mut drift = self.drift.lock();
        if drift.len() < MAX_MONITORS || drift.contains_key(monitor) {
            drift.insert(monitor.to_owned(), found);
        }
    }

    /// Forgets what the monitors of drift said: another release serves.
    pub fn forget_drift(&self) {
        self.drift.lock().clear();
    }

    /// What each monitor of drift said last.
    pub fn drifts(&self) -> BTreeMap<String, Option<(AlertSeverity, String)>> {
        self.drift.lock().clone()
    }

    /// Least time between two messages about the same thing, by the plan in force. Zero without one.
    pub fn interval(&self) -> Duration {
        Duration::from_secs(self.interval_s.load(Ordering::Relaxed).into())
    }

    /// Sets what [`Self::interval`] returns.
    pub fn set_interval(&self, seconds: u32) {
        self.interval_s.store(seconds, Ordering::Relaxed);
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
