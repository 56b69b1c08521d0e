//! A verified release that does not serve yet: what it is, what is loaded of it, and its progress.

use std::sync::Arc;
use std::time::Instant;

use hotshoe_delivery::Cancel;
use hotshoe_store::{Phase, Slot, Store};
use hotshoe_trust::{Digest, Release, Time, Verified};

use crate::deploy::candidate::{Candidate, CandidateState, Facts, Outcome, Step};
use crate::deploy::loader::{LoadFailure, Loader};
use crate::deploy::package_queue::WantedRelease;
use crate::deploy::reporter::Subject;
use crate::serving::ServingRelease;

/// A verified release that does not serve yet.
pub(super) struct PendingRelease {
    wanted: WantedRelease,
    release: Verified<Release>,
    candidate: Candidate,
    /// Its slot, once it is staged.
    slot: Option<Slot>,
    /// The loaded release, unless it was unloaded to save memory.
    loaded: Option<Arc<ServingRelease>>,
    /// Cancels the fetch of its blobs.
    cancel: Option<Cancel>,
}

impl PendingRelease {
    /// A release that has just been verified.
    pub(super) fn verified(
        wanted: WantedRelease,
        release: Verified<Release>,
        now: Instant,
    ) -> Self {
        Self {
            wanted,
            release,
            candidate: Candidate::verified(now),
            slot: None,
            loaded: None,
            cancel: None,
        }
    }

    /// The release that was staged before the daemon started, if there is one.
    pub(super) fn staged(
        store: &Store,
        loader: &Loader,
        now: Instant,
    ) -> Result<Option<Self>, LoadFailure> {
        let ledger = store.ledger();
        let Some(slot) = &ledger.staged else {
            return Ok(None);
        };
        let release = loader.verified(store, slot)?;
        let seen = ledger.statement_seen.get(&slot.name).copied();
        let wanted = WantedRelease {
            subject: Subject::of(slot),
            bundles: slot.bundles.clone(),
            activate: ledger.activate == Some(slot.release),
            issued: seen.unwrap_or(slot.installed),
            signed: false,
        };
        Ok(Some(Self {
            candidate: Candidate::staged(now),
            slot: Some(slot.clone()),
            ..Self::verified(wanted, release, now)
        }))
    }

    /// Sets when its statement counts as issued.
    pub(super) const fn counts_from(&mut self, from: Time) {
        self.wanted.issued = from;
    }

    /// The release, as its statement wants it.
    pub(super) const fn wanted(&self) -> &WantedRelease {
        &self.wanted
    }

    /// The release, for reports.
    pub(super) const fn subject(&self) -> &Subject {
        &self.wanted.subject
    }

    /// The verified release.
    pub(super) const fn release(&self) -> &Verified<Release> {
        &self.release
    }

    /// The digest of its manifest.
    pub(super) fn digest(&self) -> Digest {
        self.release.digest()
    }

    /// Its slot, once it is staged.
    pub(super) const fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref()
    }

    /// The loaded release.
    pub(super) const fn loaded(&self) -> Option<&Arc<ServingRelease>> {
        self.loaded.as_ref()
    }

    /// A slot for the record of its failure.
    pub(super) fn failed_slot(&self, now: Time) -> Slot {
        Slot {
            release: self.digest(),
            bundles: self.wanted.bundles.clone(),
            name: self.release.name.clone(),
            generation: self.release.generation,
            installed: now,
        }
    }

    /// Takes over a further statement about the same release, if it is not older.
    pub(super) fn update(&mut self, wanted: &WantedRelease) {
        if wanted.issued >= self.wanted.issued {
            self.wanted.activate |= wanted.activate;
            self.wanted.issued = wanted.issued;
            self.wanted.subject.statement = wanted.subject.statement;
        }
    }

    /// Marks it for activation.
    pub(super) const fn order_activation(&mut self) {
        self.wanted.activate = true;
    }

    /// Its phase.
    pub(super) fn phase(&self) -> Phase {
        match self.candidate.state() {
            CandidateState::Due(_) | CandidateState::Fetched => Phase::Verified,
            CandidateState::Fetching { .. } => Phase::Fetching,
            CandidateState::Staged(_) => Phase::Staged,
            CandidateState::Proven => Phase::SelfTested,
            CandidateState::Shadow => Phase::Shadow,
            CandidateState::Ended => Phase::Absent,
        }
    }

    /// Whether it is not on trial, failed or abandoned yet.
    pub(super) fn is_open(&self) -> bool {
        self.candidate.state() != CandidateState::Ended
    }

    /// Whether it has passed its self-test and waits for its trial.
    pub(super) fn is_proven(&self) -> bool {
        self.candidate.state() == CandidateState::Proven
    }

    /// Whether it runs in shadow.
    pub(super) fn is_in_shadow(&self) -> bool {
        self.candidate.state() == CandidateState::Shadow
    }

    /// Whether the fetch with this id is its own.
    pub(super) fn is_fetched_by(&self, fetch_id: u64) -> bool {
        self.candidate.state() == CandidateState::Fetching { fetch_id }
    }

    /// See [`Candidate::step`].
    pub(super) fn step(&self, facts: &Facts, now: Instant) -> Step {
        self.candidate.step(facts, now)
    }

    /// Takes the outcome of a step.
    pub(super) fn note(&mut self, outcome: Outcome, now: Instant) {
        self.candidate = self.candidate.after(outcome, now);
    }

    /// The fetch of its blobs has started.
    pub(super) fn fetching(&mut self, fetch_id: u64, cancel: Cancel, now: Instant) {
        self.cancel = Some(cancel);
        self.note(Outcome::FetchStarted(fetch_id), now);
    }

    /// It is in this slot.
    pub(super) fn staged_in(&mut self, slot: Slot, now: Instant) {
        self.slot = Some(slot);
        self.note(Outcome::Staged, now);
    }

    /// It has passed its self-test.
    pub(super) fn proven(&mut self, loaded: Arc<ServingRelease>, now: Instant) {
        self.loaded = Some(loaded);
        self.note(Outcome::Proven, now);
    }

    /// Removes it from memory.
    pub(super) fn unload(&mut self) {
        self.loaded = None;
    }

    /// Cancels the fetch of its blobs, if it runs.
    pub(super) fn stop(&self) {
        if let Some(cancel) = &self.cancel {
            cancel.cancel();
        }
    }
}
