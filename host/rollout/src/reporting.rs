//! When a device reports about a rollout, and what.

use hotshoe_trust::{Digest, Time};

use crate::{
    health::Health, plan::Plan, report::Report, signed::SignedPlan, state::State,
    times::seconds_between, verdict::ArmFigures,
};

/// Longest time between two reports of a device, in seconds.
const MAX_INTERVAL_S: u64 = 300;

/// What a device says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Its state.
    pub state: State,
    /// The stable name of the cause; empty without one.
    pub cause: String,
    /// How the release serves.
    pub health: Health,
    /// How the previous release served in the same mode.
    pub baseline: Health,
    /// The metric of the comparison: one value at most.
    pub metric: ArmFigures,
}

impl Observed {
    /// A state without figures.
    pub fn of(state: State, cause: &str) -> Self {
        Self {
            state,
            cause: cause.to_owned(),
            health: Health::default(),
            baseline: Health::default(),
            metric: ArmFigures::default(),
        }
    }
}

/// The reports of one device about one rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reporting {
    last: Option<(Digest, State, String, Time)>,
    number: u64,
}

impl Reporting {
    /// Reports whose numbers are above those of an earlier run. `epoch` grows with each run.
    pub const fn since(epoch: u64) -> Self {
        Self {
            last: None,
            number: first_number(epoch),
        }
    }

    /// The report that is due: after a change at once, else often enough not to be silent.
    pub fn due(
        &mut self,
        plan: &SignedPlan,
        state: State,
        cause: &str,
        now: Time,
        observe: impl FnOnce() -> Observed,
    ) -> Option<Report> {
        if let Some((known, last, of, at)) = &self.last
            && *known == plan.digest()
            && *last == state
            && of == cause
            && *at <= now
            && seconds_between(*at, now) < report_interval_s(plan)
        {
            return None;
        }
        self.last = Some((plan.digest(), state, cause.to_owned(), now));
        self.number = self.number.saturating_add(1);
        let observed = observe();
        Some(Report {
            plan: plan.digest(),
            number: self.number,
            state: observed.state,
            cause: observed.cause,
            health: observed.health,
            baseline: observed.baseline,
            metric: observed.metric,
        })
    }

    /// Makes the next report due, since the last one was not sent.
    pub fn repeat(&mut self) {
        self.last = None;
    }
}

/// Longest time between two reports by a plan, in seconds: a third of the time after which a device is silent, at most 5 minutes.
pub fn report_interval_s(plan: &Plan) -> u64 {
    (plan.deadlines.silent_s / 3).clamp(1, MAX_INTERVAL_S)
}

/// The number before the first one of a run, above all numbers of earlier runs.
pub const fn first_number(epoch: u64) -> u64 {
    epoch.saturating_mul(1 << 32)
}
