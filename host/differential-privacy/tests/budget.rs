//! The budget of a day is not exceeded by restarts, power cuts, full disks or clocks that are set.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::VirtualClock;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_differential_privacy::{
    BUDGET_FILE, Boot, Budget, BudgetError, DAY, Definition, Epsilon, Kind, PublishError, Window,
    publish,
};

use common::seeded;

const LIMIT: u64 = 1_000_000;
const PART: u64 = 300_000;

fn epsilon(millionths: u64) -> Epsilon {
    Epsilon::from_millionths(millionths).unwrap()
}

fn boot(id: &str, uptime: Duration) -> Boot {
    Boot {
        id: id.to_owned(),
        uptime,
    }
}

/// A time of day in 2026.
fn virtual_clock() -> VirtualClock {
    VirtualClock::at(UNIX_EPOCH + Duration::from_secs(1_790_000_000))
}

fn open(folder: &Path, time: &VirtualClock, boot: Boot) -> Budget {
    open_with(folder, time, boot, Faults::never()).unwrap()
}

fn open_with(
    folder: &Path,
    time: &VirtualClock,
    boot: Boot,
    faults: Faults,
) -> Result<Budget, BudgetError> {
    let limit = epsilon(LIMIT);
    Budget::open(folder, Disk::new(faults), time.clock(), boot, limit)
}

/// Spends parts until none is left, and says how many were.
fn spend_all(budget: &mut Budget) -> u64 {
    let mut spent = 0;
    while budget.spend(epsilon(PART)).is_ok() {
        spent += 1;
    }
    spent
}

#[test]
fn a_restart_gives_nothing_and_a_day_of_running_gives_a_new_budget() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let mut budget = open(folder.path(), &time, boot("one", Duration::ZERO));
    assert_eq!(spend_all(&mut budget), 3);
    assert_eq!(budget.left_millionths(), LIMIT - 3 * PART);
    let error = budget.spend(epsilon(PART)).unwrap_err();
    assert_eq!(error.name(), "privacy_budget_exhausted");
    let text = error.to_string();
    assert!(
        text.contains("0.300000") && text.contains("0.100000"),
        "{text}"
    );
    assert!(
        matches!(error, BudgetError::Exhausted { next_day, .. } if next_day == DAY),
        "{text}"
    );
    drop(budget);
    let mut budget = open(folder.path(), &time, boot("one", Duration::ZERO));
    assert_eq!(spend_all(&mut budget), 0);
    time.advance(DAY - Duration::from_secs(1));
    assert_eq!(spend_all(&mut budget), 0);
    time.advance(Duration::from_secs(1));
    assert_eq!(budget.left_millionths(), LIMIT);
    assert_eq!(spend_all(&mut budget), 3);
}

#[test]
fn a_day_whose_past_is_not_known_counts_as_spent_whatever_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let disk = Disk::new(Faults::never());
    // Twice: a restore that broke off is done again.
    for _ in 0..2 {
        Budget::spend_all(folder.path(), &disk).unwrap();
        let mut budget = open(folder.path(), &time, boot("one", Duration::ZERO));
        assert_eq!((budget.left_millionths(), spend_all(&mut budget)), (0, 0));
    }
    let mut budget = open(folder.path(), &time, boot("one", Duration::ZERO));
    time.advance(DAY);
    assert_eq!(spend_all(&mut budget), 3);
}

#[test]
fn a_clock_that_is_set_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let mut budget = open(folder.path(), &time, boot("one", Duration::ZERO));
    assert_eq!(spend_all(&mut budget), 3);
    for seconds in [0, 1_790_000_000 + 10 * 86_400, 4_000_000_000, 1] {
        time.set_wall(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(spend_all(&mut budget), 0);
        // Also over a restart of the program, and over one of the machine.
        for id in ["one", "two", ""] {
            let mut again = open(folder.path(), &time, boot(id, Duration::ZERO));
            assert_eq!(spend_all(&mut again), 0, "{seconds} {id}");
        }
    }
}

#[test]
fn between_two_processes_only_the_uptime_of_one_boot_counts() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let at = |id: &str, uptime: Duration| open(folder.path(), &time, boot(id, uptime));
    assert_eq!(spend_all(&mut at("one", Duration::ZERO)), 3);
    let nearly = DAY - Duration::from_secs(1);
    assert_eq!(spend_all(&mut at("two", 10 * DAY)), 0);
    // The refusal did not store another boot: no time had passed.
    assert_eq!(spend_all(&mut at("one", nearly)), 0);
    // That one stored its time, of a whole day but a second.
    assert_eq!(spend_all(&mut at("one", DAY)), 3);
}

#[test]
fn the_time_of_refusals_is_kept_over_restarts_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let mut budget = open(folder.path(), &time, boot("0", Duration::ZERO));
    assert_eq!(spend_all(&mut budget), 3);
    // Each start of the machine runs for six hours, and tries every hour.
    for start in 1..=4 {
        let id = start.to_string();
        let mut budget = open(folder.path(), &time, boot(&id, Duration::ZERO));
        for hour in 1..=6 {
            assert_eq!(spend_all(&mut budget), 0, "{start} {hour}");
            if (start, hour) != (4, 6) {
                time.advance(Duration::from_secs(3_600));
            }
        }
        if start < 4 {
            assert_eq!(spend_all(&mut budget), 0);
        }
    }
    let mut budget = open(folder.path(), &time, boot("5", Duration::ZERO));
    time.advance(Duration::from_secs(3_600));
    assert_eq!(spend_all(&mut budget), 3);
}

#[test]
fn a_fault_at_any_step_of_a_write_never_gives_more() {
    let kinds: [fn(u64) -> Faults; 4] = [
        Faults::after,
        Faults::full_after,
        Faults::read_only_after,
        Faults::broken_after,
    ];
    for kind in kinds {
        for steps in 0..30 {
            let folder = tempfile::tempdir().unwrap();
            let time = virtual_clock();
            let start = boot("one", Duration::ZERO);
            let mut budget = open_with(folder.path(), &time, start.clone(), kind(steps)).unwrap();
            let mut used = 0;
            for _ in 0..5 {
                used += u64::from(budget.spend(epsilon(PART)).is_ok());
            }
            drop(budget);
            let mut budget = open(folder.path(), &time, start);
            let left = budget.left_millionths();
            assert!(left <= LIMIT - used * PART, "after {steps} steps");
            used += spend_all(&mut budget);
            assert!(used <= 3, "after {steps} steps");
        }
    }
}

#[test]
fn a_write_that_failed_counts_as_spent() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let faults = Faults::read_only_after(0);
    let start = boot("one", Duration::ZERO);
    let mut budget = open_with(folder.path(), &time, start, faults.clone()).unwrap();
    let error = budget.spend(epsilon(PART)).unwrap_err();
    assert_eq!(error.name(), "privacy_budget_io");
    assert_eq!(budget.left_millionths(), LIMIT - PART);
    faults.end();
    assert_eq!(spend_all(&mut budget), 2);
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let start = boot("one", Duration::from_secs(7));
    let mut budget = open(folder.path(), &time, start.clone());
    budget.spend(epsilon(PART)).unwrap();
    let path = folder.path().join(BUDGET_FILE);
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        *changed.get_mut(bit / 8).unwrap() ^= 1 << (bit % 8);
        fs::write(&path, changed).unwrap();
        let error = open_with(folder.path(), &time, start.clone(), Faults::never()).unwrap_err();
        let name = error.name();
        assert!(
            ["privacy_budget_damaged", "newer_format"].contains(&name),
            "bit {bit}: {name}"
        );
    }
    for cut in 0..whole.len() {
        fs::write(&path, whole.get(..cut).unwrap()).unwrap();
        let error = open_with(folder.path(), &time, start.clone(), Faults::never()).unwrap_err();
        assert_eq!(error.name(), "privacy_budget_damaged", "{cut} bytes");
    }
}

#[test]
fn figures_are_published_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let mut budget = open(folder.path(), &time, boot("one", Duration::ZERO));
    let mut noise = seeded(1);
    let windows = |count: usize, each: u64| -> Vec<Window> {
        let definition = Definition::new("persons", Kind::Count, 1, epsilon(each)).unwrap();
        (0..count)
            .map(|_| Window::new(definition.clone()))
            .collect()
    };
    let published = publish(windows(2, PART), &mut budget, &mut noise).unwrap();
    assert_eq!(published.len(), 2);
    assert_eq!(budget.left_millionths(), LIMIT - 2 * PART);
    let error = publish(windows(2, PART), &mut budget, &mut noise).unwrap_err();
    assert_eq!(error.name(), "privacy_budget_exhausted");
    assert_eq!(budget.left_millionths(), LIMIT - 2 * PART);
    let error = publish(windows(2, 10_000_000), &mut budget, &mut noise).unwrap_err();
    assert!(matches!(error, PublishError::Cost(_)), "{error}");
    assert!(
        publish(Vec::new(), &mut budget, &mut noise)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn all_of_a_day_is_spent_at_any_limit_again_and_again_and_of_a_damaged_file() {
    let folder = tempfile::tempdir().unwrap();
    let time = virtual_clock();
    let disk = Disk::new(Faults::never());
    for _ in 0..2 {
        Budget::spend_all(folder.path(), &disk).unwrap();
    }
    fs::write(folder.path().join(BUDGET_FILE), b"{}").unwrap();
    Budget::spend_all(folder.path(), &disk).unwrap();
    let greatest = epsilon(10_000_000);
    let boot = boot("one", Duration::ZERO);
    let mut budget = Budget::open(folder.path(), disk, time.clock(), boot, greatest).unwrap();
    assert_eq!(budget.left_millionths(), 0);
    let error = budget.spend(epsilon(1)).unwrap_err();
    assert_eq!(error.name(), "privacy_budget_exhausted");
    // A day of running later.
    time.advance(DAY);
    budget.spend(greatest).unwrap();
}
