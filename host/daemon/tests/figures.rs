//! The figures that a governor decides on: windows, history and energy. Joules are checked arithmetically: no test machine has a battery.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use hotshoe_daemon::serving::figures::{
    Counts, Figures, FiguresWindow, MAX_WINDOWS, PowerFigures, Raw, RunCounts,
};
use hotshoe_daemon::serving::latency::Latencies;
use hotshoe_protocol::status::Counters;
use hotshoe_senses::{Battery, Charging, Reading, Summary, ThermalZone};
use hotshoe_trust::Digest;

/// Nothing but the time, with slots of 15 s.
fn raw(seconds: u64) -> Raw {
    Raw {
        latencies: Latencies {
            at: Duration::from_secs(seconds),
            slot: seconds / 15,
            ..Latencies::default()
        },
        ..Raw::default()
    }
}

fn accepted(seconds: u64, accepted: u64) -> Raw {
    Raw {
        counts: Counts {
            accepted,
            ..Counts::default()
        },
        ..raw(seconds)
    }
}

fn discharging(watts: f64) -> Reading {
    Reading {
        batteries: vec![Battery {
            supply: "BAT0".to_owned(),
            charge_percent: Some(40.0),
            full_wh: None,
            charging: Some(Charging::Discharging),
            watts: Some(watts),
        }],
        ..Reading::default()
    }
}

fn hot(celsius: f64) -> Reading {
    Reading {
        thermal: vec![ThermalZone {
            zone: "thermal_zone0".to_owned(),
            label: None,
            celsius,
        }],
        ..Reading::default()
    }
}

fn run(model: &str, runs: u64, faults: u64) -> RunCounts {
    RunCounts {
        model: model.to_owned(),
        variant: "fp32".to_owned(),
        backend: "tract".to_owned(),
        runs,
        faults,
        faults_in_a_row: 0,
    }
}

fn latency(micros: f64) -> Summary {
    Summary {
        count: 1,
        p50: micros,
        p95: micros,
        p99: micros,
        max: micros,
        mean: micros,
    }
}

#[test]
fn counts_are_those_of_the_tally() {
    let counters = Counters {
        accepted: 20,
        results: 8,
        skipped: 4,
        dropped: [
            ("queue_full_oldest".to_owned(), 2),
            ("no_release".to_owned(), 1),
        ]
        .into(),
        failed: 3,
        in_flight: 2,
        ..Counters::default()
    };
    let expected = Counts {
        accepted: 20,
        results: 8,
        skipped: 4,
        dropped: 3,
        failed: 3,
        deadline_misses: 5,
        traps: 6,
        backend_faults: 0,
    };
    assert_eq!(Counts::of(&counters, 5, 6), expected);
}

#[test]
fn a_window_has_what_was_counted_since_the_start_of_its_first_slot() {
    let mut figures = Figures::default();
    let mut window = |seconds, count| {
        let window = figures.next(accepted(seconds, count), &Reading::default(), None);
        (window.seconds, window.counts.accepted)
    };
    // What was counted before the first reading belongs to no window.
    assert_eq!(window(0, 7), (0.0, 0));
    assert_eq!(window(10, 17), (10.0, 10));
    assert_eq!(window(30, 47), (30.0, 40));
    // The window of slot 5 begins with slot 1, and slot 2 is the first that was read.
    assert_eq!(window(80, 107), (50.0, 60));
    assert_eq!(window(90, 137), (60.0, 90));
}

#[test]
fn each_slot_is_a_window_of_the_history() {
    let mut figures = Figures::default();
    let none = Reading::default();
    figures.next(accepted(0, 0), &hot(50.0), Some("full"));
    figures.next(accepted(10, 10), &hot(70.0), Some("full"));
    let mut next = accepted(15, 16);
    next.latencies.total_of_last_slot = Some(latency(20_000.0));
    let window = figures.next(next, &hot(60.0), Some("minimal"));
    assert_eq!(window.ended.map(|it| it.p95), Some(20_000.0));
    let ended = &window.history[0];
    assert_eq!((ended.seconds, ended.accepted), (15.0, 16));
    assert_eq!(
        (ended.hottest_celsius, ended.p95_ms),
        (Some(70.0), Some(20.0))
    );
    assert_eq!((ended.mode.as_deref(), ended.watts), (Some("full"), None));

    let mut next = accepted(20, 26);
    next.latencies.total_of_slot = Some(latency(30_000.0));
    next.latencies.total_of_last_slot = Some(latency(20_000.0));
    let window = figures.next(next, &none, None);
    assert_eq!(window.ended, None, "a slot is given once");
    let [_, present] = &window.history[..] else {
        panic!("{:?}", window.history);
    };
    assert_eq!((present.seconds, present.accepted), (5.0, 10));
    assert_eq!(
        (present.hottest_celsius, present.p95_ms),
        (Some(60.0), Some(30.0))
    );
    assert_eq!(
        (present.charge_ratio, present.mode.as_deref()),
        (None, None)
    );

    // Slots without a reading are one window, and the latency of the last slot is not that of all of them.
    let mut next = accepted(60, 30);
    next.latencies.total_of_last_slot = Some(latency(1.0));
    let window = figures.next(next, &none, None);
    let ended = &window.history[1];
    assert_eq!((window.ended, ended.p95_ms), (None, None));
    assert_eq!((ended.seconds, ended.accepted), (45.0, 14));
    for slot in 5..100 {
        figures.next(accepted(slot * 15, 30), &none, None);
    }
    let window = figures.next(accepted(1_500, 30), &none, None);
    assert_eq!(window.history.len(), MAX_WINDOWS);
}

#[test]
fn joules_of_a_run_are_its_share_of_the_energy() {
    let mut figures = Figures::default();
    let mut window = |seconds, runs: &[RunCounts], reading: &Reading| {
        let runs = runs.to_vec();
        figures.next(
            Raw {
                runs,
                ..raw(seconds)
            },
            reading,
            None,
        )
    };
    let figures_of = |window: &FiguresWindow| -> Vec<(u64, u64, Option<f64>)> {
        let runs = window.runs.iter();
        runs.map(|it| (it.counts.runs, it.counts.faults, it.joules_per_run))
            .collect()
    };
    let battery = discharging(12.0);
    // The runs of self-tests, before the first reading.
    let first = window(0, &[run("a", 5, 1), run("b", 0, 0)], &battery);
    assert_eq!(figures_of(&first), [(0, 0, None), (0, 0, None)]);
    // 12 W for 10 s are 120 J.
    let second = window(10, &[run("a", 11, 2), run("b", 4, 0)], &battery);
    assert_eq!(
        figures_of(&second),
        [(6, 1, Some(12.0)), (4, 0, Some(12.0))]
    );
    assert_eq!(
        (second.watts, second.counts.backend_faults),
        (Some(12.0), 1)
    );
    // `a` was loaded again and counts from zero: 2 runs more, both with a fault.
    let third = window(20, &[run("a", 2, 2), run("b", 4, 0)], &battery);
    assert_eq!(figures_of(&third), [(8, 3, Some(20.0)), (4, 0, Some(20.0))]);
    assert_eq!(third.counts.backend_faults, 3);
    // Another release has another model.
    let other = window(30, &[run("c", 9, 0)], &battery);
    assert_eq!(figures_of(&other), [(0, 0, None)]);
    let unknown = {
        let mut figures = Figures::default();
        let mut next = |seconds, runs| {
            let runs = vec![run("a", runs, 0)];
            figures.next(
                Raw {
                    runs,
                    ..raw(seconds)
                },
                &Reading::default(),
                None,
            )
        };
        next(0, 0);
        next(10, 5)
    };
    assert_eq!(figures_of(&unknown), [(5, 0, None)]);
    assert_eq!(unknown.watts, None);
}

#[test]
fn energy_is_that_of_the_mode_in_force() {
    let mut figures = Figures::default();
    let mut next = |seconds, results, failed, reading: &Reading, mode, release: &[u8]| {
        let counts = Counts {
            results,
            failed,
            skipped: 1_000 * seconds,
            ..Counts::default()
        };
        let release = Some(Digest::of(release));
        let raw = Raw {
            release,
            counts,
            ..raw(seconds)
        };
        figures.next(raw, reading, mode)
    };
    let power = |joules_per_sample, watts| PowerFigures {
        joules_per_sample,
        watts,
    };
    let unknown = PowerFigures::default();
    let (full, minimal) = (Some("full"), Some("minimal"));
    let first = next(0, 0, 0, &discharging(10.0), full, b"one");
    assert_eq!(first.power(full), unknown);
    // 100 J for 5 samples.
    let second = next(10, 5, 0, &discharging(10.0), full, b"one");
    assert_eq!(second.power(full), power(Some(20.0), Some(10.0)));
    assert_eq!(second.power(minimal), unknown);
    // 15 W in the mean, and no sample.
    let third = next(20, 5, 0, &discharging(20.0), minimal, b"one");
    assert_eq!(third.power(minimal), power(None, Some(15.0)));
    // 150 J and 200 J for 6 results and a failure.
    let fourth = next(30, 11, 1, &discharging(20.0), minimal, b"one");
    assert_eq!(fourth.power(minimal), power(Some(50.0), Some(17.5)));
    assert_eq!(fourth.power(full), second.power(full));
    assert_eq!(fourth.watts, Some(20.0));
    // Without a sensor nothing is added, and what was measured stays.
    let fifth = next(40, 90, 1, &Reading::default(), minimal, b"one");
    assert_eq!(
        (fifth.power(minimal), fifth.watts),
        (fourth.power(minimal), None)
    );
    // The modes of another release are others.
    let sixth = next(50, 95, 1, &Reading::default(), minimal, b"two");
    assert_eq!(
        (sixth.power(minimal), sixth.power(full)),
        (unknown, unknown)
    );
}
