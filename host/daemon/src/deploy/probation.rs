//! The trial: its swap, its probation, and its end by confirmation or rollback.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_config::KeepPrevious;
use hotshoe_engine::StateSnapshot;
use hotshoe_protocol::status::RollbackStatus;
use hotshoe_store::{ApplyError, Cause, Phase, Slot, Transition};
use hotshoe_trust::{HealthGate, OnFailure, Time};

use crate::deploy::command::CommandError;
use crate::deploy::health::{Verdict, judge};
use crate::deploy::observed::Observed;
use crate::deploy::published_status::DeployView;
use crate::deploy::reconciler::Reconciler;
use crate::deploy::reporter::Subject;
use crate::deploy::serving_release::ServingRelease;

/// Pause before a failed write of the ledger is retried, in milliseconds.
const WRITE_RETRY_MS: u64 = 1_000;

/// The running trial.
pub struct Probation {
    pub(super) subject: Subject,
    gate: HealthGate,
    /// Last counts of the previous release.
    before: Option<Observed>,
    since: Instant,
    /// Next check. Later than now after a confirmation that could not be written.
    due: Instant,
}

impl Reconciler {
    /// Records the trial in the ledger, gives it the current state, and swaps it in.
    pub(super) fn begin_trial(
        &mut self,
        subject: &Subject,
        served: Arc<ServingRelease>,
        gate: HealthGate,
    ) -> Result<(), ApplyError> {
        served.prepare(self.loader.threads());
        // Before the ledger names the trial: after a restart it would otherwise start without state.
        let kept = self.hand_over_state(&served);
        self.keep_state(&served, kept.as_ref(), None);
        self.store
            .apply(&Transition::BeginTrial { tries: gate.tries }, Time::now())?;
        let before = self
            .serving
            .as_ref()
            .map(|serving| serving.observer().read());
        // Saved before the state is handed over, so that this write does not widen the gap between hand-over and swap.
        self.save_state();
        // No disk access between this and the swap: changes in between are lost.
        let state = self.hand_over_state(&served);
        let old = self.swap(Some(Arc::clone(&served)));
        self.keep_state(&served, state.as_ref(), kept.as_ref());
        match self.config.deploy.keep_previous {
            KeepPrevious::Memory => self.old = old,
            KeepPrevious::Disk => self.retire(old),
        }
        self.reporter
            .published_status()
            .change(|view| view.swaps += 1);
        metrics::counter!("hotshoe_swaps_total").increment(1);
        self.enter_probation(subject.clone(), gate, before);
        Ok(())
    }

    /// Copies the state of the serving release to the trial, and returns it.
    fn hand_over_state(&self, served: &ServingRelease) -> Option<StateSnapshot> {
        let state = self.serving.as_ref()?.pipeline().state_snapshot();
        served.pipeline().restore_state(&state);
        Some(state)
    }

    /// Saves the state that a trial was given, if the disk has another one. Restoring does not count as a change, so it would not be
    /// saved later.
    fn keep_state(
        &self,
        served: &ServingRelease,
        state: Option<&StateSnapshot>,
        on_disk: Option<&StateSnapshot>,
    ) {
        let Some(state) = state.filter(|state| on_disk != Some(*state)) else {
            return;
        };
        let digest = served.release().digest();
        let saved = if state.is_empty() {
            self.store.drop_state(digest)
        } else {
            self.store.save_state(digest, &state.to_bytes())
        };
        if let Err(error) = saved {
            let cause = super::chain(&error);
            tracing::warn!(cause, "cannot save the state of the trial");
        }
    }

    /// Starts the probation of the serving release.
    pub(super) fn enter_probation(
        &mut self,
        subject: Subject,
        gate: HealthGate,
        before: Option<Observed>,
    ) {
        let now = Instant::now();
        self.probation = Some(Probation {
            subject: subject.clone(),
            gate,
            before,
            since: now,
            due: now,
        });
        self.slots_changed();
        self.reporter.phase(&subject, Phase::Trial, None);
    }

    /// Replaces the serving release, and returns the old one.
    fn swap(&mut self, next: Option<Arc<ServingRelease>>) -> Option<Arc<ServingRelease>> {
        let (before, took) = self.service.swap(next.clone());
        crate::metrics::release(
            before.as_deref().map(ServingRelease::release),
            next.as_deref().map(ServingRelease::release),
        );
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.reporter
            .published_status()
            .change(|view| view.last_swap_ns = Some(nanos));
        self.serving = next;
        if let Some(before) = &before {
            before.drop_ready_workers();
        }
        before
    }

    /// Keeps a replaced release until no worker uses it, so that this thread drops it and not a worker.
    pub(super) fn retire(&mut self, served: Option<Arc<ServingRelease>>) {
        self.retired.extend(served);
        self.retired.retain(|served| {
            Arc::strong_count(served) > 1 || Arc::strong_count(served.pipeline()) > 1
        });
    }

    /// Checks the trial against its health gate.
    pub(super) fn watch(&mut self) {
        let (Some(probation), Some(serving)) = (&self.probation, &self.serving) else {
            return;
        };
        if probation.due > Instant::now() {
            return;
        }
        let seen = serving.observer().read();
        let elapsed = probation.since.elapsed();
        match judge(&probation.gate, &seen, probation.before.as_ref(), elapsed) {
            Verdict::Wait => {}
            Verdict::Confirm => self.confirm(None),
            Verdict::Fail(failing) if probation.gate.on_failure == OnFailure::Keep => {
                self.confirm(Some(failing.cause()));
            }
            Verdict::Fail(failing) => {
                self.roll_back(failing.cause());
            }
        }
    }

    /// Makes the trial live. `cause` is the exceeded limit of a release with `on-failure = "keep"`.
    fn confirm(&mut self, cause: Option<Cause>) {
        let Some(mut probation) = self.probation.take() else {
            return;
        };
        if let Err(error) = self.store.apply(&Transition::Confirm, Time::now()) {
            if matches!(error, ApplyError::Illegal(_)) {
                // New trusted keys may have raised the floor above it: it could never be confirmed.
                self.probation = Some(probation);
                return self.roll_back(Cause::new(error.name(), super::chain(&error)));
            }
            tracing::error!(%error, "the trial has passed, but the ledger cannot be written; will try again");
            probation.due = Instant::now() + Duration::from_millis(WRITE_RETRY_MS);
            self.probation = Some(probation);
            return;
        }
        let old = self.old.take();
        self.retire(old);
        self.slots_changed();
        self.reporter.phase(&probation.subject, Phase::Live, cause);
        self.clear();
    }

    /// Rolls back the trial: first the previous release serves again with its own state, then the ledger is updated.
    pub(super) fn roll_back(&mut self, cause: Cause) {
        let Some(probation) = self.probation.take() else {
            return;
        };
        let (next, recover) = self.rollback_target();
        if let Some(next) = &next {
            next.prepare(self.loader.threads());
        }
        let trial = self.swap(next);
        self.retire(trial);
        self.pending_transitions
            .push_back(Transition::RollBack(cause.clone()));
        self.pending_transitions.extend(recover);
        self.write_pending();
        if let Err(error) = self.store.drop_state(probation.subject.release) {
            tracing::warn!(%error, "cannot remove the state of the trial");
        }
        if cause.name != RollbackStatus::SUPERSEDED {
            metrics::counter!("hotshoe_rollbacks_total").increment(1);
            self.reporter
                .published_status()
                .change(|view| view.rollbacks += 1);
        }
        self.slots_changed();
        self.reporter
            .phase(&probation.subject, Phase::RolledBack, Some(cause));
        self.clear();
    }

    /// The release to roll back to, from memory or from disk; `None` if there is none. If the live release is damaged on disk, the
    /// previous one with the transition that makes it live.
    fn rollback_target(&mut self) -> (Option<Arc<ServingRelease>>, Option<Transition>) {
        if let Some(old) = self.old.take() {
            // As after loading from disk: its models have not seen the samples of the trial.
            old.pipeline().forget_sources();
            return (Some(old), None);
        }
        let Some(live) = self.store.ledger().live.clone() else {
            return (None, None);
        };
        let error = match self.loader.load_slot(&self.store, &live, &self.trust) {
            Ok(served) => return (Some(served), None),
            Err(error) => error,
        };
        tracing::error!(
            release = live.name,
            cause = super::chain(&error),
            "the release to go back to cannot serve"
        );
        let previous = self.store.ledger().previous.clone();
        let loaded =
            previous.and_then(|slot| self.loader.load_slot(&self.store, &slot, &self.trust).ok());
        match loaded {
            Some(served) => (Some(served), Some(Transition::Recover(error.cause()))),
            None => (None, None),
        }
    }

    /// Appends a transition to the pending ones, and writes them.
    pub(super) fn write_down(&mut self, transition: Transition) {
        self.pending_transitions.push_back(transition);
        self.write_pending();
    }

    /// Writes the pending transitions. If that fails, it is retried later, and no new step begins meanwhile.
    pub(super) fn write_pending(&mut self) {
        if self.write_due > Instant::now() {
            return;
        }
        while let Some(transition) = self.pending_transitions.front() {
            match self.store.apply(transition, Time::now()) {
                Ok(()) => {}
                Err(ApplyError::Illegal(error)) => {
                    tracing::error!(%error, "the ledger refuses a change that has already happened; please report it");
                }
                Err(error) => {
                    self.reporter.not_written("ledger.json", &error);
                    self.write_due = Instant::now() + Duration::from_millis(WRITE_RETRY_MS);
                    return;
                }
            }
            self.pending_transitions.pop_front();
            self.slots_changed();
        }
    }

    /// Makes the previous release live again.
    pub(super) fn restore_previous(
        &mut self,
        previous: &Slot,
        cause: Cause,
    ) -> Result<(), CommandError> {
        let served = self
            .loader
            .load_slot(&self.store, previous, &self.trust)
            .map_err(|error| CommandError::Damaged(super::chain(&error)))?;
        served.prepare(self.loader.threads());
        let left = self.store.ledger().live.clone();
        self.store
            .apply(&Transition::GoBack(cause.clone()), Time::now())?;
        self.save_state();
        let before = self.swap(Some(served));
        self.retire(before);
        self.slots_changed();
        if let Some(left) = left {
            self.reporter
                .phase(&Subject::of(&left), Phase::RolledBack, Some(cause));
        }
        Ok(())
    }

    /// Removes blobs that neither a slot nor the candidate needs.
    fn clear(&mut self) {
        let coming = self.candidate.as_ref().map(|c| c.release().digest());
        match self.store.collect_garbage(coming.as_slice(), None) {
            Ok(freed) => tracing::debug!(files = freed.files, bytes = freed.bytes, "freed"),
            Err(error) => {
                tracing::warn!(cause = super::chain(&error), "cannot remove unused files");
            }
        }
    }

    /// Adds the trial to the view.
    pub(super) fn show_probation(&self, view: &mut DeployView) {
        view.probation_since = self.probation.as_ref().map(|p| p.since);
        if let (Some(trial), Some(probation)) = (&mut view.slots.trial, &self.probation) {
            trial.wanted_samples = probation.gate.min_samples;
            trial.wanted_seconds = probation.gate.min_seconds;
        }
    }
}
