//! Registries that lie about their counts, and devices whose clocks lie, in a simulated fleet.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use hotshoe_rollout::End;
use hotshoe_simulator::{Faults, Settings, World};
use hotshoe_store::Phase;

const DEVICES: usize = 2_000;
const SITES: usize = 20;
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
const HOUR_S: i64 = 3_600;
const YEAR_S: i64 = 365 * 24 * HOUR_S;

fn world(seed: u64, faults: Faults) -> World {
    of_size(DEVICES, seed, faults)
}

fn of_size(devices: usize, seed: u64, faults: Faults) -> World {
    let settings = Settings {
        watch_s: 600,
        faults,
        ..Settings::new(devices, SITES, seed)
    };
    World::new(settings).unwrap()
}

/// The most devices that a bad release may touch: 1.5%, and the three of the first stage, which the release does not fail on.
const MOST_TOUCHED: usize = DEVICES * 15 / 1_000 + 3;

#[test]
fn a_registry_that_lies_about_its_count_hides_no_failures_of_other_sites() {
    for seed in 20..23 {
        let mut world = world(
            seed,
            Faults {
                bad_permille: 1_000,
                lying_sites: 1,
                ..Faults::default()
            },
        );
        let Some(End::Aborted(cause)) = world.run(WEEK).unwrap() else {
            panic!("the rollout was not aborted, seed {seed}");
        };
        assert_eq!(cause.name, "failed_share");
        assert!(cause.message.contains("without site site-0"), "{cause}");
        let touched = world.touched();
        assert!((4..=MOST_TOUCHED).contains(&touched), "{touched} devices");
    }
}

#[test]
fn clocks_that_are_ahead_begin_nothing_before_its_stage() {
    let mut world = world(
        23,
        Faults {
            bad_permille: 1_000,
            wrong_clock_permille: 1_000,
            clock_ahead_s: 6 * HOUR_S,
            ..Faults::default()
        },
    );
    assert_eq!(world.wrong_clocks(), DEVICES - 3);
    assert!(matches!(world.run(WEEK).unwrap(), Some(End::Aborted(_))));
    let touched = world.touched();
    assert!((4..=MOST_TOUCHED).contains(&touched), "{touched} devices");
}

#[test]
fn devices_whose_clocks_are_a_year_off_keep_the_release_from_no_other() {
    // So many that two of them are less than 2% of the second stage, which has 1%.
    let devices = 10_000;
    for (seed, clock_ahead_s) in [(24, YEAR_S), (25, -YEAR_S)] {
        let mut world = of_size(
            devices,
            seed,
            Faults {
                wrong_clock_permille: 2,
                clock_ahead_s,
                ..Faults::default()
            },
        );
        assert!(world.wrong_clocks() > 0);
        assert_eq!(world.run(WEEK).unwrap(), Some(End::Done));
        let live = world.in_phase(Phase::Live);
        assert_eq!(live, devices - world.wrong_clocks());
    }
}
