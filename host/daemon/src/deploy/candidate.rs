//! A verified release on its way: its blobs, its proof, and what it waits for before it may serve.

use std::sync::Arc;
use std::time::Instant;

use hotshoe_store::{ApplyError, Cause, Phase, Slot, Transition};
use hotshoe_trust::{HealthGate, Release, Shadow, Time, Verified};

use crate::config::KeepPrevious;
use crate::delivery::{Cancel, FetchError, Moved};
use crate::deploy::command::CommandError;
use crate::deploy::loader::LoadFailure;
use crate::deploy::reconciler::{Message, Reconciler};
use crate::deploy::scout::{Wanted, pause};
use crate::deploy::served::Served;
use crate::deploy::shadow::{Likeness, Score, Tap};
use crate::pipeline::LoadError;
use crate::status::Waiting;

/// A release that passed verification.
pub struct Candidate {
    pub(super) wanted: Wanted,
    release: Verified<Release>,
    stage: Stage,
    failures: u32,
}

enum Stage {
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

    fn later(&mut self) -> Instant {
        let due = Instant::now() + pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        due
    }
}

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
                |p: crate::delivery::Progress| reporter.progress(&subject, p.fetched, p.total);
            let moved = fetcher.release(&release, &blobs, progress, &flag);
            // Nobody listens when the daemon ends.
            let _ = mail.send(Message::Blobs(ticket, moved));
        };
        candidate.stage = match super::spawn("hotshoe-fetch", run) {
            Ok(()) => {
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
        let missing = missing_bytes(self, &candidate.release);
        // What has come by an earlier try is counted by the store.
        let to_come = if candidate.failures == 0 { missing } else { 0 };
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
                tracing::info!(received = moved.bytes_received, reused = moved.bytes_reused, from = ?moved.from, "fetched");
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
    fn not_written(&mut self, mut candidate: Candidate, again: Stage, error: &ApplyError) {
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
    fn prove(&mut self, mut candidate: Candidate, slot: Slot) {
        if let Some(probation) = &self.probation {
            let (tried, next) = (&probation.subject, &candidate.wanted);
            let newer = tried.name == next.subject.name
                && tried.generation < next.subject.generation
                && next.activate;
            if !newer {
                let staged = Stage::Staged(slot, Instant::now());
                return self.wait(candidate, staged, Waiting::Probation);
            }
            // A trial that gets no samples must not keep out the release that mends it.
            let message = format!("generation {} takes its place", next.subject.generation);
            self.roll_back(Cause::new("superseded", message));
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
                // What was fetched has been damaged since; what is whole is not fetched again.
                self.reporter
                    .retry(&candidate.wanted.subject, error.cause());
                candidate.stage = Stage::Due(candidate.later());
                self.candidate = Some(candidate);
            }
            Err(error) => self.fail(&candidate, Phase::Failed, error.cause()),
        }
    }

    /// Lets it serve, or run in shadow, when it may.
    fn activate(&mut self, mut candidate: Candidate, slot: Slot, served: Option<Arc<Served>>) {
        let waiting = if !candidate.wanted.activate {
            Waiting::Activation
        } else if self.probation.is_some() {
            Waiting::Probation
        } else if !self.config.deploy.may_activate(Time::now()) {
            Waiting::Window
        } else {
            let Some(served) = served else {
                // It was let go of to save memory; it proves itself once more.
                return self.prove(candidate, slot);
            };
            let shadow = self
                .gate(&candidate)
                .shadow
                .filter(|_| self.serving.is_some());
            return match shadow {
                Some(shadow) => self.shadow(candidate, slot, served, &shadow),
                None => self.begin(candidate, slot, served),
            };
        };
        let keeps = self.config.deploy.keep_previous == KeepPrevious::Memory;
        candidate.stage = Stage::Proven(slot, served.filter(|_| keeps));
        self.reporter.waiting(&candidate.wanted.subject, waiting);
        self.candidate = Some(candidate);
        self.note_activation();
    }

    /// Writes down that the staged release is to serve, so that it does after a restart without a network too.
    fn note_activation(&mut self) {
        let ledger = self.store.ledger();
        let staged = ledger.staged.as_ref().map(|slot| slot.release);
        let wanted = self.candidate.as_ref().is_some_and(|candidate| {
            candidate.wanted.activate && staged == Some(candidate.release.digest())
        });
        if !wanted || ledger.activate == staged {
            return;
        }
        if let Err(error) = self.store.apply(&Transition::Activate, Time::now()) {
            tracing::error!(%error, "that the staged release is to serve could not be written down");
        }
    }

    fn shadow(
        &mut self,
        mut candidate: Candidate,
        slot: Slot,
        served: Arc<Served>,
        shadow: &Shadow,
    ) {
        match Tap::open(
            served.pipeline(),
            shadow.share,
            self.loader.device().clone(),
        ) {
            Ok((tap, score)) => {
                self.service.shadow(Some(tap));
                self.reporter
                    .phase(&candidate.wanted.subject, Phase::Shadow, None);
                candidate.stage = Stage::Shadow(slot, served, score);
                self.candidate = Some(candidate);
            }
            Err(error) => {
                let cause = Cause::new("no_thread", format!("the shadow cannot run: {error}"));
                self.fail(&candidate, Phase::Failed, cause);
            }
        }
    }

    /// Looks at what the shadow has seen.
    fn compare(
        &mut self,
        mut candidate: Candidate,
        slot: Slot,
        served: Arc<Served>,
        score: Arc<Score>,
    ) {
        let compared = score.compared();
        let Some(shadow) = self.gate(&candidate).shadow else {
            return self.begin(candidate, slot, served);
        };
        match compared.judge(&shadow) {
            Likeness::Wait => {
                candidate.stage = Stage::Shadow(slot, served, score);
                self.candidate = Some(candidate);
            }
            Likeness::Alike => {
                self.service.shadow(None);
                self.begin(candidate, slot, served);
            }
            Likeness::Unlike(mean) => {
                self.service.shadow(None);
                let message = format!(
                    "over {} samples the insights agree to {mean:.3} with those of the release that serves, and {:.3} is wanted",
                    compared.samples, shadow.min_agreement
                );
                tracing::info!(skipped = score.skipped(), "the shadow has ended");
                self.fail(
                    &candidate,
                    Phase::Failed,
                    Cause::new("shadow_disagreement", message),
                );
            }
        }
    }

    fn wait(&mut self, mut candidate: Candidate, stage: Stage, waiting: Waiting) {
        candidate.stage = stage;
        self.reporter.waiting(&candidate.wanted.subject, waiting);
        self.candidate = Some(candidate);
    }

    fn begin(&mut self, mut candidate: Candidate, slot: Slot, served: Arc<Served>) {
        let gate = self.gate(&candidate);
        if let Err(error) = self.begin_trial(&candidate.wanted.subject, served, gate) {
            let due = candidate.later();
            self.not_written(candidate, Stage::Staged(slot, due), &error);
        }
    }

    /// What the release asks of itself, within what the device allows.
    fn gate(&self, candidate: &Candidate) -> HealthGate {
        candidate.release.health.bounded(&self.config.deploy.health)
    }

    /// It is refused or has failed, and is remembered.
    fn fail(&mut self, candidate: &Candidate, phase: Phase, cause: Cause) {
        self.service.shadow(None);
        let now = Time::now();
        let slot = Slot {
            release: candidate.release.digest(),
            bundles: candidate.wanted.bundles.clone(),
            name: candidate.release.name.clone(),
            generation: candidate.release.generation,
            installed: now,
        };
        let transition = Transition::Fail(slot, phase, cause.clone());
        if let Err(error) = self.store.apply(&transition, now) {
            tracing::error!(%error, "a failed release could not be written down; it may be tried again");
        }
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
        {
            let unstaged = self
                .store
                .apply(&Transition::Unstage(cause.clone()), Time::now());
            if let Err(error) = unstaged {
                tracing::error!(%error, "a release that is not wanted could not be unstaged");
            }
        }
        self.slots_changed();
        self.reporter
            .phase(&candidate.wanted.subject, Phase::Absent, Some(cause));
    }

    /// The release at work is to serve; what it still waits for.
    pub(super) fn order_activation(&mut self) -> Result<Option<Waiting>, CommandError> {
        let candidate = self.candidate.as_mut().ok_or(CommandError::NothingStaged)?;
        candidate.wanted.activate = true;
        self.note_activation();
        if self.probation.is_some() {
            return Ok(Some(Waiting::Probation));
        }
        let open = self.config.deploy.may_activate(Time::now());
        Ok((!open).then_some(Waiting::Window))
    }
}

/// The bytes of a release that are not on the disk.
fn missing_bytes(reconciler: &Reconciler, release: &Release) -> u64 {
    let blobs = reconciler.store.blobs();
    let missing = release.blobs().filter(|blob| !blobs.has(blob));
    missing.map(|blob| blob.size).fold(0, u64::saturating_add)
}

/// Whether it is the disk's fault and not the release's.
const fn is_damage(error: &LoadFailure) -> bool {
    matches!(
        error,
        LoadFailure::Package(_)
            | LoadFailure::Load(LoadError::Blob { .. } | LoadError::Damaged { .. })
    )
}
