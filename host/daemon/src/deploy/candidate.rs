//! A verified release on its way: its blobs, its proof, and what it waits for before it may serve.

use std::sync::Arc;
use std::time::Instant;

use hotshoe_delivery::{Cancel, FetchError, Moved};
use hotshoe_pipeline::{LoadError, SelfTestError};
use hotshoe_protocol::status::{RollbackStatus, WaitReason};
use hotshoe_store::{ApplyError, Cause, Phase, Slot, Transition};
use hotshoe_trust::{Release, Time, Verified};

use crate::deploy::loader::LoadFailure;
use crate::deploy::reconciler::{Message, Reconciler};
use crate::deploy::scout::{Wanted, pause};
use crate::deploy::served::Served;
use crate::deploy::shadow::Score;

/// A release that passed verification.
pub struct Candidate {
    pub(super) wanted: Wanted,
    pub(super) release: Verified<Release>,
    pub(super) stage: Stage,
    failures: u32,
}

/// How far it is.
pub(super) enum Stage {
    /// Its blobs are to be fetched, from then on.
    Due(Instant),
    /// They are being fetched.
    Fetching { ticket: u64, cancel: Cancel },
    /// All are on the disk and the ledger says so; it is to be loaded, from then on.
    Staged(Slot, Instant),
    /// It has proved itself. Where memory is short, it is loaded again when its time has come.
    Proven(Slot, Option<Arc<Served>>),
    /// It runs in shadow.
    Shadow(Slot, Arc<Served>, Arc<Score>),
}

impl Candidate {
    /// A release that has just been verified.
    pub fn new(wanted: Wanted, release: Verified<Release>) -> Self {
        Self {
            wanted,
            release,
            stage: Stage::Due(Instant::now()),
            failures: 0,
        }
    }

    /// A release that was staged before the daemon started.
    pub fn staged(wanted: Wanted, release: Verified<Release>, slot: Slot) -> Self {
        let stage = Stage::Staged(slot, Instant::now());
        Self {
            stage,
            ..Self::new(wanted, release)
        }
    }

    /// The verified release.
    pub const fn release(&self) -> &Verified<Release> {
        &self.release
    }

    /// Ends what is being done for it.
    pub fn stop(&self) {
        if let Stage::Fetching { cancel, .. } = &self.stage {
            cancel.cancel();
        }
    }

    pub(super) fn later(&mut self) -> Instant {
        let due = Instant::now() + pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        due
    }
}

/// How often a release may begin to be loaded and tested, or run in shadow, and take the daemon down with it.
const MAX_PROOFS: u32 = 3;

impl Reconciler {
    /// Takes the candidate one step further, where it gets any further now. True: there may be one more step at once.
    pub(super) fn advance(&mut self) -> bool {
        let Some(mut candidate) = self.candidate.take() else {
            return false;
        };
        let stage = std::mem::replace(&mut candidate.stage, Stage::Due(Instant::now()));
        match stage {
            Stage::Due(due) if due <= Instant::now() && !self.fetching => self.fetch(candidate),
            Stage::Staged(slot, due) if due <= Instant::now() => {
                self.prove(candidate, slot);
                return self
                    .candidate
                    .as_ref()
                    .is_some_and(|candidate| matches!(candidate.stage, Stage::Proven(..)));
            }
            Stage::Proven(slot, served) => self.activate(candidate, slot, served),
            Stage::Shadow(slot, served, score) => self.compare(candidate, slot, served, score),
            waiting => {
                candidate.stage = waiting;
                self.candidate = Some(candidate);
            }
        }
        false
    }

    /// Makes room for its blobs, and fetches them on a thread of its own.
    fn fetch(&mut self, mut candidate: Candidate) {
        if let Err(cause) = self.make_room(&candidate) {
            self.reporter.retry(&candidate.wanted.subject, cause);
            candidate.stage = Stage::Due(candidate.later());
            self.candidate = Some(candidate);
            return;
        }
        let (ticket, cancel) = (self.ticket(), Cancel::new());
        let (fetcher, reporter) = (Arc::clone(&self.fetcher), Arc::clone(&self.reporter));
        let (release, blobs) = (candidate.release.clone(), self.store.blobs());
        let (subject, mail, flag) = (
            candidate.wanted.subject.clone(),
            self.mail.clone(),
            cancel.clone(),
        );
        let run = move || {
            let progress =
                |p: hotshoe_delivery::Progress| reporter.progress(&subject, p.fetched, p.total);
            let moved = super::caught(|| fetcher.release(&release, &blobs, progress, &flag));
            // Nobody listens when the daemon ends.
            let _ = mail.send(Message::Blobs(ticket, moved));
        };
        candidate.stage = match self.parts.task("fetch", run) {
            Ok(_) => {
                self.fetching = true;
                Stage::Fetching { ticket, cancel }
            }
            Err(error) => {
                self.reporter.retry(
                    &candidate.wanted.subject,
                    Cause::new("no_thread", error.to_string()),
                );
                Stage::Due(candidate.later())
            }
        };
        self.candidate = Some(candidate);
    }

    /// Frees what no slot needs, as far as the quota asks for it. What has come of this very release stays.
    fn make_room(&mut self, candidate: &Candidate) -> Result<(), Cause> {
        // Its manifest tells what of it to keep.
        self.store
            .keep_package(&candidate.release, Time::now())
            .map_err(|error| Cause::new(error.name(), super::chain(&error)))?;
        let to_come = bytes_to_come(self, &candidate.release);
        let quota = self.config.deploy.quota_bytes().saturating_sub(to_come);
        let freed = self
            .store
            .collect_garbage(&[candidate.release.digest()], Some(quota))
            .map_err(|error| Cause::new(error.name(), super::chain(&error)))?;
        if freed.over == 0 {
            return Ok(());
        }
        let message = format!(
            "{} bytes more than `deploy.quota-mib = {}` allows would be in use",
            freed.over, self.config.deploy.quota_mib
        );
        Err(Cause::new("quota", message))
    }

    /// A fetch of blobs has ended.
    pub(super) fn fetched(&mut self, ticket: u64, moved: Result<Moved, FetchError>) {
        self.fetching = false;
        let is_ours =
            |c: &mut Candidate| matches!(c.stage, Stage::Fetching { ticket: t, .. } if t == ticket);
        let Some(mut candidate) = self.candidate.take_if(is_ours) else {
            return;
        };
        match moved {
            Ok(moved) => {
                let from = moved.from.iter();
                let from: Vec<_> = from
                    .map(|(source, bytes)| format!("{source} ({bytes} bytes)"))
                    .collect();
                let from = from.join(", ");
                tracing::info!(
                    received = moved.bytes_received,
                    reused = moved.bytes_reused,
                    from,
                    "fetched"
                );
                self.stage(candidate);
            }
            Err(error) if error.is_permanent() => {
                let cause = Cause::new(error.name(), super::chain(&error));
                self.fail(&candidate, Phase::Failed, cause);
            }
            Err(error) => {
                self.reporter.retry(
                    &candidate.wanted.subject,
                    Cause::new(error.name(), super::chain(&error)),
                );
                candidate.stage = Stage::Due(candidate.later());
                self.candidate = Some(candidate);
            }
        }
    }

    /// All blobs are on the disk: one durable commit says so.
    fn stage(&mut self, mut candidate: Candidate) {
        self.settle();
        if !self.unsettled.is_empty() {
            // What waits to be unstaged must not be this one.
            let cause = Cause::new("unsettled", "the ledger cannot be written");
            self.reporter.retry(&candidate.wanted.subject, cause);
            candidate.stage = Stage::Due(candidate.later());
            self.candidate = Some(candidate);
            return;
        }
        let now = Time::now();
        let kept = self.store.keep_package(&candidate.release, now);
        let staged = kept.map_err(|error| Cause::new(error.name(), super::chain(&error)));
        let staged = staged.map(|slot| {
            let transition = Transition::Stage {
                slot: slot.clone(),
                issued: candidate.release.issued,
                activate: candidate.wanted.activate,
            };
            self.store.apply(&transition, now).map(|()| slot)
        });
        match staged {
            Ok(Ok(slot)) => {
                self.slots_changed();
                // The catalogue lists the release now; files that stay open would keep their space when they are removed.
                self.fetcher.forget();
                let subject = &candidate.wanted.subject;
                self.reporter.phase(subject, Phase::Staged, None);
                candidate.failures = 0;
                candidate.stage = Stage::Staged(slot, Instant::now());
                self.candidate = Some(candidate);
            }
            Ok(Err(error)) => {
                let due = candidate.later();
                self.not_written(candidate, Stage::Due(due), &error);
            }
            Err(cause) => {
                self.reporter.retry(&candidate.wanted.subject, cause);
                candidate.stage = Stage::Due(candidate.later());
                self.candidate = Some(candidate);
            }
        }
    }

    /// The ledger could not be written, which passes; or it does not allow it, which does not.
    pub(super) fn not_written(
        &mut self,
        mut candidate: Candidate,
        again: Stage,
        error: &ApplyError,
    ) {
        let cause = Cause::new(error.name(), super::chain(error));
        candidate.stage = again;
        if matches!(error, ApplyError::Illegal(_)) {
            self.candidate = Some(candidate);
            return self.abandon(cause);
        }
        self.reporter.retry(&candidate.wanted.subject, cause);
        self.candidate = Some(candidate);
    }

    /// Loads it and runs its own tests.
    pub(super) fn prove(&mut self, mut candidate: Candidate, slot: Slot) {
        if let Some(probation) = &self.probation {
            let (tried, next) = (&probation.subject, &candidate.wanted);
            let newer = tried.name == next.subject.name
                && tried.generation < next.subject.generation
                && next.activate;
            if !newer {
                let staged = Stage::Staged(slot, Instant::now());
                return self.wait(candidate, staged, WaitReason::Probation);
            }
            // A trial that gets no samples must not keep out the release that mends it.
            let message = format!("generation {} takes its place", next.subject.generation);
            self.roll_back(Cause::new(RollbackStatus::SUPERSEDED, message));
            if !self.unsettled.is_empty() {
                // The ledger still has the old trial, and would refuse the new one for good.
                candidate.stage = Stage::Staged(slot, Instant::now());
                self.candidate = Some(candidate);
                return;
            }
        }
        if self.store.ledger().proofs >= MAX_PROOFS {
            let message =
                "the daemon ended while it loaded or tested the release, as often as it may";
            return self.fail(
                &candidate,
                Phase::Failed,
                Cause::new("died_in_proof", message),
            );
        }
        if let Err(error) = self.store.apply(&Transition::BeginProof, Time::now()) {
            self.reporter.retry(
                &candidate.wanted.subject,
                Cause::new(error.name(), super::chain(&error)),
            );
            candidate.stage = Stage::Staged(slot, candidate.later());
            self.candidate = Some(candidate);
            return;
        }
        match self
            .loader
            .prove(&self.store, &slot, &self.trust, self.serving.as_deref())
        {
            Ok(served) => {
                self.reporter
                    .phase(&candidate.wanted.subject, Phase::SelfTested, None);
                candidate.failures = 0;
                candidate.stage = Stage::Proven(slot, Some(served));
                self.candidate = Some(candidate);
            }
            Err(error) if is_damage(&error) => {
                self.end_proof();
                // What was fetched has been damaged since; what is whole is not fetched again.
                self.reporter
                    .retry(&candidate.wanted.subject, error.cause());
                candidate.stage = Stage::Due(candidate.later());
                self.candidate = Some(candidate);
            }
            Err(error) => self.fail(&candidate, Phase::Failed, error.cause()),
        }
    }

    /// It is refused or has failed, and is remembered.
    pub(super) fn fail(&mut self, candidate: &Candidate, phase: Phase, cause: Cause) {
        self.service.shadow(None);
        let now = Time::now();
        let slot = Slot {
            release: candidate.release.digest(),
            bundles: candidate.wanted.bundles.clone(),
            name: candidate.release.name.clone(),
            generation: candidate.release.generation,
            installed: now,
        };
        self.write_down(Transition::Fail(slot, phase, cause.clone()));
        self.slots_changed();
        self.reporter
            .refused(&candidate.wanted.subject, phase, cause);
    }

    /// The candidate is not wanted any more.
    pub(super) fn abandon(&mut self, cause: Cause) {
        let Some(candidate) = self.candidate.take() else {
            return;
        };
        candidate.stop();
        self.service.shadow(None);
        let digest = candidate.release.digest();
        if self
            .store
            .ledger()
            .staged
            .as_ref()
            .is_some_and(|s| s.release == digest)
            && !self
                .unsettled
                .iter()
                .any(|told| matches!(told, Transition::Unstage(_)))
        {
            self.write_down(Transition::Unstage(cause.clone()));
        }
        self.slots_changed();
        self.reporter
            .phase(&candidate.wanted.subject, Phase::Absent, Some(cause));
    }
}

/// The bytes of a release that the disk has no room set aside for: a blob that has begun to arrive is counted whole by the store.
fn bytes_to_come(reconciler: &Reconciler, release: &Release) -> u64 {
    let blobs = reconciler.store.blobs();
    let missing = release
        .blobs()
        .filter(|blob| !blobs.has(blob) && !blobs.has_begun(blob));
    missing.map(|blob| blob.size).fold(0, u64::saturating_add)
}

/// Whether it is the disk's fault and not the release's.
const fn is_damage(error: &LoadFailure) -> bool {
    matches!(
        error,
        LoadFailure::Package(_)
            | LoadFailure::Load(LoadError::Blob { .. } | LoadError::Damaged { .. })
            | LoadFailure::SelfTest(SelfTestError::Blob(_))
    )
}
