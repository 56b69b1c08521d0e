//! The candidate: a verified release whose blobs are fetched, and that is staged and self-tested.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_delivery::{Cancel, FetchError, TransferStats};
use hotshoe_engine::PrepareError;
use hotshoe_pipeline::{LoadError, SelfTestError};
use hotshoe_protocol::status::{RollbackStatus, WaitReason};
use hotshoe_store::{ApplyError, Cause, Phase, Slot, Transition};
use hotshoe_trust::{Release, Time, Verified};

use crate::deploy::loader::LoadFailure;
use crate::deploy::package_queue::{WantedRelease, pause};
use crate::deploy::reconciler::{Message, Reconciler};
use crate::deploy::serving_release::ServingRelease;
use crate::deploy::shadow::ShadowScore;

/// A verified release that does not serve yet.
pub struct Candidate {
    pub(super) wanted: WantedRelease,
    pub(super) release: Verified<Release>,
    pub(super) state: CandidateState,
    failures: u32,
}

/// State of a candidate.
pub(super) enum CandidateState {
    /// Its blobs are to be fetched, at this time or later.
    Due(Instant),
    /// Its blobs are being fetched.
    Fetching { fetch_id: u64, cancel: Cancel },
    /// It is staged in the ledger. It is to be loaded and tested, at this time or later.
    Staged(Slot, Instant),
    /// It has passed its self-test. `None` if it was unloaded to save memory.
    Proven(Slot, Option<Arc<ServingRelease>>),
    /// It runs in shadow.
    Shadow(Slot, Arc<ServingRelease>, Arc<ShadowScore>),
}

impl Candidate {
    /// A candidate that has just been verified.
    pub fn new(wanted: WantedRelease, release: Verified<Release>) -> Self {
        Self {
            wanted,
            release,
            state: CandidateState::Due(Instant::now()),
            failures: 0,
        }
    }

    /// A candidate that was staged before the daemon started.
    pub fn staged(wanted: WantedRelease, release: Verified<Release>, slot: Slot) -> Self {
        let state = CandidateState::Staged(slot, Instant::now());
        Self {
            state,
            ..Self::new(wanted, release)
        }
    }

    pub const fn release(&self) -> &Verified<Release> {
        &self.release
    }

    /// Cancels its fetch, if there is one.
    pub fn stop(&self) {
        if let CandidateState::Fetching { cancel, .. } = &self.state {
            cancel.cancel();
        }
    }

    pub(super) fn later(&mut self) -> Instant {
        let due = Instant::now() + pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        due
    }
}

/// Pause after an interrupted compilation, in which the command that interrupted it is carried out.
const INTERRUPTED_PAUSE: Duration = Duration::from_millis(200);
/// Most times that the daemon may die while it loads, tests or shadows a release.
const MAX_PROOFS: u32 = 3;

impl Reconciler {
    /// Advances the candidate by one step, if one is due. True if another step may be due at once.
    pub(super) fn advance(&mut self) -> bool {
        let Some(mut candidate) = self.candidate.take() else {
            return false;
        };
        let state = std::mem::replace(&mut candidate.state, CandidateState::Due(Instant::now()));
        match state {
            CandidateState::Due(due) if due <= Instant::now() && !self.is_fetching_blobs => {
                self.fetch(candidate)
            }
            CandidateState::Staged(slot, due) if due <= Instant::now() => {
                self.prove(candidate, slot);
                return self.candidate.as_ref().is_some_and(|candidate| {
                    matches!(candidate.state, CandidateState::Proven(..))
                });
            }
            CandidateState::Proven(slot, served) => self.activate(candidate, slot, served),
            CandidateState::Shadow(slot, served, score) => {
                self.compare(candidate, slot, served, score)
            }
            waiting => {
                candidate.state = waiting;
                self.candidate = Some(candidate);
            }
        }
        false
    }

    /// Makes room for its blobs, and starts a thread that fetches them.
    fn fetch(&mut self, mut candidate: Candidate) {
        if let Err(cause) = self.make_room(&candidate) {
            self.reporter.retry(&candidate.wanted.subject, cause);
            candidate.state = CandidateState::Due(candidate.later());
            self.candidate = Some(candidate);
            return;
        }
        let (fetch_id, cancel) = (self.next_fetch_id(), Cancel::new());
        let (fetcher, reporter) = (Arc::clone(&self.fetcher), Arc::clone(&self.reporter));
        let (release, blobs) = (candidate.release.clone(), self.store.blobs());
        let (subject, sender, flag) = (
            candidate.wanted.subject.clone(),
            self.sender.clone(),
            cancel.clone(),
        );
        let run = move || {
            let progress =
                |p: hotshoe_delivery::Progress| reporter.progress(&subject, p.fetched, p.total);
            let moved = super::caught(|| fetcher.release(&release, &blobs, progress, &flag));
            // The receiver is gone when the daemon stops.
            let _ = sender.send(Message::Blobs(fetch_id, moved));
        };
        candidate.state = match self.parts.task("fetch", run) {
            Ok(_) => {
                self.is_fetching_blobs = true;
                CandidateState::Fetching { fetch_id, cancel }
            }
            Err(error) => {
                self.reporter.retry(
                    &candidate.wanted.subject,
                    Cause::new("no_thread", error.to_string()),
                );
                CandidateState::Due(candidate.later())
            }
        };
        self.candidate = Some(candidate);
    }

    /// Removes unused blobs as far as the quota requires. Blobs of this release stay.
    fn make_room(&mut self, candidate: &Candidate) -> Result<(), Cause> {
        // The stored manifest says which blobs to keep.
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

    /// Handles the end of a fetch of blobs.
    pub(super) fn fetched(&mut self, fetch_id: u64, moved: Result<TransferStats, FetchError>) {
        self.is_fetching_blobs = false;
        let is_ours = |c: &mut Candidate| matches!(c.state, CandidateState::Fetching { fetch_id: t, .. } if t == fetch_id);
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
                candidate.state = CandidateState::Due(candidate.later());
                self.candidate = Some(candidate);
            }
        }
    }

    /// Stages the release: all of its blobs are on disk.
    fn stage(&mut self, mut candidate: Candidate) {
        self.write_pending();
        if !self.pending_transitions.is_empty() {
            // A pending `Unstage` must not hit this release.
            let cause = Cause::new("unsettled", "the ledger cannot be written");
            self.reporter.retry(&candidate.wanted.subject, cause);
            candidate.state = CandidateState::Due(candidate.later());
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
                // The catalogue lists the release now. Open partial files would keep their disk space after removal.
                self.fetcher.withdraw_partials();
                let subject = &candidate.wanted.subject;
                self.reporter.phase(subject, Phase::Staged, None);
                candidate.failures = 0;
                candidate.state = CandidateState::Staged(slot, Instant::now());
                self.candidate = Some(candidate);
            }
            Ok(Err(error)) => {
                let due = candidate.later();
                self.not_written(candidate, CandidateState::Due(due), &error);
            }
            Err(cause) => {
                self.reporter.retry(&candidate.wanted.subject, cause);
                candidate.state = CandidateState::Due(candidate.later());
                self.candidate = Some(candidate);
            }
        }
    }

    /// Handles a failed transition: retries if the ledger could not be written, abandons the candidate if it is illegal.
    pub(super) fn not_written(
        &mut self,
        mut candidate: Candidate,
        again: CandidateState,
        error: &ApplyError,
    ) {
        let cause = Cause::new(error.name(), super::chain(error));
        candidate.state = again;
        if matches!(error, ApplyError::Illegal(_)) {
            self.candidate = Some(candidate);
            return self.abandon(cause);
        }
        self.reporter.retry(&candidate.wanted.subject, cause);
        self.candidate = Some(candidate);
    }

    /// Loads the release, and runs its self-test.
    pub(super) fn prove(&mut self, mut candidate: Candidate, slot: Slot) {
        if let Some(probation) = &self.probation {
            let (tried, next) = (&probation.subject, &candidate.wanted);
            let newer = tried.name == next.subject.name
                && tried.generation < next.subject.generation
                && next.activate;
            if !newer {
                let staged = CandidateState::Staged(slot, Instant::now());
                return self.wait(candidate, staged, WaitReason::Probation);
            }
            // A trial without samples must not block the release that repairs it.
            let message = format!("replaced by generation {}", next.subject.generation);
            self.roll_back(Cause::new(RollbackStatus::SUPERSEDED, message));
            if !self.pending_transitions.is_empty() {
                // The ledger still has the old trial, so the new one would be illegal.
                candidate.state = CandidateState::Staged(slot, Instant::now());
                self.candidate = Some(candidate);
                return;
            }
        }
        if self.store.ledger().proofs >= MAX_PROOFS {
            let message =
                "the daemon ended while it loaded or tested the release, as often as is allowed";
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
            candidate.state = CandidateState::Staged(slot, candidate.later());
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
                candidate.state = CandidateState::Proven(slot, Some(served));
                self.candidate = Some(candidate);
            }
            Err(error) if is_interrupted(&error) => {
                // Nothing is known about the release. It is compiled again after the command that interrupted it, or at the next start.
                self.end_proof();
                candidate.state = CandidateState::Staged(slot, Instant::now() + INTERRUPTED_PAUSE);
                self.candidate = Some(candidate);
            }
            Err(error) if is_damage(&error) => {
                self.end_proof();
                // A blob was damaged on disk. Only damaged blobs are fetched again.
                self.reporter
                    .retry(&candidate.wanted.subject, error.cause());
                candidate.state = CandidateState::Due(candidate.later());
                self.candidate = Some(candidate);
            }
            Err(error) => self.fail(&candidate, Phase::Failed, error.cause()),
        }
    }

    /// Records in the ledger that the release failed.
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

    /// Drops the candidate.
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
                .pending_transitions
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

/// Bytes of a release that are not counted as used yet. The store counts a partial blob with its full size.
fn bytes_to_come(reconciler: &Reconciler, release: &Release) -> u64 {
    let blobs = reconciler.store.blobs();
    let missing = release
        .blobs()
        .filter(|blob| !blobs.has(blob) && !blobs.has_begun(blob));
    missing.map(|blob| blob.size).fold(0, u64::saturating_add)
}

/// Whether the compilation of a component was interrupted.
const fn is_interrupted(error: &LoadFailure) -> bool {
    matches!(
        error,
        LoadFailure::Load(LoadError::Component(PrepareError::Interrupted { .. }))
    )
}

/// Whether the error is damage on the disk, and not a fault of the release.
const fn is_damage(error: &LoadFailure) -> bool {
    matches!(
        error,
        LoadFailure::Package(_)
            | LoadFailure::Load(LoadError::Blob { .. } | LoadError::Damaged { .. })
            | LoadFailure::SelfTest(SelfTestError::Blob(_))
    )
}
