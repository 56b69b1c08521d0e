//! The steps of a release without a pipeline, and its trial.

use std::time::Duration;

use hotshoe_delivery::{FetchError, TransferStats};
use hotshoe_protocol::status::{Observed, RollbackStatus};
use hotshoe_store::{ApplyError, Cause, Phase, Slot, Transition};
use hotshoe_trust::{Digest, HealthGate};

use crate::deploy::candidate::{BesideTrial, Facts, Outcome, Step};
use crate::deploy::chain;
use crate::deploy::kinds::effect::{Fault, Progress};
use crate::deploy::kinds::{KindReleases, KindTrial, Surroundings};
use crate::deploy::ledger_writer::StageError;
use crate::deploy::pending_release::PendingRelease;
use crate::deploy::reporter::Subject;

impl KindReleases {
    /// Goes on from the ledger at the start of the daemon.
    pub(super) fn resume(&mut self, around: &Surroundings<'_>) {
        let now = self.with.clock.now();
        match PendingRelease::staged(self.ledger.store(), around.loader, now) {
            Ok(staged) => self.pending = staged,
            Err(error) => self.ledger.record([Transition::Unstage(error.cause())]),
        }
        let ledger = self.ledger.ledger().clone();
        if let Some(live) = &ledger.live {
            // It was verified before the daemon started, and where it was not, it is not in effect.
            let release = around.loader.verified(self.ledger.store(), live);
            let resumed = release.map(|it| self.effect.resume(self.ledger.store(), &it, false));
            if let Err(error) = resumed {
                let cause = chain(&error);
                tracing::error!(kind = %self.kind, cause, "the live release is not in effect");
            }
        }
        if let Some(trial) = &ledger.trial {
            match around.loader.verified(self.ledger.store(), &trial.slot) {
                Ok(release) => {
                    let gate = release.health.bounded(&around.config.deploy.health);
                    self.enter_trial(&trial.slot, gate, around);
                    let resumed = self.effect.resume(self.ledger.store(), &release, true);
                    self.follow_fault(resumed);
                }
                Err(error) => self.roll_back(error.cause()),
            }
        }
        self.show();
    }

    fn enter_trial(&mut self, slot: &Slot, gate: HealthGate, around: &Surroundings<'_>) {
        let subject = Subject::of(slot);
        self.report(&subject, Phase::Trial, None);
        self.trial = Some(KindTrial {
            subject,
            gate,
            since: self.with.clock.now(),
            before: around.serving,
        });
    }

    /// Advances the pending release until it waits for something.
    pub(super) fn advance(&mut self, around: &Surroundings<'_>) {
        let Some(mut pending) = self.pending.take() else {
            return;
        };
        loop {
            let facts = self.facts(&pending, around);
            match pending.step(&facts, self.with.clock.now()) {
                Step::Wait(_) => break,
                Step::Hold(reason) => {
                    self.with.reporter.waiting(pending.subject(), reason);
                    if pending.is_proven() {
                        if pending.wanted().activate {
                            self.ledger.note_activation(pending.digest());
                        }
                        self.ledger.end_proof();
                    }
                    break;
                }
                Step::Fetch => self.fetch(&mut pending, around),
                Step::Stage => self.stage(&mut pending),
                Step::ReplaceTrial => {
                    let message =
                        format!("replaced by generation {}", pending.release().generation);
                    self.roll_back(Cause::new(RollbackStatus::SUPERSEDED, message));
                }
                Step::Prove => self.prove(&mut pending),
                // There is no shadow of what processes no samples.
                Step::OpenShadow | Step::BeginTrial => self.begin_trial(&mut pending, around),
                Step::Fail(_) => {
                    let message =
                        "the daemon ended while it checked the release, as often as is allowed";
                    self.fail(&mut pending, Cause::new("died_in_proof", message));
                }
                Step::End => return,
            }
        }
        self.pending = Some(pending);
    }

    fn facts(&self, pending: &PendingRelease, around: &Surroundings<'_>) -> Facts {
        let (activate, release) = (pending.wanted().activate, pending.release());
        let trial = match &self.trial {
            None => BesideTrial::None,
            Some(trial)
                if activate
                    && trial.subject.name == release.name
                    && trial.subject.generation < release.generation =>
            {
                BesideTrial::Replaceable
            }
            Some(_) => BesideTrial::Running,
        };
        Facts {
            is_settled: self.ledger.is_settled(),
            is_fetching: self.transfers.is_fetching_blobs(),
            trial,
            proofs: self.ledger.ledger().proofs,
            activate,
            is_window_open: around.config.deploy.may_activate(around.now),
            is_loaded: true,
            shadow: None,
        }
    }

    fn fetch(&mut self, pending: &mut PendingRelease, around: &Surroundings<'_>) {
        let deploy = &around.config.deploy;
        let (bytes, mib) = (deploy.quota_bytes(), deploy.quota_mib);
        let started = self
            .ledger
            .make_room(pending.release(), bytes, mib)
            .and_then(|()| {
                let (release, subject) = (pending.release().clone(), pending.subject().clone());
                let blobs = self.ledger.store().blobs();
                let started = self.transfers.fetch_blobs(release, subject, blobs);
                started.map_err(|error| Cause::new("no_thread", error.to_string()))
            });
        match started {
            Ok((fetch_id, cancel)) => {
                pending.fetching(fetch_id, cancel, self.with.clock.now());
            }
            Err(cause) => self.retry(pending, Outcome::FetchLater, cause),
        }
    }

    pub(super) fn fetched(
        &mut self,
        pending: &mut PendingRelease,
        fetch_id: u64,
        moved: Result<TransferStats, FetchError>,
    ) {
        match moved {
            Ok(_) => pending.note(Outcome::Fetched(fetch_id), self.with.clock.now()),
            Err(error) => {
                let cause = Cause::new(error.name(), chain(&error));
                if error.is_permanent() {
                    self.fail(pending, cause);
                } else {
                    self.retry(pending, Outcome::FetchLater, cause);
                }
            }
        }
    }

    fn stage(&mut self, pending: &mut PendingRelease) {
        let activate = pending.wanted().activate;
        match self.ledger.stage(pending.release(), activate) {
            Ok(slot) => {
                self.transfers.withdraw_partials();
                let reporter = &self.with.reporter;
                reporter.phase(pending.subject(), Phase::Staged, None);
                pending.staged_in(slot, self.with.clock.now());
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

    /// Checks the release on this device, before it has any effect.
    fn prove(&mut self, pending: &mut PendingRelease) {
        if let Err(error) = self.ledger.apply(&Transition::BeginProof) {
            let cause = Cause::new(error.name(), chain(&error));
            return self.retry(pending, Outcome::ProveLater, cause);
        }
        let proven = self.effect.prove(self.ledger.store(), pending.release());
        // The daemon is still there.
        self.ledger.end_proof();
        match proven {
            Ok(()) => {
                let reporter = &self.with.reporter;
                reporter.phase(pending.subject(), Phase::SelfTested, None);
                pending.note(Outcome::Proven, self.with.clock.now());
            }
            Err(Fault::Later(cause)) => self.retry(pending, Outcome::ProveLater, cause),
            Err(Fault::Damage(cause)) => self.retry(pending, Outcome::FetchLater, cause),
            Err(Fault::Release(cause)) => self.fail(pending, cause),
        }
    }

    fn begin_trial(&mut self, pending: &mut PendingRelease, around: &Surroundings<'_>) {
        let Some(slot) = pending.slot().cloned() else {
            return pending.note(Outcome::FetchLater, self.with.clock.now());
        };
        let gate = pending
            .release()
            .health
            .bounded(&around.config.deploy.health);
        let begin = Transition::BeginTrial { tries: gate.tries };
        if let Err(error) = self.ledger.apply(&begin) {
            return self.not_written(pending, Outcome::ProveLater, &error);
        }
        let release = pending.release().clone();
        pending.note(Outcome::Ended, self.with.clock.now());
        self.enter_trial(&slot, gate, around);
        let begun = self.effect.begin(self.ledger.store(), &release);
        self.follow_fault(begun);
    }

    fn follow_fault(&mut self, done: Result<(), Fault>) {
        if let Err(Fault::Later(cause) | Fault::Damage(cause) | Fault::Release(cause)) = done {
            self.roll_back(cause);
        }
    }

    /// Looks whether the trial is good.
    pub(super) fn check_trial(&mut self, around: &Surroundings<'_>) {
        let Some(trial) = &mut self.trial else {
            return;
        };
        if let Some(cause) = samples_fail(&trial.gate, trial.before, around.serving) {
            return self.roll_back(cause);
        }
        let elapsed = self.with.clock.elapsed(trial.since);
        let connect = &around.config.zenoh.connect;
        let is_connected = connect.is_empty() || self.with.reporter.peers() > 0;
        let serves = around.serving.is_some() || !around.should_serve;
        let is_good = self.with.parts.dead().is_empty()
            && serves
            && is_connected
            && elapsed >= Duration::from_secs(trial.gate.min_seconds);
        match self.effect.check(is_good) {
            Progress::Wait => {}
            Progress::InEffect => {
                trial.since = self.with.clock.now();
                trial.before = around.serving;
            }
            Progress::Good => self.confirm(),
            Progress::Failed(cause) => self.roll_back(cause),
        }
    }

    fn confirm(&mut self) {
        match self.ledger.apply(&Transition::Confirm) {
            Ok(()) => {}
            Err(error @ ApplyError::Illegal(_)) => {
                return self.roll_back(Cause::new(error.name(), chain(&error)));
            }
            Err(error) => {
                tracing::error!(%error, "the trial has passed, but the ledger cannot be written; will try again");
                return;
            }
        }
        if let Some(trial) = self.trial.take() {
            self.report(&trial.subject, Phase::Live, None);
        }
        self.clear();
    }

    /// Ends the trial: what was in effect before is in effect again.
    pub(super) fn roll_back(&mut self, cause: Cause) {
        let trial = self.ledger.ledger().trial.clone();
        let Some(slot) = trial.map(|trial| trial.slot) else {
            return;
        };
        self.trial = None;
        self.ledger.record([Transition::RollBack(cause.clone())]);
        self.effect.end_trial();
        let subject = Subject::of(&slot);
        self.report(&subject, Phase::RolledBack, Some(cause));
        self.clear();
    }

    /// Ends the trial or the candidate, if it is this release.
    pub(in crate::deploy) fn end(&mut self, release: Digest, cause: Cause) {
        let trial = self.ledger.ledger().trial.as_ref();
        if trial.is_some_and(|trial| trial.slot.release == release) {
            self.roll_back(cause);
        } else if self
            .pending
            .as_ref()
            .is_some_and(|it| it.digest() == release)
        {
            self.abandon(&cause);
        } else {
            self.admission.forget(release);
        }
    }

    /// Marks the candidate for activation.
    pub(in crate::deploy) fn activate(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.order_activation();
            let release = pending.digest();
            self.ledger.note_activation(release);
        }
    }

    /// Ends a trial, or goes back to the release before the live one.
    pub(in crate::deploy) fn roll_back_ordered(
        &mut self,
        cause: Cause,
        around: &Surroundings<'_>,
    ) -> Result<(), Cause> {
        if self.trial.is_some() {
            self.roll_back(cause);
            return Ok(());
        }
        self.go_back(cause, around)
    }

    /// Makes the previous release live again.
    pub(in crate::deploy) fn go_back(
        &mut self,
        cause: Cause,
        around: &Surroundings<'_>,
    ) -> Result<(), Cause> {
        let refused = |name: &str, text: &str| Err(Cause::new(name.to_owned(), text));
        if self.trial.is_some() || !self.ledger.is_settled() {
            return refused("busy", "a trial runs, or the ledger cannot be written");
        }
        let ledger = self.ledger.ledger();
        let (left, previous) = (ledger.live.clone(), ledger.previous.clone());
        let Some(previous) = previous else {
            return refused("nothing_previous", "no release was live before");
        };
        let release = around.loader.verified(self.ledger.store(), &previous);
        let release = release.map_err(|error| error.cause())?;
        self.effect.may_go_back()?;
        let applied = self.ledger.apply(&Transition::GoBack(cause.clone()));
        applied.map_err(|error| Cause::new(error.name(), chain(&error)))?;
        if let Some(left) = left {
            self.report(&Subject::of(&left), Phase::RolledBack, Some(cause));
        }
        self.effect.go_back(self.ledger.store(), &release)
    }

    /// Forgets that a release failed.
    pub(in crate::deploy) fn forgive(
        &mut self,
        name: &str,
        release: Digest,
        cause: Cause,
    ) -> Result<(), Cause> {
        let name = name.to_owned();
        let forgiven = self.ledger.apply(&Transition::Forgive {
            name,
            release,
            cause,
        });
        forgiven.map_err(|error| Cause::new(error.name(), chain(&error)))?;
        self.admission.forget_refusals();
        Ok(())
    }

    fn retry(&self, pending: &mut PendingRelease, outcome: Outcome, cause: Cause) {
        self.with.reporter.retry(pending.subject(), cause);
        pending.note(outcome, self.with.clock.now());
    }

    fn not_written(&mut self, pending: &mut PendingRelease, again: Outcome, error: &ApplyError) {
        let cause = Cause::new(error.name(), chain(error));
        if matches!(error, ApplyError::Illegal(_)) {
            return self.drop_pending(pending, &cause);
        }
        self.retry(pending, again, cause);
    }

    fn fail(&mut self, pending: &mut PendingRelease, cause: Cause) {
        let now = crate::deploy::wall_time(&self.with.clock);
        let slot = pending.failed_slot(now);
        self.ledger
            .record([Transition::Fail(slot, Phase::Failed, cause.clone())]);
        let reporter = &self.with.reporter;
        reporter.refused(pending.subject(), Phase::Failed, cause);
        pending.note(Outcome::Ended, self.with.clock.now());
    }

    /// Drops the pending release, if there is one.
    pub(super) fn abandon(&mut self, cause: &Cause) {
        if let Some(mut pending) = self.pending.take() {
            self.drop_pending(&mut pending, cause);
        }
    }

    fn drop_pending(&mut self, pending: &mut PendingRelease, cause: &Cause) {
        pending.stop();
        self.ledger.unstage(pending.digest(), cause);
        let reporter = &self.with.reporter;
        reporter.phase(pending.subject(), Phase::Absent, Some(cause.clone()));
        pending.note(Outcome::Ended, self.with.clock.now());
    }

    fn clear(&mut self) {
        let coming = self.pending.as_ref().map(PendingRelease::digest);
        self.ledger.clear(coming);
    }
}

/// Why the samples of the pipeline since the start of the trial do not pass the gate. Without enough of them they say nothing.
fn samples_fail(
    gate: &HealthGate,
    before: Option<(Digest, Observed)>,
    now: Option<(Digest, Observed)>,
) -> Option<Cause> {
    let (release, now) = now?;
    let before = before.filter(|(of, _)| *of == release);
    let before = before.map(|(_, counted)| counted).unwrap_or_default();
    let since = |count: fn(&Observed) -> u64| count(&now).saturating_sub(count(&before));
    let samples = since(|it| it.samples);
    if samples < gate.min_samples.max(1) {
        return None;
    }
    let rates = [
        ("error_rate", since(|it| it.errors), gate.max_error_rate),
        ("trap_rate", since(|it| it.traps), gate.max_trap_rate),
    ];
    rates.into_iter().find_map(|(name, count, most)| {
        let share = crate::serving::latency::float(count) / crate::serving::latency::float(samples);
        (share > most).then(|| {
            let message =
                format!("{count} of {samples} samples failed since the trial began, above {most}");
            Cause::new(name, message)
        })
    })
}
