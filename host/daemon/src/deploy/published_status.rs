//! What the deploy thread says of itself, for the status: it writes, everybody reads.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hotshoe_engine::MemoryChoice;
use hotshoe_protocol::status::{DeployStatus, RollbackStatus, SlotsStatus};

/// The latest [`DeployView`].
#[derive(Debug, Default)]
pub struct PublishedStatus(Mutex<DeployView>);

/// What the deploy thread knows at one moment.
#[derive(Debug, Clone, Default)]
pub struct DeployView {
    /// How the memories of components lie, and why.
    pub memory: Option<MemoryChoice>,
    /// The ledger's slots.
    pub slots: SlotsStatus,
    /// Since when the trial serves, by a clock that cannot be set.
    pub probation_since: Option<Instant>,
    /// The release that is being worked on, or the last that was.
    pub deploy: DeployStatus,
    /// The last release that was rolled back.
    pub last_rollback: Option<RollbackStatus>,
    /// The version of the trusted keys.
    pub trust_version: u64,
    /// Times that another release began to serve.
    pub swaps: u64,
    /// Trials that were rolled back; not those whose place another one took.
    pub rollbacks: u64,
    /// Releases that were refused or failed, by cause.
    pub refused: BTreeMap<String, u64>,
    /// Statements and orders that were not followed, by reason.
    pub ignored: BTreeMap<String, u64>,
    /// How long the last exchange of the pointer took, in nanoseconds.
    pub last_swap_ns: Option<u64>,
    /// Whether no valid statement is as new as it should be.
    pub stale: bool,
}

impl PublishedStatus {
    /// What is known now.
    pub fn view(&self) -> DeployView {
        self.lock().clone()
    }

    /// Changes it.
    pub fn change(&self, change: impl FnOnce(&mut DeployView)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, DeployView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one more of a name.
pub(super) fn count(counts: &mut BTreeMap<String, u64>, name: &str) {
    *counts.entry(name.to_owned()).or_default() += 1;
}
