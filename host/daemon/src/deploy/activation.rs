//! From a self-tested release to its trial: maintenance window, shadow, and start of the trial.

use std::sync::Arc;

use hotshoe_config::KeepPrevious;
use hotshoe_protocol::status::Waiting;
use hotshoe_store::{Cause, Phase, Slot, Transition};
use hotshoe_trust::{HealthGate, Shadow, Time};

use crate::deploy::candidate::{Candidate, CandidateState};
use crate::deploy::command::CommandError;
use crate::deploy::reconciler::Reconciler;
use crate::deploy::serving_release::ServingRelease;
use crate::deploy::shadow::{ShadowMirror, ShadowScore, ShadowVerdict};

impl Reconciler {
    /// Starts the trial or the shadow, as soon as the release may be activated.
    pub(super) fn activate(
        &mut self,
        mut candidate: Candidate,
        slot: Slot,
        served: Option<Arc<ServingRelease>>,
    ) {
        let waiting = if !candidate.wanted.activate {
            Waiting::Activation
        } else if self.probation.is_some() {
            Waiting::Probation
        } else if !self.config.deploy.may_activate(Time::now()) {
            Waiting::Window
        } else {
            let Some(served) = served else {
                // It was unloaded to save memory; it is loaded and tested again.
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
        candidate.state = CandidateState::Proven(slot, served.filter(|_| keeps));
        self.reporter.waiting(&candidate.wanted.subject, waiting);
        self.candidate = Some(candidate);
        self.note_activation();
        self.end_proof();
    }

    /// Records that the daemon survived the self-test.
    pub(super) fn end_proof(&mut self) {
        if self.store.ledger().proofs == 0 {
            return;
        }
        if let Err(error) = self.store.apply(&Transition::EndProof, Time::now()) {
            tracing::warn!(%error, "cannot record in the ledger that the self-test has ended");
        }
    }

    /// Records that the staged release is to be activated, so that it is after a restart without a network too.
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
            tracing::error!(%error, "cannot record in the ledger that the staged release is to be activated");
        }
    }

    /// Starts the shadow.
    fn shadow(
        &mut self,
        mut candidate: Candidate,
        slot: Slot,
        served: Arc<ServingRelease>,
        shadow: &Shadow,
    ) {
        match ShadowMirror::open(
            served.pipeline(),
            shadow.share,
            self.loader.device().clone(),
            &self.parts,
        ) {
            Ok((mirror, score)) => {
                self.service.shadow(Some(mirror));
                self.reporter
                    .phase(&candidate.wanted.subject, Phase::Shadow, None);
                candidate.state = CandidateState::Shadow(slot, served, score);
                self.candidate = Some(candidate);
            }
            Err(error) => {
                let cause = Cause::new("no_thread", format!("the shadow cannot run: {error}"));
                self.fail(&candidate, Phase::Failed, cause);
            }
        }
    }

    /// Judges the shadow's comparisons so far.
    pub(super) fn compare(
        &mut self,
        mut candidate: Candidate,
        slot: Slot,
        served: Arc<ServingRelease>,
        score: Arc<ShadowScore>,
    ) {
        let compared = score.compared();
        let Some(shadow) = self.gate(&candidate).shadow else {
            return self.begin(candidate, slot, served);
        };
        match compared.judge(&shadow) {
            ShadowVerdict::Wait => {
                candidate.state = CandidateState::Shadow(slot, served, score);
                self.candidate = Some(candidate);
            }
            ShadowVerdict::Agree => {
                self.service.shadow(None);
                self.begin(candidate, slot, served);
            }
            ShadowVerdict::Disagree(mean) => {
                self.service.shadow(None);
                let message = format!(
                    "the mean agreement with the live release over {} samples is {mean:.3}; at least {:.3} is required",
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

    pub(super) fn wait(
        &mut self,
        mut candidate: Candidate,
        state: CandidateState,
        waiting: Waiting,
    ) {
        candidate.state = state;
        self.reporter.waiting(&candidate.wanted.subject, waiting);
        self.candidate = Some(candidate);
    }

    fn begin(&mut self, mut candidate: Candidate, slot: Slot, served: Arc<ServingRelease>) {
        let gate = self.gate(&candidate);
        if let Err(error) = self.begin_trial(&candidate.wanted.subject, served, gate) {
            let due = candidate.later();
            self.not_written(candidate, CandidateState::Staged(slot, due), &error);
        }
    }

    /// The release's health gate, bounded by the device's limits.
    pub(super) fn gate(&self, candidate: &Candidate) -> HealthGate {
        candidate.release.health.bounded(&self.config.deploy.health)
    }

    /// Marks the candidate for activation. Returns what it still waits for.
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
