//! Decides which plan is in force. No I/O and no clock: it gets the time, the figures, and what the component said.

use std::collections::BTreeSet;
use std::time::Duration;

use hotshoe_engine::{Failure, Fault};
use hotshoe_senses::{
    DefaultPlan, Ladder, LadderLimits, Moment, Plan, Rest, SignedModes, Thresholds, Waiting, Wish,
};

/// Who makes the device's own plan.
const DEFAULT: &str = "default";
/// Who makes the plan of a release.
const COMPONENT: &str = "component";

/// What a step depends on beside the figures.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How seldom the plan in force changes.
    pub limits: LadderLimits,
    /// The modes of the serving release.
    pub modes: SignedModes,
    /// The outputs that the operator allows.
    pub outputs: BTreeSet<String>,
    /// Whether a plan may hibernate the device.
    pub may_hibernate: bool,
}

/// Keeps what is in force.
#[derive(Debug, Default)]
pub struct Decider {
    ladder: Ladder,
    own: DefaultPlan,
    thresholds: Thresholds,
    /// What others wish, whoever makes the plan.
    others: Vec<Wish>,
    failure: Option<Failure>,
    is_own: bool,
    changes: u64,
    refused: u64,
    mode_since: Duration,
}

/// What a step did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decided {
    /// The plan that was in force before, if another one is now.
    pub before: Option<Plan>,
    /// What the wished plan waits for.
    pub waits: Option<Waiting>,
    /// The component fails, in a way that it did not in the step before.
    pub failed: Option<Failure>,
    /// The component works again.
    pub has_recovered: bool,
}

impl Decider {
    /// The plan in force.
    pub fn in_force(&self) -> &Plan {
        self.ladder.in_force()
    }

    /// Who made the last plan: `component` or `default`.
    pub const fn by(&self) -> &'static str {
        if self.is_own { DEFAULT } else { COMPONENT }
    }

    /// Why the device's own plan stands in for that of the component.
    pub const fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Changes of the plan in force since the start.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Plans of components that were refused since the start.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Since when the mode has been in force.
    pub const fn mode_since(&self) -> Duration {
        self.mode_since
    }

    /// Another release serves, with other modes and another governor. A mode that it does not have is no longer in force.
    pub fn follow_release(&mut self, modes: &SignedModes, at: Duration) {
        let before = self.in_force().mode.clone();
        self.ladder = std::mem::take(&mut self.ladder).for_release(modes);
        self.failure = None;
        if self.in_force().mode != before {
            self.mode_since = at;
        }
    }

    /// Sets what others than the governor wish. The strictest of all wishes applies.
    pub fn others_wish(&mut self, wishes: Vec<Wish>) {
        self.others = wishes;
    }

    /// One step. `called` is what the governor of the release returned, and `None` without one. The device's own plan is made each time, so
    /// that it knows the present when it stands in.
    pub fn step(
        &mut self,
        rules: &Rules,
        called: Option<Result<Plan, Failure>>,
        moment: &Moment,
        at: Duration,
    ) -> Decided {
        let own = std::mem::take(&mut self.own);
        let (own, own_plan) = own.next(&self.thresholds, &rules.modes, moment, at);
        self.own = own;
        let checked = called.map(|made| {
            let plan = made?;
            let defect = plan.check(&rules.modes).err();
            defect.map_or(Ok(plan), |error| {
                Err(Failure::of(Fault::InvalidPlan, &error))
            })
        });
        let mut decided = Decided::default();
        let plan = match checked {
            Some(Ok(plan)) => {
                decided.has_recovered = self.failure.take().is_some();
                self.is_own = false;
                plan
            }
            Some(Err(failure)) => {
                self.refused += u64::from(is_refusal(&failure));
                let is_known = self.failure.as_ref().map(|it| it.fault) == Some(failure.fault);
                decided.failed = (!is_known).then(|| failure.clone());
                self.failure = Some(failure);
                self.is_own = true;
                own_plan
            }
            None => {
                self.failure = None;
                self.is_own = true;
                own_plan
            }
        };
        let own = Wish {
            from: self.by().to_owned(),
            plan: allowed(plan, rules),
        };
        let mut wishes = vec![own];
        wishes.extend_from_slice(&self.others);
        let before = self.in_force().clone();
        let ladder = std::mem::take(&mut self.ladder);
        let (ladder, decision) = ladder.step(&rules.limits, &rules.modes, &wishes, at);
        self.ladder = ladder;
        decided.waits = decision.waits;
        if decision.has_changed {
            self.changes += 1;
            if mode_of(&before) != mode_of(self.in_force()) {
                self.mode_since = at;
            }
            decided.before = Some(before);
        }
        decided
    }
}

/// Whether a failure is a refused plan, and not a call without a plan.
pub const fn is_refusal(failure: &Failure) -> bool {
    matches!(failure.fault, Fault::UnsignedMode | Fault::InvalidPlan)
}

/// What the operator allows of a plan: the outputs that have a name, and to stop in place of hibernating.
fn allowed(mut plan: Plan, rules: &Rules) -> Plan {
    plan.outputs.retain(|name, _| rules.outputs.contains(name));
    if let Some(rest) = &mut plan.rest
        && rest.value == Rest::Hibernate
        && !rules.may_hibernate
    {
        rest.value = Rest::Stop;
    }
    plan
}

fn mode_of(plan: &Plan) -> Option<&str> {
    plan.mode.as_ref().map(|it| it.value.as_str())
}
