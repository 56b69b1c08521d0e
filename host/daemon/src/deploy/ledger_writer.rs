//! The writer of the ledger: every change of it, the retries of failed writes, and the objects that follow its slots.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_protocol::event::{EventCause, KnownKind, Subject};
use hotshoe_store::{
    ApplyError, BlobError, Catalogue, Cause, GcError, Ledger, Slot, Store, Transition,
};
use hotshoe_trust::{Digest, NewTrust, Release, Time, Verified};

use crate::deploy::wall_time;
use crate::events::EventLog;

/// Pause before a failed write of the ledger is retried.
pub(super) const WRITE_RETRY: Duration = Duration::from_secs(1);

/// Owns the data folder and its ledger.
pub(super) struct LedgerWriter {
    store: Store,
    clock: Clock,
    events: Arc<EventLog>,
    /// Transitions that have happened and are not in the ledger yet.
    pending: VecDeque<Transition>,
    /// When they are tried again.
    due: Instant,
    /// The objects that the device serves to neighbours.
    catalogue: Catalogue,
    /// Releases in the catalogue.
    shared: BTreeSet<Digest>,
}

/// Why a release could not be staged.
#[derive(Debug, thiserror::Error)]
pub(super) enum StageError {
    /// Its manifest, config or signatures could not be stored.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The ledger was not changed.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl LedgerWriter {
    /// Takes over an open data folder, and the transitions that the start could not write.
    pub(super) fn new(
        store: Store,
        pending: VecDeque<Transition>,
        catalogue: Catalogue,
        events: Arc<EventLog>,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            due: clock.now(),
            clock,
            events,
            pending,
            catalogue,
            shared: BTreeSet::new(),
        }
    }

    /// The ledger. It lacks the transitions that are not written yet.
    pub(super) fn ledger(&self) -> &Ledger {
        self.store.ledger()
    }

    /// The data folder, to read from.
    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Whether the ledger has every transition that has happened.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// Applies a transition that must be in the ledger before it happens. After an error, nothing has changed.
    pub(super) fn apply(&mut self, transition: &Transition) -> Result<(), ApplyError> {
        self.store.apply(transition, wall_time(&self.clock))
    }

    /// Writes transitions that have already happened. If that fails, it is retried later, and no new step begins meanwhile.
    pub(super) fn record(&mut self, happened: impl IntoIterator<Item = Transition>) {
        self.pending.extend(happened);
        self.write_pending();
    }

    /// Writes the pending transitions, unless a write failed a moment ago. True if the ledger has changed.
    pub(super) fn write_pending(&mut self) -> bool {
        let before = self.pending.len();
        if self.due > self.clock.now() {
            return false;
        }
        while let Some(transition) = self.pending.front() {
            match self.store.apply(transition, wall_time(&self.clock)) {
                Ok(()) => {}
                Err(ApplyError::Illegal(error)) => {
                    tracing::error!(%error, "the ledger refuses a change that has already happened; please report it");
                }
                Err(error) => {
                    let path = "ledger.json".to_owned();
                    let cause = EventCause::new(error.name(), super::chain(&error));
                    self.events.record(
                        KnownKind::DiskWriteFailed,
                        Subject::File { path },
                        Some(cause),
                        &[],
                    );
                    self.due = self.clock.now() + WRITE_RETRY;
                    break;
                }
            }
            self.pending.pop_front();
        }
        self.pending.len() < before
    }

    /// Writes the pending transitions for the last time.
    pub(super) fn finish(&mut self) {
        self.due = self.clock.now();
        self.write_pending();
        if !self.is_settled() {
            tracing::error!(
                cause = "the ledger could not be written",
                "the rollback of a trial is not in the ledger; the next start tries the trial again"
            );
        }
    }

    /// Records the time of a followed statement, so that older ones are refused.
    pub(super) fn seen(&mut self, name: &str, issued: Time) {
        if self.ledger().statement_seen.get(name) == Some(&issued) {
            return;
        }
        let name = name.to_owned();
        if let Err(error) = self.apply(&Transition::StatementSeen { name, issued }) {
            tracing::warn!(
                cause = super::chain(&error),
                "cannot record the time of a statement in the ledger"
            );
        }
    }

    /// Removes unused blobs as far as `quota_mib` requires. Blobs of this release stay.
    pub(super) fn make_room(
        &mut self,
        release: &Verified<Release>,
        quota_bytes: u64,
        quota_mib: u64,
    ) -> Result<(), Cause> {
        let cause = |error: &BlobError| Cause::new(error.name(), super::chain(error));
        // The stored manifest says which blobs to keep.
        self.store
            .keep_package(release, wall_time(&self.clock))
            .map_err(|error| cause(&error))?;
        let quota = quota_bytes.saturating_sub(self.bytes_to_come(release));
        let over = match self.store.collect_garbage(&[release.digest()], Some(quota)) {
            Ok(freed) => freed.over,
            // A slot that is damaged must not keep away the release that replaces it.
            Err(error @ GcError::Unreadable { .. }) => {
                tracing::warn!(cause = super::chain(&error), "cannot remove unused files");
                let used = self.store.usage().map_err(|error| cause(&error))?;
                used.saturating_sub(quota)
            }
            Err(error) => return Err(Cause::new(error.name(), super::chain(&error))),
        };
        if over == 0 {
            return Ok(());
        }
        let message = format!(
            "with this release, the blobs need {over} bytes more than `deploy.quota-mib = {quota_mib}` allows; raise it"
        );
        Err(Cause::new("quota", message))
    }

    /// Bytes of a release that are not counted as used yet. The store counts a partial blob with its full size.
    fn bytes_to_come(&self, release: &Release) -> u64 {
        let blobs = self.store.blobs();
        release
            .blobs()
            .filter(|blob| !blobs.has(blob) && !blobs.has_begun(blob))
            .map(|blob| blob.size)
            .fold(0, u64::saturating_add)
    }

    /// Removes blobs that neither a slot nor the coming release needs.
    pub(super) fn clear(&mut self, coming: Option<Digest>) {
        match self.store.collect_garbage(coming.as_slice(), None) {
            Ok(freed) => tracing::debug!(files = freed.files, bytes = freed.bytes, "freed"),
            Err(error) => {
                tracing::warn!(cause = super::chain(&error), "cannot remove unused files");
            }
        }
    }

    /// Stages a release whose blobs are all on disk.
    pub(super) fn stage(
        &mut self,
        release: &Verified<Release>,
        activate: bool,
    ) -> Result<Slot, StageError> {
        let slot = self.store.keep_package(release, wall_time(&self.clock))?;
        self.apply(&Transition::Stage {
            slot: slot.clone(),
            issued: release.issued,
            activate,
        })?;
        Ok(slot)
    }

    /// Drops a release, if it is the staged one.
    pub(super) fn unstage(&mut self, release: Digest, cause: &Cause) {
        let staged = self.ledger().staged.as_ref();
        let is_dropped = |told: &Transition| matches!(told, Transition::Unstage(_));
        if staged.is_some_and(|slot| slot.release == release)
            && !self.pending.iter().any(is_dropped)
        {
            self.record([Transition::Unstage(cause.clone())]);
        }
    }

    /// Records that the staged release is to be activated, so that it is after a restart without a network too.
    pub(super) fn note_activation(&mut self, release: Digest) {
        let ledger = self.ledger();
        let staged = ledger.staged.as_ref().map(|slot| slot.release);
        if staged != Some(release) || ledger.activate == staged {
            return;
        }
        if let Err(error) = self.apply(&Transition::Activate) {
            tracing::error!(%error, "cannot record in the ledger that the staged release is to be activated");
        }
    }

    /// Records that the daemon survived the self-test.
    pub(super) fn end_proof(&mut self) {
        if self.ledger().proofs == 0 {
            return;
        }
        if let Err(error) = self.apply(&Transition::EndProof) {
            tracing::warn!(%error, "cannot record in the ledger that the self-test has ended");
        }
    }

    /// Stores new trusted keys. The error is one sentence.
    pub(super) fn replace_trust(&mut self, new: &NewTrust) -> Result<(), String> {
        let stored = self.store.blobs().put(new.text.as_bytes());
        let file = stored.map_err(|error| super::chain(&error))?.digest;
        let transition = Transition::ReplaceTrust {
            version: new.root.version(),
            file,
            resets: new.resets.clone(),
        };
        self.apply(&transition)
            .map_err(|error| super::chain(&error))
    }

    /// Removes the state of a trial that was rolled back.
    pub(super) fn drop_state(&self, release: Digest) {
        if let Err(error) = self.store.drop_state(release) {
            tracing::warn!(%error, "cannot remove the state of the trial");
        }
    }

    /// Makes the catalogue list the releases in the slots.
    pub(super) fn share_slots(&mut self) {
        let ledger = self.store.ledger();
        let held: BTreeSet<Digest> = ledger.slots().map(|slot| slot.release).collect();
        for gone in self.shared.difference(&held) {
            self.catalogue.remove_release(*gone);
        }
        self.shared.retain(|release| held.contains(release));
        for slot in ledger.slots() {
            if self.shared.contains(&slot.release) {
                continue;
            }
            let blobs = self.store.blobs();
            match self
                .catalogue
                .add_release(&blobs, slot.release, &slot.bundles)
            {
                Ok(_) => {
                    self.shared.insert(slot.release);
                }
                Err(error) => tracing::warn!(
                    release = slot.name,
                    cause = super::chain(&error),
                    "cannot share a release"
                ),
            }
        }
    }
}
