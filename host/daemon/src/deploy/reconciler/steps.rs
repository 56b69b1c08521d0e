//! Carries out the steps of the pending release. [`Candidate::step`](crate::deploy::candidate::Candidate::step) decides them.

use std::sync::Arc;

use hotshoe_config::KeepPrevious;
use hotshoe_delivery::{FetchError, TransferStats};
use hotshoe_protocol::status::{RollbackStatus, WaitReason};
use hotshoe_store::{ApplyError, Cause, Phase, Transition};
use hotshoe_trust::{HealthGate, Release};

use super::Reconciler;
use crate::deploy::candidate::{Facts, Outcome, Step, StepFailure};
use crate::deploy::chain;
use crate::deploy::ledger_writer::StageError;
use crate::deploy::pending_release::PendingRelease;
use crate::deploy::reconciler::statements::superseded;

impl Reconciler {
    /// Advances the pending release until it waits for something.
    pub(super) fn advance(&mut self) {
        let Some(mut pending) = self.pending.take() else {
            return;
        };
        if let Some(newer) = self.trial.newer_than(pending.release()) {
            // It can never serve: the trial either raises the floor above it, or fails with a higher generation.
            let cause = superseded(newer, "which is on trial; publish a higher generation");
            return self.drop_pending(&mut pending, &cause);
        }
        loop {
            let step = pending.step(&self.facts(&pending), self.clock.now());
            match step {
                Step::Wait(_) => break,
                Step::Hold(reason) => {
                    self.hold(&mut pending, reason);
                    break;
                }
                Step::Fetch => self.fetch(&mut pending),
                Step::Stage => self.stage(&mut pending),
                Step::ReplaceTrial => {
                    let message =
                        format!("replaced by generation {}", pending.release().generation);
                    self.roll_back(Cause::new(RollbackStatus::SUPERSEDED, message));
                }
                Step::Prove => self.prove(&mut pending),
                Step::OpenShadow => self.open_shadow(&mut pending),
                Step::BeginTrial => self.begin_trial(&mut pending),
                Step::Fail(failure) => {
                    let cause = self.failure_cause(&pending, failure);
                    self.fail(&mut pending, cause);
                }
                Step::End => return,
            }
        }
        self.pending = Some(pending);
    }

    fn facts(&self, pending: &PendingRelease) -> Facts {
        let activate = pending.wanted().activate;
        let shadow = self.gate(pending.release()).shadow;
        // Without a release that serves, there is nothing to compare with.
        let shadow = shadow
            .filter(|_| self.serving.current().is_some() || pending.is_in_shadow())
            .map(|shadow| self.trial.compared().judge(&shadow));
        Facts {
            is_settled: self.ledger.is_settled(),
            is_fetching: self.transfers.is_fetching_blobs(),
            trial: self.trial.beside(pending.release(), activate),
            proofs: self.ledger.ledger().proofs,
            activate,
            is_window_open: self.config.deploy.may_activate(self.time()),
            is_loaded: pending.loaded().is_some(),
            shadow,
        }
    }

    /// The release's health gate, bounded by the device's limits.
    pub(super) fn gate(&self, release: &Release) -> HealthGate {
        release.health.bounded(&self.config.deploy.health)
    }

    fn hold(&mut self, pending: &mut PendingRelease, reason: WaitReason) {
        self.reporter.waiting(pending.subject(), reason);
        if !pending.is_proven() {
            return;
        }
        if self.config.deploy.keep_previous == KeepPrevious::Disk {
            pending.unload();
        }
        if pending.wanted().activate {
            self.ledger.note_activation(pending.digest());
        }
        self.ledger.end_proof();
    }

    /// Makes room for its blobs, and starts a thread that fetches them.
    fn fetch(&mut self, pending: &mut PendingRelease) {
        let deploy = &self.config.deploy;
        let (bytes, mib) = (deploy.quota_bytes(), deploy.quota_mib);
        let started = self
            .ledger
            .make_room(pending.release(), bytes, mib)
            .and_then(|()| {
                let (release, subject) = (pending.release().clone(), pending.subject().clone());
                let blobs = self.ledger.store().blobs();
                self.transfers
                    .fetch_blobs(release, subject, blobs)
                    .map_err(|error| Cause::new("no_thread", error.to_string()))
            });
        match started {
            Ok((fetch_id, cancel)) => pending.fetching(fetch_id, cancel, self.clock.now()),
            Err(cause) => self.retry(pending, Outcome::FetchLater, cause),
        }
    }

    /// Handles the end of a fetch of blobs.
    pub(super) fn on_blobs(&mut self, fetch_id: u64, moved: Result<TransferStats, FetchError>) {
        self.transfers.blobs_ended();
        let Some(mut pending) = self.pending.take_if(|p| p.is_fetched_by(fetch_id)) else {
            return;
        };
        match moved {
            Ok(moved) => {
                log_transfer(&moved);
                pending.note(Outcome::Fetched(fetch_id), self.clock.now());
            }
            Err(error) => {
                let cause = Cause::new(error.name(), chain(&error));
                if error.is_permanent() {
                    return self.fail(&mut pending, cause);
                }
                self.retry(&mut pending, Outcome::FetchLater, cause);
            }
        }
        self.pending = Some(pending);
    }

    /// Stages the release: all of its blobs are on disk.
    fn stage(&mut self, pending: &mut PendingRelease) {
        let activate = pending.wanted().activate;
        match self.ledger.stage(pending.release(), activate) {
            Ok(slot) => {
                self.slots_changed();
                // The catalogue lists the release now.
                self.transfers.withdraw_partials();
                self.reporter.phase(pending.subject(), Phase::Staged, None);
                pending.staged_in(slot, self.clock.now());
            }
            Err(StageError::Blob(error)) => {
                let cause = Cause::new(error.name(), chain(&error));
                self.retry(pending, Outcome::FetchLater, cause);
            }
            Err(StageError::Apply(error)) => {
                self.not_written(pending, Outcome::FetchLater, &error);
            }
        }
    }

    /// Loads the release, and runs its self-test.
    fn prove(&mut self, pending: &mut PendingRelease) {
        let Some(slot) = pending.slot() else {
            return pending.note(Outcome::FetchLater, self.clock.now());
        };
        if let Err(error) = self.ledger.apply(&Transition::BeginProof) {
            let cause = Cause::new(error.name(), chain(&error));
            return self.retry(pending, Outcome::ProveLater, cause);
        }
        // It may share models with the release that serves.
        self.backend_race.stop();
        let serving = self.serving.current().map(Arc::as_ref);
        match self.loader.prove(self.ledger.store(), slot, serving) {
            Ok(served) => {
                self.reporter
                    .phase(pending.subject(), Phase::SelfTested, None);
                pending.proven(served, self.clock.now());
            }
            Err(error) if error.is_interrupted() => {
                // It is compiled again after the command that interrupted it, or at the next start.
                self.ledger.end_proof();
                pending.note(Outcome::Interrupted, self.clock.now());
            }
            Err(error) if error.is_damage() => {
                self.ledger.end_proof();
                // Only damaged blobs are fetched again.
                self.retry(pending, Outcome::FetchLater, error.cause());
            }
            Err(error) => self.fail(pending, error.cause()),
        }
    }

    fn open_shadow(&mut self, pending: &mut PendingRelease) {
        let (Some(shadow), Some(loaded)) = (self.gate(pending.release()).shadow, pending.loaded())
        else {
            return pending.note(Outcome::ProveLater, self.clock.now());
        };
        let device = self.loader.device().clone();
        match self
            .trial
            .open_shadow(loaded.pipeline(), &shadow, device, &self.parts)
        {
            Ok(mirror) => {
                self.serving.mirror(Some(mirror));
                self.reporter.phase(pending.subject(), Phase::Shadow, None);
                pending.note(Outcome::ShadowOpened, self.clock.now());
            }
            Err(error) => {
                let message = format!("the shadow cannot run: {error}");
                self.fail(pending, Cause::new("no_thread", message));
            }
        }
    }

    /// Ends the shadow, if one runs.
    pub(super) fn close_shadow(&mut self) {
        self.serving.mirror(None);
        self.trial.close_shadow();
    }

    fn failure_cause(&self, pending: &PendingRelease, failure: StepFailure) -> Cause {
        match failure {
            StepFailure::DiedInProof => Cause::new(
                "died_in_proof",
                "the daemon ended while it loaded or tested the release, as often as is allowed",
            ),
            StepFailure::ShadowDisagreement(mean) => {
                let least = self.gate(pending.release()).shadow;
                let least = least.map_or(0.0, |shadow| shadow.min_agreement);
                let samples = self.trial.compared().samples;
                let message = format!(
                    "the mean agreement with the live release over {samples} samples is {mean:.3}; at least {least:.3} is required"
                );
                Cause::new("shadow_disagreement", message)
            }
        }
    }

    fn retry(&self, pending: &mut PendingRelease, outcome: Outcome, cause: Cause) {
        self.reporter.retry(pending.subject(), cause);
        pending.note(outcome, self.clock.now());
    }

    /// Handles a failed transition: retries if the ledger could not be written, abandons the release if it is illegal.
    pub(super) fn not_written(
        &mut self,
        pending: &mut PendingRelease,
        again: Outcome,
        error: &ApplyError,
    ) {
        let cause = Cause::new(error.name(), chain(error));
        if matches!(error, ApplyError::Illegal(_)) {
            return self.drop_pending(pending, &cause);
        }
        self.retry(pending, again, cause);
    }

    /// Records in the ledger that the release failed.
    fn fail(&mut self, pending: &mut PendingRelease, cause: Cause) {
        self.close_shadow();
        let slot = pending.failed_slot(self.time());
        self.ledger
            .record([Transition::Fail(slot, Phase::Failed, cause.clone())]);
        self.slots_changed();
        self.reporter
            .refused(pending.subject(), Phase::Failed, cause);
        pending.note(Outcome::Ended, self.clock.now());
    }

    /// Drops the pending release, if there is one.
    pub(super) fn abandon(&mut self, cause: &Cause) {
        if let Some(mut pending) = self.pending.take() {
            self.drop_pending(&mut pending, cause);
        }
    }

    fn drop_pending(&mut self, pending: &mut PendingRelease, cause: &Cause) {
        pending.stop();
        self.close_shadow();
        self.ledger.unstage(pending.digest(), cause);
        self.slots_changed();
        self.reporter
            .phase(pending.subject(), Phase::Absent, Some(cause.clone()));
        pending.note(Outcome::Ended, self.clock.now());
    }
}

fn log_transfer(moved: &TransferStats) {
    let from = moved.from.iter();
    let from: Vec<_> = from
        .map(|(source, bytes)| format!("{source} ({bytes} bytes)"))
        .collect();
    tracing::info!(
        received = moved.bytes_received,
        reused = moved.bytes_reused,
        from = from.join(", "),
        "fetched"
    );
}
