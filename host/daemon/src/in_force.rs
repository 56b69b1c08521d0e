//! The plan in force, as the intake and the workers read it. The governor's thread alone writes it; a sample loads it once.

use std::collections::BTreeSet;
use std::time::Instant;

use hotshoe_senses::{Because, Plan, Rate, Rest, SignedModes};

/// What applies to a sample. The default leaves nothing out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// The mode by name; `None` is the full one, and so is a name that the release does not have.
    pub mode: Option<String>,
    /// That of the mode and of the plan together.
    pub rate: Rate,
    /// That no sample is processed, and why.
    pub rest: Option<Because<Rest>>,
    /// When the rest ends by itself, by the monotonic clock: a clock of day that is set does not change it.
    pub rest_ends: Option<Instant>,
    /// Backends that serve only where no other one can.
    pub avoid: BTreeSet<String>,
    /// How many of the preferred variants of each model are left out.
    pub skip_variants: u32,
    /// Least time between two messages of status, in seconds.
    pub status_interval_s: Option<u32>,
    /// The plan with its reasons.
    pub plan: Plan,
}

impl Default for InForce {
    fn default() -> Self {
        Self::of(&Plan::default(), &SignedModes::default(), None)
    }
}

impl InForce {
    /// What a plan means with the modes of a release. `rest_ends` is the time of [`Rest::Until`].
    pub fn of(plan: &Plan, modes: &SignedModes, rest_ends: Option<Instant>) -> Self {
        let value = |it: &Option<Because<u32>>| it.as_ref().map(|it| it.value);
        Self {
            mode: plan.mode.as_ref().map(|it| it.value.clone()),
            rate: modes.rate(plan),
            rest: plan.rest.clone(),
            rest_ends,
            avoid: plan.avoid_backends.keys().cloned().collect(),
            skip_variants: value(&plan.skip_variants).unwrap_or(0),
            status_interval_s: value(&plan.status_interval_s),
            plan: plan.clone(),
        }
    }

    /// The reason of a rest that applies at `now`.
    pub fn rests(&self, now: Instant) -> Option<&str> {
        let rest = self.rest.as_ref()?;
        let is_over =
            matches!(rest.value, Rest::Until(_)) && self.rest_ends.is_some_and(|ends| ends <= now);
        (!is_over).then_some(rest.reason.as_str())
    }

    /// What the sender of a sample is told while the device rests.
    pub fn rest_message(&self, now: Instant) -> Option<String> {
        self.rests(now)
            .map(|why| format!("the device rests: {why}"))
    }

    /// Why the rate is what it is. Empty where all samples are processed.
    pub fn rate_reason(&self) -> String {
        let wished = self.plan.rate.as_ref().map(|it| it.reason.as_str());
        let of_mode = self.plan.mode.as_ref().map(|it| it.reason.as_str());
        match (of_mode, wished) {
            (Some(mode), Some(rate)) if mode != rate => format!("{rate}; {mode}"),
            (Some(reason), _) | (None, Some(reason)) => reason.to_owned(),
            (None, None) => String::new(),
        }
    }
}
