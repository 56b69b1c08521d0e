//! The trial: its probation by the health gate, and the shadow before it.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_pipeline::Pipeline;
use hotshoe_store::Cause;
use hotshoe_trust::{Device, HealthGate, OnFailure, Release, Shadow};

use crate::deploy::candidate::BesideTrial;
use crate::deploy::health::{Judged, Verdict, judge_by_mode};
use crate::deploy::ledger_writer::WRITE_RETRY;
use crate::deploy::reporter::Subject;
use crate::serving::{Comparison, DeployView, Seen, ShadowMirror, ShadowScore, Variation};

/// Owns the running trial and the running shadow.
pub(super) struct Trial {
    clock: Clock,
    probation: Option<Probation>,
    shadow: Option<Arc<ShadowScore>>,
}

/// The running trial.
struct Probation {
    subject: Subject,
    gate: HealthGate,
    /// Last counts of the previous release.
    before: Option<Seen>,
    judged: Judged,
    since: Instant,
    /// Next check. Later than now after a confirmation that could not be written.
    due: Instant,
}

/// What a check of the trial asks for.
#[derive(Debug, PartialEq)]
pub(super) enum TrialVerdict {
    /// Nothing yet, or there is no trial.
    Wait,
    /// Make it live. The cause is the exceeded limit of a release with `on-failure = "keep"`.
    Confirm(Option<Cause>),
    /// Make the previous release serve again.
    RollBack(Cause),
}

impl Trial {
    /// Without a trial.
    pub(super) const fn new(clock: Clock) -> Self {
        Self {
            clock,
            probation: None,
            shadow: None,
        }
    }

    /// Starts the probation of the serving release, which runs as `in_force` says. `before` has the last counts of the release before it.
    pub(super) fn begin(
        &mut self,
        subject: Subject,
        gate: HealthGate,
        before: Option<Seen>,
        in_force: Variation,
    ) {
        let now = self.clock.now();
        self.probation = Some(Probation {
            subject,
            gate,
            before,
            judged: Judged::at_start(in_force),
            since: now,
            due: now,
        });
    }

    /// Whether a trial runs.
    pub(super) const fn is_running(&self) -> bool {
        self.probation.is_some()
    }

    /// The trial, as a candidate with this release sees it.
    pub(super) fn beside(&self, candidate: &Release, activate: bool) -> BesideTrial {
        match &self.probation {
            None => BesideTrial::None,
            Some(probation)
                if activate
                    && probation.subject.name == candidate.name
                    && probation.subject.generation < candidate.generation =>
            {
                BesideTrial::Replaceable
            }
            Some(_) => BesideTrial::Running,
        }
    }

    /// The trial, if it is of the same name as this candidate and of a higher generation.
    pub(super) fn newer_than(&self, candidate: &Release) -> Option<&Subject> {
        let subject = &self.probation.as_ref()?.subject;
        let is_newer = subject.name == candidate.name && subject.generation > candidate.generation;
        is_newer.then_some(subject)
    }

    /// The way to run whose samples count.
    pub(super) fn judged(&self) -> Option<&Variation> {
        Some(self.probation.as_ref()?.judged.variation())
    }

    /// Checks the trial by the counts of the serving release, which runs as `in_force` says.
    pub(super) fn check(
        &mut self,
        seen: impl FnOnce() -> Option<Seen>,
        in_force: &Variation,
    ) -> TrialVerdict {
        let Some(probation) = &mut self.probation else {
            return TrialVerdict::Wait;
        };
        let elapsed = self.clock.elapsed(probation.since);
        probation.judged.follow(in_force, elapsed);
        if probation.due > self.clock.now() {
            return TrialVerdict::Wait;
        }
        let Some(seen) = seen() else {
            return TrialVerdict::Wait;
        };
        let (gate, before) = (&probation.gate, probation.before.as_ref());
        match judge_by_mode(gate, &seen, before, probation.judged.variation(), elapsed) {
            Verdict::Wait => TrialVerdict::Wait,
            Verdict::Confirm => TrialVerdict::Confirm(None),
            Verdict::Fail(limit) if probation.gate.on_failure == OnFailure::Keep => {
                TrialVerdict::Confirm(Some(limit.cause()))
            }
            Verdict::Fail(limit) => TrialVerdict::RollBack(limit.cause()),
        }
    }

    /// Delays the next check: its confirmation could not be written.
    pub(super) fn postpone(&mut self) {
        let due = self.clock.now() + WRITE_RETRY;
        if let Some(probation) = &mut self.probation {
            probation.due = due;
        }
    }

    /// Ends the probation, and returns what was on trial.
    pub(super) fn end(&mut self) -> Option<Subject> {
        Some(self.probation.take()?.subject)
    }

    /// Adds the trial to the view.
    pub(super) fn show(&self, view: &mut DeployView) {
        view.probation_since = self.probation.as_ref().map(|probation| probation.since);
        view.judged = self.judged().cloned();
        if let (Some(trial), Some(probation)) = (&mut view.slots.trial, &self.probation) {
            trial.wanted_samples = probation.gate.min_samples;
            trial.wanted_seconds = probation.gate.min_seconds;
        }
    }

    /// Starts a shadow, and returns the way to it.
    pub(super) fn open_shadow(
        &mut self,
        pipeline: &Arc<Pipeline>,
        shadow: &Shadow,
        device: Device,
        parts: &Supervisor,
    ) -> io::Result<Arc<ShadowMirror>> {
        let (mirror, score) = ShadowMirror::open(pipeline, shadow.share, device, parts)?;
        self.shadow = Some(score);
        Ok(mirror)
    }

    /// The shadow's comparisons so far; none without a shadow.
    pub(super) fn compared(&self) -> Comparison {
        self.shadow
            .as_ref()
            .map_or_else(Comparison::default, |score| score.compared())
    }

    /// Ends the shadow.
    pub(super) fn close_shadow(&mut self) {
        if let Some(score) = self.shadow.take() {
            let (samples, skipped) = (score.compared().samples, score.skipped());
            tracing::info!(samples, skipped, "the shadow has ended");
        }
    }
}
