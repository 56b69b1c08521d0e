//! What one device does about a rollout.

use hotshoe_store::Phase;
use hotshoe_trust::Time;

use crate::{
    control::{Control, Directive},
    plan::Plan,
    share::Placement,
    state::Deferral,
    times::after,
};

/// The situation of a device.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    /// The phase of the plan's release on it.
    pub phase: Phase,
    /// Why it puts a new release off now.
    pub deferral: Option<Deferral>,
    /// Whether its `previous` slot has the plan's previous release. A release enters that slot only after it was confirmed.
    pub has_previous: bool,
    /// Its clock.
    pub now: Time,
}

/// What a device does about a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing, for good.
    Nothing,
    /// It begins later: at this time if no statement comes before, or after a statement.
    Wait {
        /// When to judge again, if it is known.
        until: Option<Time>,
    },
    /// It begins now, as with a statement that deploys the release and activates it.
    Begin,
    /// It goes on.
    GoOn,
    /// It cancels the release, or ends its trial.
    Cancel,
    /// It goes back to its previous release.
    GoBack,
    /// It cannot go back: it never confirmed the plan's previous release, or does not have it any more.
    CannotGoBack,
}

/// What a device at this place does now.
pub fn judge(
    plan: &Plan,
    control: &Control,
    placement: &Placement,
    situation: &Situation,
) -> Wanted {
    let directive = control.directive();
    match (situation.phase, directive) {
        (Phase::Live, Directive::Reverse(_)) if situation.has_previous => Wanted::GoBack,
        (Phase::Live, Directive::Reverse(_)) => Wanted::CannotGoBack,
        (Phase::Live | Phase::Refused | Phase::Failed | Phase::RolledBack, _) => Wanted::Nothing,
        (Phase::Absent, Directive::Abort(_) | Directive::Reverse(_)) => Wanted::Nothing,
        (Phase::Absent, Directive::Pause(_)) => Wanted::Wait { until: None },
        (Phase::Absent, Directive::Run) => begin(plan, control, placement, situation),
        (_, Directive::Abort(_) | Directive::Reverse(_)) => Wanted::Cancel,
        (_, Directive::Run | Directive::Pause(_)) => Wanted::GoOn,
    }
}

fn begin(plan: &Plan, control: &Control, placement: &Placement, situation: &Situation) -> Wanted {
    let now = situation.now;
    let Some(stage) = placement.takes_at(plan).filter(|_| now < plan.expires) else {
        return Wanted::Nothing;
    };
    if stage > control.stage() {
        return Wanted::Wait { until: None };
    }
    let starts = after(control.began(plan, stage), placement.starts_after_s);
    if now < starts {
        return Wanted::Wait {
            until: Some(starts),
        };
    }
    match situation.deferral {
        Some(_) => Wanted::Wait { until: None },
        None => Wanted::Begin,
    }
}
