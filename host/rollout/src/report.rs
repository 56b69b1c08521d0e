//! What a device says about a rollout, and what its registry concludes.

use hotshoe_trust::{Digest, Time};
use serde::{Deserialize, Serialize};

use crate::{
    checks::check_text,
    control::Control,
    health::Health,
    plan::Plan,
    share::Placement,
    signed::SignedPlan,
    state::State,
    times::{after, seconds_between},
    verdict::ArmFigures,
};

/// The report of a device about a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The digest of the plan.
    pub plan: Digest,
    /// Its number, which grows with each report of the device, over restarts too: an older report is ignored.
    pub number: u64,
    /// The state of the device. A device does not report `silent`.
    pub state: State,
    /// The stable name of the cause; empty without one.
    #[serde(default)]
    pub cause: String,
    /// How the release serves.
    #[serde(default)]
    pub health: Health,
    /// How the previous release served in the same mode.
    #[serde(default)]
    pub baseline: Health,
    /// The metric of the comparison: one value at most. The first one that a registry hears stands.
    #[serde(default)]
    pub metric: ArmFigures,
}

impl Report {
    fn is_valid(&self) -> bool {
        let is_name = self.cause.is_empty() || check_text("cause", &self.cause).is_ok();
        self.state != State::Silent
            && is_name
            && self.health.is_valid()
            && self.baseline.is_valid()
            // A device counts once, whatever it claims.
            && self.metric.samples <= 1
            && self.metric.is_valid()
    }
}

/// What a registry knows of one device. All times are by the registry's clock: a device's clock may be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    pub(crate) placement: Placement,
    pub(crate) class: String,
    state: State,
    cause: String,
    since: Time,
    seen: Time,
    number: u64,
    pub(crate) health: Health,
    pub(crate) baseline: Health,
    pub(crate) metric: ArmFigures,
}

/// The state of a device with what its registry concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concluded<'t> {
    /// The state.
    pub state: State,
    /// The stable name of the cause; empty without one.
    pub cause: &'t str,
    /// Whether it may still change within its deadline.
    pub is_open: bool,
}

impl Tracked {
    /// A device that has not reported about the rollout. `seen` is when it was last heard of, `class` its hardware class.
    pub fn new(placement: Placement, class: String, seen: Time) -> Self {
        Self {
            placement,
            class: checked_class(class),
            state: State::Waiting,
            cause: String::new(),
            since: seen,
            seen,
            number: 0,
            health: Health::default(),
            baseline: Health::default(),
            metric: ArmFigures::default(),
        }
    }

    /// Whether it has this hardware class.
    pub(crate) fn is_of_class(&self, class: &str) -> bool {
        self.class == class
    }

    /// The same device with another hardware class.
    pub(crate) fn of_class(&self, class: &str) -> Self {
        Self {
            class: checked_class(class.to_owned()),
            ..self.clone()
        }
    }

    /// The state that it reported last, with the cause.
    pub(crate) fn stated(&self) -> (State, String) {
        (self.state, self.cause.clone())
    }

    /// Takes a report that the device signed; `false` if it is not valid, old or for another plan, and changes nothing.
    pub fn hear(&mut self, plan: &SignedPlan, report: Report, now: Time) -> bool {
        let is_old = report.number <= self.number;
        if report.plan != plan.digest() || is_old || !report.is_valid() {
            return false;
        }
        self.see(plan, now);
        // A repeated report does not begin its state again.
        if report.state != self.state {
            self.since = now;
        }
        self.number = report.number;
        self.state = report.state;
        self.cause = report.cause;
        self.health = report.health;
        self.baseline = report.baseline;
        // The looks of a controller are valid only if values do not change.
        if self.metric.samples == 0 {
            self.metric = report.metric;
        }
        true
    }

    /// The device was heard of, without a report about the rollout.
    pub fn see(&mut self, plan: &Plan, now: Time) {
        // Its deadlines do not run while it is off: it was counted as silent.
        if seconds_between(self.seen, now) > plan.deadlines.silent_s {
            self.since = now;
        }
        self.seen = self.seen.max(now);
    }

    /// The state by `now`: silent without a report, failed beyond a deadline. `None` while the rollout has not reached the device.
    pub fn conclude(&self, plan: &Plan, control: &Control, now: Time) -> Option<Concluded<'_>> {
        let stage = self.placement.takes_at(plan)?;
        if stage > control.stage() {
            return None;
        }
        let reported = |state, cause, is_open| Concluded {
            state,
            cause,
            is_open,
        };
        if self.state.is_end() {
            return Some(reported(self.state, self.cause.as_str(), false));
        }
        let deadlines = &plan.deadlines;
        let began = control.began(plan, stage);
        if seconds_between(self.seen.max(began), now) > deadlines.silent_s {
            return Some(reported(State::Silent, "no_report", false));
        }
        let (limit_s, overdue) = match self.state {
            State::Fetching => (deadlines.fetching_s, "deadline_fetching"),
            State::Proving => (deadlines.proving_s, "deadline_proving"),
            State::Trial => (deadlines.trial_s, "deadline_trial"),
            State::Deferred => (deadlines.deferred_s, "deadline_deferred"),
            _ => (deadlines.waiting_s, "deadline_waiting"),
        };
        let since = match self.state {
            State::Waiting => self.since.max(after(began, self.placement.starts_after_s)),
            State::Deferred => self.since.max(began),
            _ => self.since,
        };
        if seconds_between(since, now) <= limit_s {
            return Some(reported(self.state, self.cause.as_str(), true));
        }
        // A device that puts itself off has not failed.
        let state = match self.state {
            State::Deferred => State::Deferred,
            _ => State::Failed,
        };
        Some(reported(state, overdue, false))
    }
}

/// A bad name of one device must not make the count of its site invalid.
fn checked_class(class: String) -> String {
    match check_text("class", &class) {
        Ok(()) => class,
        Err(_) => "other".to_owned(),
    }
}
