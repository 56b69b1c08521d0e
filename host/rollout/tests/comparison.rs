//! What a comparison by device does to a rollout.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Keys, at, plan};
use hotshoe_rollout::{
    Action, Arm, ArmFigures, Cell, Command, Compare, Control, Count, Fleet, Health, SignedPlan,
    State, step,
};

/// A plan that compares in stage 0, and aborts.
fn compared() -> SignedPlan {
    let mut plan = plan();
    plan.compare = Some(Compare {
        metric: "mean(lines.*.score)".to_owned(),
        through_stage: 0,
        alpha_ppm: 50_000,
    });
    Keys::new().plan(&plan)
}

/// A site of ten devices that confirmed the release, and the means of both arms after so many samples.
fn heard(plan: &SignedPlan, samples: u64, [new, kept]: [u64; 2], open: u64) -> Fleet {
    let cell = |state, devices, open| Cell {
        stage: 0,
        state,
        cause: String::new(),
        class: "jetson".to_owned(),
        open,
        devices,
        health: Health::default(),
        baseline: Health::default(),
    };
    let mut cells = vec![cell(State::Confirmed, 10, false)];
    if open > 0 {
        cells.push(cell(State::Trial, open, true));
    }
    let arm = |mean_ppm| ArmFigures {
        samples,
        sum_ppm: samples * mean_ppm,
    };
    let count = Count {
        plan: plan.digest(),
        site: "site-0".to_owned(),
        registry: "registry".to_owned(),
        number: 1,
        at: at(700),
        stage: 0,
        cells,
        arms: [(Arm::New, arm(new)), (Arm::Kept, arm(kept))].into(),
    };
    let mut fleet = Fleet::default();
    fleet.hear(plan, count, at(700)).unwrap();
    fleet
}

/// The command that a controller states after the watch time, with its cause.
fn stated(plan: &SignedPlan, fleet: &Fleet, seconds: u64) -> Option<(&'static str, String)> {
    match step(plan, &Control::default(), fleet, at(seconds)) {
        Action::Wait => None,
        Action::State(statement) => {
            let cause = statement.command.cause();
            let cause = cause.map_or_else(String::new, |cause| cause.name.clone());
            Some((statement.command.as_str(), cause))
        }
        Action::End(end) => panic!("{end:?}"),
    }
}

#[test]
fn a_better_arm_lets_the_stage_pass_and_a_worse_one_ends_the_rollout_at_once() {
    let plan = compared();
    let better = heard(&plan, 5_000, [700_000, 500_000], 0);
    let next = Some((Command::Advance {}.as_str(), String::new()));
    assert_eq!(stated(&plan, &better, 700), next);
    let abort = Some(("abort", "comparison_worse".to_owned()));
    let worse = heard(&plan, 5_000, [500_000, 700_000], 0);
    assert_eq!(stated(&plan, &worse, 700), abort);
    // Devices that are still on their way do not change that.
    let worse = heard(&plan, 5_000, [500_000, 700_000], 3);
    assert_eq!(stated(&plan, &worse, 700), abort);
}

#[test]
fn an_unknown_difference_is_waited_for_until_the_deadline_of_the_stage() {
    let plan = compared();
    let unknown = heard(&plan, 50, [700_000, 500_000], 0);
    assert_eq!(stated(&plan, &unknown, 700), None);
    let after = plan.stage_deadline_s(0) + 1;
    let pause = Some(("pause", "not_enough_evidence".to_owned()));
    assert_eq!(stated(&plan, &unknown, after), pause);
}
