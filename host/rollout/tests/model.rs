//! A model check of rollouts. From each point of a rollout, every order of a few events is tried: devices, registries and controllers that
//! work, crash or fall silent, and messages that are late, lost, repeated or old. From each state that this reaches, the rollout ends.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;
#[path = "common/model.rs"]
mod small_fleet;

use std::collections::BTreeSet;

use common::cause;
use hotshoe_rollout::{Command, End};
use hotshoe_store::Phase;
use hotshoe_trust::Digest;
use small_fleet::{Event, Model, World};

fn key(model: &Model) -> Digest {
    Digest::of(format!("{model:?}").as_bytes())
}

/// All states that up to `depth` events lead to, each once.
fn reachable(world: &World, starts: Vec<Model>, depth: usize) -> Vec<Model> {
    let mut known: BTreeSet<Digest> = starts.iter().map(key).collect();
    let mut all = starts.clone();
    let mut last = starts;
    for _ in 0..depth {
        let mut next = Vec::new();
        for model in &last {
            for event in model.events() {
                let mut after = model.clone();
                after.apply(world, event);
                if known.insert(key(&after)) {
                    next.push(after);
                }
            }
        }
        all.extend(next.iter().cloned());
        last = next;
    }
    all
}

/// The points of a rollout that nothing disturbs, up to its end.
fn points(world: &World, mut model: Model) -> Vec<Model> {
    let mut points = vec![model.clone()];
    while model.end(world, 0).is_none() {
        model.fair_tick(world);
        points.push(model.clone());
    }
    points
}

fn check_cause(end: &End) {
    match end {
        End::Done => {}
        End::Paused(cause) | End::Aborted(cause) | End::Reversed(cause) => {
            assert!(!cause.name.is_empty());
        }
    }
}

/// All that is alive works on: both controllers come to an end, and to the same statements.
fn ends_fairly(world: &World, model: &Model) -> End {
    let mut model = model.clone();
    for _ in 0..world.most_ticks() {
        model.fair_tick(world);
        let ends = [0, 1].map(|controller| model.end(world, controller));
        if let [Some(one), Some(other)] = ends {
            [&one, &other].into_iter().for_each(check_cause);
            // What was said last reaches all.
            (0..2).for_each(|_| model.fair_tick(world));
            assert!(model.controllers_agree(), "{model:#?}");
            let end = model.end(world, 0).unwrap();
            check_devices(&model, &end);
            return end;
        }
    }
    panic!("the rollout does not end: {model:#?}");
}

/// No device is on its way once a rollout has ended for good, and none keeps a reversed release.
fn check_devices(model: &Model, end: &End) {
    for device in model.devices.iter().filter(|device| !device.is_off) {
        let is_settled = match end {
            End::Aborted(_) => matches!(
                device.phase,
                Phase::Absent | Phase::Live | Phase::RolledBack
            ),
            End::Reversed(_) => matches!(device.phase, Phase::Absent | Phase::RolledBack),
            End::Done | End::Paused(_) => true,
        };
        assert!(is_settled, "{device:?} after {end:?}");
    }
}

/// All but one controller is silent from now on: it comes to an end too.
fn ends_in_silence(world: &World, model: &Model, controller: usize) {
    let mut model = model.clone();
    for _ in 0..world.most_ticks() {
        model.apply(world, Event::Tick);
        model.apply(world, Event::Step(controller));
        if let Some(end) = model.end(world, controller) {
            return check_cause(&end);
        }
    }
    panic!("the rollout does not end in silence: {model:#?}");
}

/// Checks all states that up to `depth` events lead to from these; the kinds of ends that are seen.
fn check(world: &World, starts: Vec<Model>, depth: usize) -> BTreeSet<&'static str> {
    let states = reachable(world, starts, depth);
    println!("{} states", states.len());
    let mut ends = BTreeSet::new();
    for model in &states {
        ends.insert(match ends_fairly(world, model) {
            End::Done => "done",
            End::Paused(_) => "paused",
            End::Aborted(_) => "aborted",
            End::Reversed(_) => "reversed",
        });
        for controller in 0..2 {
            ends_in_silence(world, model, controller);
        }
    }
    ends
}

#[test]
fn a_rollout_ends_from_every_state_of_every_order_of_events() {
    let world = World::new();
    let ends = check(&world, points(&world, Model::new(&world, None)), 3);
    assert!(
        ends.is_superset(&BTreeSet::from(["done", "paused"])),
        "{ends:?}"
    );
    assert!(!ends.contains("reversed"), "{ends:?}");
}

#[test]
fn a_bad_release_ends_from_every_state_of_every_order_of_events() {
    let world = World::new();
    let ends = check(&world, points(&world, Model::new(&world, Some(1))), 3);
    assert!(ends.contains("aborted"), "{ends:?}");
    assert!(!ends.contains("done"), "{ends:?}");
}

/// The points of an undisturbed rollout, in each of which an operator has said this.
fn points_with(world: &World, command: &Command) -> Vec<Model> {
    let mut points = points(world, Model::new(world, None));
    for point in &mut points {
        point.say(world, command.clone());
    }
    points
}

#[test]
fn an_abort_ends_every_rollout_whenever_it_arrives() {
    let world = World::new();
    let command = Command::Abort {
        cause: cause("ordered"),
    };
    let ends = check(&world, points_with(&world, &command), 2);
    assert_eq!(ends, BTreeSet::from(["aborted"]));
}

#[test]
fn a_reversal_ends_every_rollout_whenever_it_arrives() {
    let world = World::new();
    let command = Command::Reverse {
        release: world.plan.release,
        previous: world.plan.previous,
        cause: cause("ordered"),
    };
    let ends = check(&world, points_with(&world, &command), 2);
    assert_eq!(ends, BTreeSet::from(["reversed"]));
}
