//! Whole rollouts of a simulated fleet.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;
#[path = "common/simulation.rs"]
mod simulation;

use common::{cause, plan, statement};
use hotshoe_rollout::{Command, Deadlines, End, Plan};
use hotshoe_store::Phase;
use proptest::prelude::*;
use simulation::{Faults, ROUND_S, Simulation};

const FLEET: (usize, usize) = (10_000, 20);

/// The rounds in which every rollout by this plan ends: the deadlines of all stages, and for each the rounds until all have heard.
fn most_rounds(plan: &Plan) -> u64 {
    let stages = 0..=plan.last_stage();
    let seconds: u64 = stages.map(|stage| plan.stage_deadline_s(stage)).sum();
    let heard = 30 * plan.stages.len() as u64;
    plan.earliest_s(plan.last_stage()).div_ceil(ROUND_S) + seconds.div_ceil(ROUND_S) + heard
}

/// A plan whose deadlines are minutes.
fn short_plan() -> Plan {
    let mut plan = plan();
    plan.deadlines = Deadlines {
        waiting_s: 240,
        fetching_s: 240,
        proving_s: 240,
        trial_s: 240,
        deferred_s: 240,
        silent_s: 180,
    };
    for stage in &mut plan.stages {
        stage.watch_s = 60;
    }
    plan
}

#[test]
fn a_good_release_reaches_ten_thousand_devices_of_which_some_are_off() {
    let faults = Faults {
        off: 5,
        lost: 5,
        ..Faults::default()
    };
    let mut simulation = Simulation::new(&plan(), FLEET, faults, 1);
    let ends = simulation.run(1_000);
    assert_eq!(ends, Some([End::Done, End::Done]));
    for device in simulation.devices() {
        let expected = if device.is_off {
            Phase::Absent
        } else {
            Phase::Live
        };
        assert_eq!(device.phase, expected);
    }
}

#[test]
fn a_bad_release_reaches_at_most_one_and_a_half_percent() {
    let faults = Faults {
        bad: 100,
        ..Faults::default()
    };
    let mut simulation = Simulation::new(&plan(), FLEET, faults, 2);
    let [one, other] = simulation.run(1_000).unwrap();
    assert_eq!(one, other);
    let End::Aborted(cause) = one else {
        panic!("{one:?}");
    };
    assert_eq!(cause.name, "failed_share");
    let touched = simulation.touched();
    assert!((2..=150).contains(&touched), "{touched} devices");
    // Whatever follows, no device begins.
    for _ in 0..20 {
        simulation.round();
    }
    assert_eq!(simulation.touched(), touched);
}

#[test]
fn a_reversal_takes_every_device_back() {
    let mut simulation = Simulation::new(&plan(), FLEET, Faults::default(), 3);
    assert_eq!(simulation.run(1_000), Some([End::Done, End::Done]));
    let command = Command::Reverse {
        release: simulation.plan.release,
        previous: simulation.plan.previous,
        cause: cause("operator"),
    };
    let said = statement(&simulation.plan, 99, 4, command, simulation.seconds());
    let [a, b] = &simulation.keys.deployers;
    let signed = simulation
        .keys
        .statement_by(&simulation.plan, &said, &[a, b]);
    simulation.state(&signed.unwrap());
    // One round to the sites, and one to the devices.
    simulation.round();
    simulation.round();
    assert!(
        simulation
            .devices()
            .all(|device| device.phase == Phase::RolledBack)
    );
    assert!(matches!(
        simulation.run(1),
        Some([End::Reversed(_), End::Reversed(_)])
    ));
}

#[test]
fn a_fleet_that_is_silent_pauses_its_rollout_with_a_cause() {
    let faults = Faults {
        off: 100,
        ..Faults::default()
    };
    let mut simulation = Simulation::new(&short_plan(), (200, 4), faults, 4);
    let [one, _] = simulation.run(most_rounds(&short_plan())).unwrap();
    let End::Paused(cause) = one else {
        panic!("{one:?}");
    };
    assert_eq!(cause.name, "too_many_silent");
}

#[test]
fn devices_that_join_late_find_out_by_themselves() {
    let faults = Faults {
        late: 15,
        ..Faults::default()
    };
    let mut plan = short_plan();
    for stage in &mut plan.stages {
        stage.gate.max_silent_ppm = 1_000_000;
    }
    let mut simulation = Simulation::new(&plan, (400, 4), faults, 5);
    let ends = simulation.run(most_rounds(&plan));
    assert_eq!(ends, Some([End::Done, End::Done]));
    for _ in 0..40 {
        simulation.round();
    }
    assert!(
        simulation
            .devices()
            .all(|device| device.phase == Phase::Live)
    );
}

#[test]
fn the_same_seed_gives_the_same_rollout() {
    let faults = Faults {
        off: 10,
        bad: 1,
        lost: 20,
        ..Faults::default()
    };
    let run = || {
        let mut simulation = Simulation::new(&short_plan(), (300, 3), faults, 6);
        let ends = simulation.run(most_rounds(&short_plan()));
        let phases: Vec<Phase> = simulation.devices().map(|device| device.phase).collect();
        (ends, simulation.seconds(), phases)
    };
    assert_eq!(run(), run());
}

fn any_faults() -> impl Strategy<Value = Faults> {
    (
        0..=60_u64,
        0..=20_u64,
        0..=50_u64,
        0..=40_u64,
        0..=5_u64,
        0..=60_u64,
    )
        .prop_map(|(off, bad, lost, late, dies, dark)| Faults {
            off,
            bad,
            lost,
            late,
            dies,
            dark,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_rollout_ends_with_a_cause(faults in any_faults(), seed: u64, aborts: bool) {
        let mut plan = short_plan();
        if !aborts {
            plan.on_failure = hotshoe_rollout::OnFailure::Pause;
        }
        let mut simulation = Simulation::new(&plan, (60, 4), faults, seed);
        let ends = simulation.run(most_rounds(&plan));
        prop_assert!(ends.is_some(), "no end after {} s", simulation.seconds());
        for end in ends.into_iter().flatten() {
            match end {
                End::Done => {}
                End::Paused(cause) | End::Aborted(cause) | End::Reversed(cause) => {
                    prop_assert!(!cause.name.is_empty());
                }
            }
        }
    }
}
