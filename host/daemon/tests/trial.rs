//! A trial within one mode: whose samples count, what pauses them, and what ends the pause.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::VirtualClock;
use hotshoe_daemon::deploy::health::{ExceededLimit, Judged, MAX_PAUSE, Verdict, judge_by_mode};
use hotshoe_daemon::serving::{MAX_VARIATIONS, Observed, Observer, SampleOutcome, Seen, Variation};
use hotshoe_trust::HealthGate;

const LONG: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn full() -> Variation {
    Variation::default()
}

fn minimal() -> Variation {
    Variation {
        mode: Some("minimal".to_owned()),
        ..full()
    }
}

fn smaller() -> Variation {
    Variation {
        skip_variants: 1,
        ..full()
    }
}

fn gate() -> HealthGate {
    HealthGate {
        min_samples: 20,
        min_seconds: 10,
        max_error_rate: 0.1,
        ..HealthGate::default()
    }
}

fn samples(samples: u64, errors: u64) -> Observed {
    Observed {
        samples,
        errors,
        p95_us: Some(1_000),
        ..Observed::default()
    }
}

fn seen(each: &[(Variation, Observed)]) -> Seen {
    let mut all = Observed::default();
    for (_, observed) in each {
        all.samples += observed.samples;
        all.errors += observed.errors;
        all.traps += observed.traps;
        all.deadline_misses += observed.deadline_misses;
        all.p95_us = all.p95_us.max(observed.p95_us);
    }
    Seen {
        all,
        each: each.to_vec(),
    }
}

#[test]
fn samples_are_counted_by_mode_and_by_variants() {
    let time = VirtualClock::at(UNIX_EPOCH);
    let observer = Observer::timed_by(time.clock());
    observer.add(None, 0, SampleOutcome::Success, 100);
    observer.add(None, 1, SampleOutcome::Deadline, 200);
    observer.add(Some("minimal"), 0, SampleOutcome::Trap, 300);
    observer.add(Some("minimal"), 0, SampleOutcome::Error, 300);
    let seen = observer.seen();
    let figures = |it: Observed| {
        (
            it.samples,
            it.errors,
            it.traps,
            it.deadline_misses,
            it.p95_us,
        )
    };
    assert_eq!(figures(seen.of(&full())), (1, 0, 0, 0, Some(100)));
    assert_eq!(figures(seen.of(&smaller())), (1, 1, 0, 1, Some(200)));
    assert_eq!(figures(seen.of(&minimal())), (2, 2, 1, 0, Some(300)));
    let other = Variation {
        mode: Some("other".to_owned()),
        ..full()
    };
    assert_eq!(seen.of(&other), Observed::default());
    assert_eq!(observer.read(), seen.all);
    assert_eq!((seen.all.samples, seen.all.errors), (4, 3));
    // Beyond the most, samples count for all together.
    for skip in 2..100 {
        observer.add(None, skip, SampleOutcome::Success, 1);
    }
    let seen = observer.seen();
    assert_eq!((seen.each.len(), seen.all.samples), (MAX_VARIATIONS, 102));
}

#[test]
fn another_mode_pauses_the_statistics_and_its_return_ends_the_pause() {
    let mut judged = Judged::at_start(full());
    judged.follow(&full(), at(1));
    judged.follow(&minimal(), at(5));
    judged.follow(&minimal(), at(5) + MAX_PAUSE - at(1));
    assert_eq!(*judged.variation(), full());
    judged.follow(&full(), at(5) + MAX_PAUSE);
    // A new pause.
    judged.follow(&minimal(), 2 * MAX_PAUSE);
    judged.follow(&minimal(), 3 * MAX_PAUSE - at(1));
    assert_eq!(*judged.variation(), full());
}

#[test]
fn after_the_longest_pause_a_trial_goes_on_in_the_mode_in_force() {
    let mut judged = Judged::at_start(full());
    judged.follow(&minimal(), at(0));
    // Fewer variants are another way to run, and the pause goes on.
    judged.follow(&smaller(), at(30));
    judged.follow(&minimal(), MAX_PAUSE);
    assert_eq!(*judged.variation(), minimal());
    // What was the first one is another one by now.
    judged.follow(&full(), MAX_PAUSE + at(1));
    assert_eq!(*judged.variation(), minimal());
    judged.follow(&full(), 2 * MAX_PAUSE + at(1));
    assert_eq!(*judged.variation(), full());
}

#[test]
fn a_trial_needs_its_samples_in_one_mode() {
    let gate = gate();
    let judge = |full_samples, minimal_errors| {
        let seen = seen(&[
            (full(), samples(full_samples, 0)),
            (minimal(), samples(100, minimal_errors)),
        ]);
        judge_by_mode(&gate, &seen, None, &full(), LONG)
    };
    assert_eq!(judge(19, 0), Verdict::Wait);
    assert_eq!(judge(20, 0), Verdict::Confirm);
    assert_eq!(judge(20, 100), Verdict::Confirm, "of another mode");
    let other = seen(&[(full(), samples(20, 0)), (minimal(), samples(100, 100))]);
    let verdict = judge_by_mode(&gate, &other, None, &minimal(), LONG);
    let errors = matches!(
        verdict,
        Verdict::Fail(ExceededLimit::ErrorRate { errors: 100, .. })
    );
    assert!(errors, "{verdict:?}");
}

#[test]
fn a_trap_counts_in_each_mode() {
    let trapped = Observed {
        traps: 1,
        ..samples(10, 1)
    };
    let seen = seen(&[(full(), samples(20, 0)), (minimal(), trapped)]);
    let verdict = judge_by_mode(&gate(), &seen, None, &full(), LONG);
    let trap = ExceededLimit::TrapRate {
        traps: 1,
        samples: 30,
        most: 0.0,
    };
    assert_eq!(verdict, Verdict::Fail(trap));
}

#[test]
fn latencies_are_compared_within_one_mode() {
    let gate = HealthGate {
        max_latency_ratio: Some(1.5),
        ..gate()
    };
    let slow = |p95_us| Observed {
        p95_us: Some(p95_us),
        ..samples(20, 0)
    };
    let judge =
        |trial: &Seen, before: &Seen| judge_by_mode(&gate, trial, Some(before), &minimal(), LONG);
    let before = seen(&[(full(), slow(1_000)), (minimal(), slow(10_000))]);
    let trial = |p95_us| seen(&[(full(), slow(1)), (minimal(), slow(p95_us))]);
    assert_eq!(judge(&trial(15_000), &before), Verdict::Confirm);
    let failed = Verdict::Fail(ExceededLimit::LatencyRatio {
        p95_us: 15_001,
        before_us: 10_000,
        most: 1.5,
    });
    assert_eq!(judge(&trial(15_001), &before), failed);
    // The release before never ran in this mode, or too few of its samples did.
    let never = seen(&[(full(), slow(1_000))]);
    assert_eq!(judge(&trial(90_000), &never), Verdict::Confirm);
    let few = Observed {
        samples: 19,
        ..slow(10_000)
    };
    let few = seen(&[(full(), slow(1_000)), (minimal(), few)]);
    assert_eq!(judge(&trial(90_000), &few), Verdict::Confirm);
}

#[test]
fn samples_that_failed_before_failed_in_any_mode() {
    let before = seen(&[(full(), samples(100, 40))]);
    let trial = seen(&[(minimal(), samples(100, 40))]);
    let verdict = judge_by_mode(&gate(), &trial, Some(&before), &minimal(), LONG);
    assert_eq!(verdict, Verdict::Confirm);
}

#[test]
fn the_time_of_a_trial_goes_on_and_confirms_only_what_works_in_each_mode() {
    let gate = HealthGate {
        confirm_after_seconds: Some(30),
        ..gate()
    };
    let judge = |minimal_errors, elapsed| {
        let seen = seen(&[
            (full(), samples(3, 0)),
            (minimal(), samples(20, minimal_errors)),
        ]);
        judge_by_mode(&gate, &seen, None, &full(), elapsed)
    };
    assert_eq!(judge(0, at(29)), Verdict::Wait);
    assert_eq!(judge(0, at(30)), Verdict::Confirm);
    // 2 of 23 are within the limit of a tenth, and 3 are not.
    assert_eq!(judge(2, at(30)), Verdict::Confirm);
    assert_eq!(judge(3, at(30)), Verdict::Wait);
}
