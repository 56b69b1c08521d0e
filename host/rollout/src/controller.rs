//! The step of a controller: a function of the plan, the statements and the counts, so that a controller may die at any moment and
//! several do no harm.

use hotshoe_store::Cause;
use hotshoe_trust::Time;

use crate::{
    comparison::{Comparison, judge},
    control::{Control, Directive},
    fleet::Fleet,
    gate::Outcome,
    plan::OnFailure,
    signed::SignedPlan,
    statement::{Command, RolloutStatement},
    times::seconds_between,
    verdict::Verdict,
};

/// What a controller does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It waits for counts, or for the watch time.
    Wait,
    /// It signs and publishes this statement.
    State(RolloutStatement),
    /// Nothing: the rollout has ended, or waits for an operator.
    End(End),
}

/// How a rollout ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// All stages passed.
    Done,
    /// It waits for an operator.
    Paused(Cause),
    /// It was aborted.
    Aborted(Cause),
    /// Devices go back.
    Reversed(Cause),
}

/// The next action of a controller. Every stage has a deadline, so that each rollout ends with a cause.
pub fn step(plan: &SignedPlan, control: &Control, fleet: &Fleet, now: Time) -> Action {
    match control.directive() {
        Directive::Reverse(cause) => return Action::End(End::Reversed(cause.clone())),
        Directive::Abort(cause) => return Action::End(End::Aborted(cause.clone())),
        Directive::Pause(cause) => return Action::End(End::Paused(cause.clone())),
        Directive::Run => {}
    }
    let stage = control.stage();
    let Some(current) = plan.stage(stage) else {
        let cause = Cause::new("no_such_stage", format!("the plan has no stage {stage}"));
        return state(plan, control, stage, Command::Pause { cause }, now);
    };
    let elapsed_s = seconds_between(control.began(plan, stage), now);
    let is_over = elapsed_s > plan.stage_deadline_s(stage) || now >= plan.expires;
    let figures = fleet.figures(plan, stage, now);
    let outcome = match current.gate.judge(&figures, is_over) {
        // A worse arm is a failure at any look; the others are waited for where the gate has passed.
        Outcome::Open => match compared(plan, fleet, stage, is_over) {
            worse @ Outcome::Fail(_) => worse,
            _ => Outcome::Open,
        },
        Outcome::Pass => compared(plan, fleet, stage, is_over),
        other => other,
    };
    let command = match outcome {
        Outcome::Fail(cause) => match plan.on_failure {
            OnFailure::Pause => Command::Pause { cause },
            OnFailure::Abort => Command::Abort { cause },
        },
        Outcome::NotEnough(cause) => Command::Pause { cause },
        Outcome::Open => return Action::Wait,
        Outcome::Pass if elapsed_s < current.watch_s && now < plan.expires => return Action::Wait,
        Outcome::Pass if stage == plan.last_stage() => return Action::End(End::Done),
        Outcome::Pass if now >= plan.expires => Command::Pause {
            cause: Cause::new("plan_expired", "sign a new plan for the stages that remain"),
        },
        Outcome::Pass if plan.approve_between => Command::Pause {
            cause: Cause::new("approval_needed", format!("stage {stage} passed its gate")),
        },
        Outcome::Pass => {
            let next = stage.saturating_add(1);
            return state(plan, control, next, Command::Advance {}, now);
        }
    };
    state(plan, control, stage, command, now)
}

/// What the comparison by device says, through its last stage.
fn compared(plan: &SignedPlan, fleet: &Fleet, stage: u32, is_over: bool) -> Outcome {
    let comparison = plan.compare.as_ref();
    let Some(comparison) = comparison.filter(|it| stage <= it.through_stage) else {
        return Outcome::Pass;
    };
    match judge(comparison, fleet) {
        Verdict::Better => Outcome::Pass,
        Verdict::Worse => {
            let metric = &comparison.metric;
            let message = format!("`{metric}` is lower than that of the previous release");
            Outcome::Fail(Cause::new("comparison_worse", message))
        }
        Verdict::NotKnown { .. } if stage < comparison.through_stage => Outcome::Pass,
        Verdict::NotKnown { .. } if !is_over => Outcome::Open,
        Verdict::NotKnown { .. } => {
            let more = match Comparison::of(comparison, fleet).needed {
                Some(more) => format!(
                    "{more} more devices of each arm, {} samples each",
                    comparison.samples
                ),
                None => "more devices: both arms are alike".to_owned(),
            };
            let message = format!("the comparison needs {more}");
            Outcome::NotEnough(Cause::new("not_enough_evidence", message))
        }
    }
}

fn state(plan: &SignedPlan, control: &Control, stage: u32, command: Command, now: Time) -> Action {
    Action::State(RolloutStatement {
        plan: plan.digest(),
        number: control.next_number(),
        stage,
        command,
        issued: now,
    })
}
