//! The trial: its swap, its confirmation and its rollback.

use std::sync::Arc;

use hotshoe_config::KeepPrevious;
use hotshoe_protocol::status::RollbackStatus;
use hotshoe_store::{ApplyError, Cause, Phase, Transition};
use hotshoe_trust::HealthGate;

use super::Reconciler;
use crate::deploy::candidate::Outcome;
use crate::deploy::chain;
use crate::deploy::loader::LoadedLive;
use crate::deploy::pending_release::PendingRelease;
use crate::deploy::reporter::Subject;
use crate::deploy::trial::TrialVerdict;
use crate::serving::Seen;

impl Reconciler {
    /// Records the trial in the ledger, gives it the current state, and swaps it in.
    pub(super) fn begin_trial(&mut self, pending: &mut PendingRelease) {
        self.close_shadow();
        let Some(next) = pending.loaded().cloned() else {
            return pending.note(Outcome::ProveLater, self.clock.now());
        };
        let gate = self.gate(pending.release());
        next.prepare(self.loader.threads());
        let on_disk = self.serving.prepare_trial(self.ledger.store(), &next);
        let begin = Transition::BeginTrial { tries: gate.tries };
        if let Err(error) = self.ledger.apply(&begin) {
            pending.unload();
            return self.not_written(pending, Outcome::ProveLater, &error);
        }
        let keep_old = self.config.deploy.keep_previous == KeepPrevious::Memory;
        let store = self.ledger.store();
        let swap = self
            .serving
            .begin_trial(store, &next, on_disk.as_ref(), keep_old);
        self.reporter.swapped(swap.took);
        self.reporter.trial_begun();
        pending.note(Outcome::Ended, self.clock.now());
        self.enter_probation(pending.subject().clone(), gate, swap.before);
    }

    /// Starts the probation of the serving release.
    pub(super) fn enter_probation(
        &mut self,
        subject: Subject,
        gate: HealthGate,
        before: Option<Seen>,
    ) {
        let in_force = self.serving.in_force();
        self.trial.begin(subject.clone(), gate, before, in_force);
        self.slots_changed();
        self.reporter.phase(&subject, Phase::Trial, None);
    }

    /// Checks the trial against its health gate.
    pub(super) fn check_trial(&mut self) {
        if !self.trial.is_running() {
            return;
        }
        let serving = self.serving.current().map(Arc::as_ref);
        let in_force = self.serving.in_force();
        let before = self.trial.judged().cloned();
        let seen = || serving.map(|serving| serving.observer().seen());
        let verdict = self.trial.check(seen, &in_force);
        if self.trial.judged() != before.as_ref() {
            let mode = in_force.mode.as_deref().unwrap_or("full");
            tracing::info!(mode, "the trial goes on with the samples of this mode");
            self.slots_changed();
        }
        match verdict {
            TrialVerdict::Wait => {}
            TrialVerdict::Confirm(cause) => self.confirm(cause),
            TrialVerdict::RollBack(cause) => self.roll_back(cause),
        }
    }

    /// The cause of a confirmation after which another release is tried at once: its publisher must wait for the result of that one.
    fn replaced_next(&self) -> Option<Cause> {
        let wanted = self.pending.as_ref()?.wanted();
        let Subject {
            name, generation, ..
        } = &wanted.subject;
        let message = format!(
            "a newer statement requests `{name}` generation {generation}, which goes on trial next"
        );
        (wanted.activate && self.config.deploy.may_activate(self.time()))
            .then(|| Cause::new("replaced_next", message))
    }

    /// Makes the trial live. `cause` is the exceeded limit of a release with `on-failure = "keep"`.
    fn confirm(&mut self, cause: Option<Cause>) {
        match self.ledger.apply(&Transition::Confirm) {
            Ok(()) => {}
            // New trusted keys may have raised the floor above it: it could never be confirmed.
            Err(error @ ApplyError::Illegal(_)) => {
                return self.roll_back(Cause::new(error.name(), chain(&error)));
            }
            Err(error) => {
                tracing::error!(%error, "the trial has passed, but the ledger cannot be written; will try again");
                return self.trial.postpone();
            }
        }
        let Some(subject) = self.trial.end() else {
            return;
        };
        self.serving.confirm_trial();
        self.slots_changed();
        let cause = cause.or_else(|| self.replaced_next());
        self.reporter.phase(&subject, Phase::Live, cause);
        self.clear();
    }

    /// Rolls back the trial: first the previous release serves again with its own state, then the ledger is updated.
    pub(super) fn roll_back(&mut self, cause: Cause) {
        let Some(subject) = self.trial.end() else {
            return;
        };
        let LoadedLive {
            served: next,
            transition: recover,
            failed,
        } = match self.serving.take_old() {
            Some(old) => LoadedLive {
                served: Some(old),
                ..LoadedLive::default()
            },
            None => self.loader.load_live(self.ledger.store()),
        };
        if let Some(next) = &next {
            next.prepare(self.loader.threads());
        }
        let took = self.serving.replace(next);
        self.reporter.swapped(took);
        let rolled_back = Transition::RollBack(cause.clone());
        self.ledger
            .record(std::iter::once(rolled_back).chain(recover));
        self.ledger.drop_state(subject.release);
        if cause.name != RollbackStatus::SUPERSEDED {
            self.reporter.trial_rolled_back();
        }
        self.slots_changed();
        self.reporter
            .phase(&subject, Phase::RolledBack, Some(cause));
        if let Some((slot, cause)) = failed {
            self.reporter.cannot_serve(&Subject::of(&slot), cause);
        }
        self.clear();
    }

    /// Removes blobs that neither a slot nor the pending release needs.
    fn clear(&mut self) {
        let coming = self.pending.as_ref().map(PendingRelease::digest);
        self.ledger.clear(coming);
    }
}
