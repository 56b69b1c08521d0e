//! A year of weekly releases through a simulated fleet, with the ledgers, verification and rollouts of real devices.
#![allow(clippy::unwrap_used, reason = "tests")]

use hotshoe_simulator::{YearSettings, year};

#[test]
fn a_year_of_weekly_releases_updates_all_but_one_of_a_thousand_and_bricks_none() {
    let settings = YearSettings::new(300, 6, 11);
    let figures = year(&settings).unwrap();
    assert_eq!(figures.bricked, 0, "{figures:?}");
    assert_eq!(figures.unsigned, 0, "{figures:?}");
    assert_eq!(figures.withdrawn, 0, "{figures:?}");
    // All but the bad release of one week.
    assert_eq!(figures.done, settings.weeks - 1, "{figures:?}");
    // More than 99.9%, of those that had a day, and of all once every device is on.
    assert!(figures.updated * 1_000 > figures.due * 999, "{figures:?}");
    assert!(figures.newest * 1_000 > 300 * 999, "{figures:?}");
    // 95% are on at any time, and the year had what it is about.
    assert!((45_000..=60_000).contains(&figures.off_ppm), "{figures:?}");
    assert!(figures.cuts > 100, "{figures:?}");
    assert!(figures.attacks > 100, "{figures:?}");
}

#[test]
fn more_outages_and_power_cuts_brick_no_device_either() {
    let settings = YearSettings {
        weeks: 12,
        off_permille: 400,
        cut_permille: 200,
        ..YearSettings::new(100, 4, 12)
    };
    let figures = year(&settings).unwrap();
    assert!(figures.done < settings.weeks - 1, "{figures:?}");
    // Most rollouts stop by themselves then, so that devices that could not go back wait longer for a newer release.
    assert_eq!((figures.bricked, figures.unsigned), (0, 0), "{figures:?}");
    assert!(figures.cuts > 100, "{figures:?}");
}
