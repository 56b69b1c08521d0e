//! Whole rollouts of simulated fleets, decided by the functions that devices, registries and controllers call.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use hotshoe_rollout::{Command, End};
use hotshoe_simulator::{Faults, Figures, Settings, World};
use hotshoe_store::{Cause, Phase};

const DEVICES: usize = 10_000;
const SITES: usize = 50;
const DAY: Duration = Duration::from_secs(24 * 3_600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Ten thousand devices, each stage watched for 10 minutes.
fn settings(seed: u64) -> Settings {
    Settings {
        watch_s: 600,
        ..Settings::new(DEVICES, SITES, seed)
    }
}

#[test]
fn a_good_release_reaches_ten_thousand_devices_but_those_that_are_off() {
    let faults = Faults {
        off_permille: 50,
        cut_permille: 10,
        ..Faults::default()
    };
    let settings = Settings {
        faults,
        ..settings(1)
    };
    let mut world = World::new(settings).unwrap();
    assert_eq!(world.run(DAY).unwrap(), Some(End::Done));
    assert!(world.reachable() < DEVICES);
    // A trial that power cuts end too often goes back.
    let (live, back) = (
        world.in_phase(Phase::Live),
        world.in_phase(Phase::RolledBack),
    );
    assert_eq!(live + back, world.reachable());
    assert!(
        live * 1_000 >= world.reachable() * 999,
        "{live} live, {back} went back"
    );
    assert_eq!(world.touched(), world.reachable());
}

#[test]
fn a_bad_release_stops_by_itself_at_one_percent() {
    let faults = Faults {
        bad_permille: 1_000,
        ..Faults::default()
    };
    let settings = Settings {
        faults,
        ..settings(2)
    };
    let mut world = World::new(settings).unwrap();
    let Some(End::Aborted(cause)) = world.run(DAY).unwrap() else {
        panic!("the rollout was not aborted");
    };
    assert_eq!(cause.name, "failed_share");
    let touched = world.touched();
    // The three first devices, and at most 1.5% of all.
    assert!((4..=150).contains(&touched), "{touched} devices");
    world.run_for(Duration::from_secs(3_600)).unwrap();
    assert_eq!(world.touched(), touched);
    assert_eq!(world.in_phase(Phase::Trial), 0);
}

#[test]
fn a_registry_and_its_controllers_have_at_most_four_messages_with_news_in_a_stage() {
    let settings = Settings::new(2_000, 20, 10);
    // Before them is the stage of the first devices.
    let stages = (settings.shares_ppm.len() + 1) * settings.sites;
    let mut world = World::new(settings).unwrap();
    assert_eq!(world.run(DAY).unwrap(), Some(End::Done));
    let figures = world.figures();
    let news = figures.counts_with_news + figures.statements;
    assert!(
        news <= 4 * stages as u64,
        "{news} in {stages} stages of sites"
    );
    // The rest says that the site is there.
    assert!(figures.counts > figures.counts_with_news);
}

#[test]
fn a_reversal_takes_ninety_nine_of_a_hundred_devices_back_within_seconds() {
    let mut world = World::new(settings(3)).unwrap();
    assert_eq!(world.run(DAY).unwrap(), Some(End::Done));
    let said_ms = world.now_ms();
    world.say(world.reversal()).unwrap();
    world.run_for(Duration::from_secs(600)).unwrap();
    let times = world.went_back_ms();
    assert_eq!(times.len(), DEVICES);
    let most_ms = times[DEVICES * 99 / 100 - 1] - said_ms;
    // 5 s, and the longest swap.
    assert!(most_ms <= 5_500, "{most_ms} ms");
    assert_eq!(world.in_phase(Phase::RolledBack), DEVICES);
}

#[test]
fn a_rollout_ends_with_a_cause_though_sites_go_dark_and_controllers_die() {
    for (seed, dark_permille) in [(4, 100), (5, 500), (6, 1_000)] {
        let faults = Faults {
            dark_permille,
            dies_permille: 100,
            off_permille: 50,
            bad_permille: 5,
            ..Faults::default()
        };
        let settings = Settings {
            faults,
            ..Settings::new(400, 20, seed)
        };
        let mut world = World::new(settings).unwrap();
        match world.run(WEEK).unwrap() {
            Some(End::Done) => {}
            Some(End::Paused(cause) | End::Aborted(cause) | End::Reversed(cause)) => {
                assert!(!cause.name.is_empty());
            }
            None => panic!("no end by seed {seed}"),
        }
    }
}

#[test]
fn no_device_begins_after_an_abort_and_trials_end() {
    let mut world = World::new(Settings::new(1_000, 10, 7)).unwrap();
    world.run_for(Duration::from_secs(2 * 3_600)).unwrap();
    let cause = Cause::new("ordered", "by an operator");
    world.say(Command::Abort { cause }).unwrap();
    world.run_for(Duration::from_secs(300)).unwrap();
    let touched = world.touched();
    assert!(touched < 1_000, "{touched} devices");
    world.run_for(DAY).unwrap();
    assert_eq!(world.touched(), touched);
    let ended = [Phase::Absent, Phase::Live, Phase::RolledBack];
    let ended: usize = ended.into_iter().map(|phase| world.in_phase(phase)).sum();
    assert_eq!(ended, 1_000);
}

#[test]
fn the_same_seed_gives_the_same_rollout() {
    let run = |seed| -> (Option<End>, u64, Figures) {
        let faults = Faults {
            off_permille: 50,
            bad_permille: 5,
            dies_permille: 20,
            ..Faults::default()
        };
        let settings = Settings {
            faults,
            ..Settings::new(300, 5, seed)
        };
        let mut world = World::new(settings).unwrap();
        let end = world.run(WEEK).unwrap();
        (end, world.now_ms(), world.figures())
    };
    assert_eq!(run(8), run(8));
    assert_ne!(run(8).2, run(9).2);
}
