//! A release that has proved itself: what it waits for, its time in shadow, and its way into the trial.

use std::sync::Arc;

use hotshoe_config::KeepPrevious;
use hotshoe_protocol::status::WaitReason;
use hotshoe_store::{Cause, Phase, Slot, Transition};
use hotshoe_trust::{HealthGate, Shadow, Time};

use crate::deploy::candidate::{Candidate, Stage};
use crate::deploy::command::CommandError;
use crate::deploy::reconciler::Reconciler;
use crate::deploy::served::Served;
use crate::deploy::shadow::{Likeness, Score, Tap};

impl Reconciler {
    /// Lets it serve, or run in shadow, when it may.
    pub(super) fn activate(
        &mut self,
        mut candidate: Candidate,
        slot: Slot,
        served: Option<Arc<Served>>,
    ) {
        let waiting = if !candidate.wanted.activate {
            WaitReason::Activation
        } else if self.probation.is_some() {
            WaitReason::Probation
        } else if !self.config.deploy.may_activate(Time::now()) {
            WaitReason::Window
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
        self.end_proof();
    }

    /// The daemon has outlived the proof, and waits.
    pub(super) fn end_proof(&mut self) {
        if self.store.ledger().proofs == 0 {
            return;
        }
        if let Err(error) = self.store.apply(&Transition::EndProof, Time::now()) {
            tracing::warn!(%error, "that a release has been tested could not be written down");
        }
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

    /// Gives it copies of samples.
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
            &self.parts,
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
    pub(super) fn compare(
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

    pub(super) fn wait(&mut self, mut candidate: Candidate, stage: Stage, waiting: WaitReason) {
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
    pub(super) fn gate(&self, candidate: &Candidate) -> HealthGate {
        candidate.release.health.bounded(&self.config.deploy.health)
    }

    /// The release at work is to serve; what it still waits for.
    pub(super) fn order_activation(&mut self) -> Result<Option<WaitReason>, CommandError> {
        let candidate = self.candidate.as_mut().ok_or(CommandError::NothingStaged)?;
        candidate.wanted.activate = true;
        self.note_activation();
        if self.probation.is_some() {
            return Ok(Some(WaitReason::Probation));
        }
        let open = self.config.deploy.may_activate(Time::now());
        Ok((!open).then_some(WaitReason::Window))
    }
}
