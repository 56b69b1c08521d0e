//! The health gate, the maintenance window and the counts of workers: pure rules, with property tests.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    reason = "tests"
)]

use std::time::{Duration, UNIX_EPOCH};

use hotshoe_base::VirtualClock;
use hotshoe_config::{Config, ConfigError, DeployConfig, KeepPrevious, Statements, Window};
use hotshoe_daemon::deploy::health::{ExceededLimit, Verdict, judge};
use hotshoe_daemon::serving::{Comparison, Observed, Observer, SampleOutcome, ShadowVerdict};
use hotshoe_trust::{HealthGate, Shadow, Time};
use proptest::prelude::*;

fn gate() -> HealthGate {
    HealthGate {
        min_samples: 20,
        min_seconds: 10,
        max_error_rate: 0.1,
        max_trap_rate: 0.0,
        max_deadline_miss_rate: 0.05,
        ..HealthGate::default()
    }
}

fn seen(samples: u64, errors: u64) -> Observed {
    Observed {
        samples,
        errors,
        p95_us: Some(1_000),
        ..Observed::default()
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_trial_waits_for_samples_and_for_time() {
    let gate = gate();
    assert_eq!(judge(&gate, &seen(0, 0), None, LONG), Verdict::Wait);
    assert_eq!(judge(&gate, &seen(19, 0), None, LONG), Verdict::Wait);
    let early = Duration::from_millis(9_999);
    assert_eq!(judge(&gate, &seen(5_000, 0), None, early), Verdict::Wait);
    assert_eq!(judge(&gate, &seen(20, 0), None, LONG), Verdict::Confirm);
}

#[test]
fn a_trial_without_traffic_is_confirmed_by_time_alone() {
    let gate = HealthGate {
        confirm_after_seconds: Some(30),
        ..gate()
    };
    let (early, late) = (Duration::from_secs(29), Duration::from_secs(30));
    let silent = Observed::default();
    assert_eq!(judge(&gate, &silent, None, early), Verdict::Wait);
    assert_eq!(judge(&gate, &silent, None, late), Verdict::Confirm);
    assert_eq!(judge(&gate, &seen(19, 1), None, late), Verdict::Confirm);
    // Two of two is above the limit, and does not fail a trial that may still get 20 samples.
    assert_eq!(judge(&gate, &seen(2, 2), None, late), Verdict::Wait);
    assert!(matches!(
        judge(&gate, &seen(3, 3), None, late),
        Verdict::Fail(_)
    ));
    let at_once = HealthGate {
        confirm_after_seconds: Some(0),
        ..gate
    };
    let short = Duration::from_secs(9);
    assert_eq!(judge(&at_once, &silent, None, short), Verdict::Wait);
    assert_eq!(
        judge(&at_once, &silent, None, Duration::from_secs(10)),
        Verdict::Confirm
    );
}

#[test]
fn a_trial_fails_as_soon_as_nothing_can_save_it() {
    let gate = gate();
    // Two of twenty are allowed, three can never be.
    assert_eq!(
        judge(&gate, &seen(2, 2), None, Duration::ZERO),
        Verdict::Wait
    );
    let verdict = judge(&gate, &seen(3, 3), None, Duration::ZERO);
    assert!(
        matches!(verdict, Verdict::Fail(ExceededLimit::ErrorRate { .. })),
        "{verdict:?}"
    );
    let trapped = Observed {
        traps: 1,
        ..seen(1, 1)
    };
    let verdict = judge(&gate, &trapped, None, Duration::ZERO);
    assert!(
        matches!(verdict, Verdict::Fail(ExceededLimit::TrapRate { .. })),
        "{verdict:?}"
    );
    let late = Observed {
        deadline_misses: 2,
        ..seen(20, 2)
    };
    let verdict = judge(&gate, &late, None, Duration::ZERO);
    assert!(
        matches!(verdict, Verdict::Fail(ExceededLimit::DeadlineMisses { .. })),
        "{verdict:?}"
    );
}

#[test]
fn bad_samples_are_no_releases_fault() {
    let gate = gate();
    let before = seen(100, 40);
    let verdict = judge(&gate, &seen(100, 40), Some(&before), LONG);
    assert_eq!(verdict, Verdict::Confirm, "as many samples failed before");
    let verdict = judge(&gate, &seen(100, 41), Some(&before), LONG);
    assert!(
        matches!(verdict, Verdict::Fail(ExceededLimit::ErrorRate { .. })),
        "{verdict:?}"
    );
    // One bad sample of one is not significant.
    let verdict = judge(&gate, &seen(100, 40), Some(&seen(1, 1)), LONG);
    assert!(
        matches!(verdict, Verdict::Fail(ExceededLimit::ErrorRate { .. })),
        "{verdict:?}"
    );
    // A trap is never the sample's fault.
    let trapped = Observed {
        traps: 1,
        ..seen(100, 1)
    };
    let verdict = judge(
        &gate,
        &trapped,
        Some(&Observed {
            traps: 50,
            ..before
        }),
        LONG,
    );
    assert!(
        matches!(verdict, Verdict::Fail(ExceededLimit::TrapRate { .. })),
        "{verdict:?}"
    );
}

#[test]
fn latency_is_judged_alone_and_against_what_was() {
    let absolute = HealthGate {
        max_latency_p95_ms: Some(2),
        ..gate()
    };
    let slow = Observed {
        p95_us: Some(2_001),
        ..seen(20, 0)
    };
    let verdict = judge(&absolute, &slow, None, LONG);
    assert!(
        matches!(verdict, Verdict::Fail(ExceededLimit::LatencyP95 { .. })),
        "{verdict:?}"
    );
    let few = Observed {
        samples: 19,
        ..slow
    };
    assert_eq!(judge(&absolute, &few, None, LONG), Verdict::Wait);
    let relative = HealthGate {
        max_latency_ratio: Some(1.5),
        ..gate()
    };
    let verdict = judge(&relative, &slow, Some(&seen(50, 0)), LONG);
    assert!(
        matches!(
            verdict,
            Verdict::Fail(ExceededLimit::LatencyRatio {
                before_us: 1_000,
                ..
            })
        ),
        "{verdict:?}"
    );
    assert_eq!(
        judge(&relative, &slow, None, LONG),
        Verdict::Confirm,
        "there is nothing to compare with"
    );
}

#[test]
fn every_failure_says_its_name_and_its_figures() {
    let trapped = Observed {
        traps: 3,
        ..seen(9, 3)
    };
    let Verdict::Fail(failing) = judge(&gate(), &trapped, None, LONG) else {
        panic!("three traps pass");
    };
    let cause = failing.cause();
    assert_eq!(cause.name, "trap_rate");
    assert!(
        cause.message.contains("3 of 9 samples"),
        "{}",
        cause.message
    );
}

proptest! {
    /// A confirmed trial stays confirmed after another good sample, and a failed one does not pass by waiting.
    #[test]
    fn verdicts_do_not_waver(
        samples in 0_u64..200,
        errors in 0_u64..200,
        traps in 0_u64..5,
        rate in 0.0_f64..0.5,
        secs in 0_u64..30,
    ) {
        let gate = HealthGate { max_error_rate: rate, max_trap_rate: rate / 4.0, ..gate() };
        let errors = errors.min(samples);
        let seen = Observed { samples, errors, traps: traps.min(errors), ..Observed::default() };
        let now = Duration::from_secs(secs);
        let verdict = judge(&gate, &seen, None, now);
        let later = judge(&gate, &seen, None, now + LONG);
        let more = judge(&gate, &Observed { samples: samples + 1, ..seen }, None, now);
        match verdict {
            Verdict::Confirm => {
                prop_assert_eq!(later, Verdict::Confirm);
                prop_assert_eq!(more, Verdict::Confirm);
                prop_assert!(samples >= gate.min_samples && secs >= gate.min_seconds);
                prop_assert!(errors as f64 <= rate * samples as f64 + 1e-9);
            }
            Verdict::Fail(_) => {
                prop_assert_eq!(later, verdict);
                // Not even if all samples up to the minimum were good.
                let best = Observed { samples: samples.max(gate.min_samples), ..seen };
                prop_assert!(matches!(judge(&gate, &best, None, now), Verdict::Fail(_)));
            }
            Verdict::Wait => prop_assert!(!matches!(later, Verdict::Fail(_))),
        }
    }

    #[test]
    fn a_window_is_open_as_long_as_it_says(from in 0_u16..1_440, length in 1_u16..1_440) {
        let to = (from + length) % 1_440;
        let text = format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60);
        let window: Window = text.parse().unwrap();
        prop_assert_eq!(window.to_string(), text);
        let day: Time = "2026-03-01T00:00:00Z".parse().unwrap();
        let open = (0..1_440_i64)
            .filter(|minute| window.is_open(day + jiff::SignedDuration::from_mins(*minute)))
            .count();
        prop_assert_eq!(open, usize::from(length));
        prop_assert!(window.is_open(day + jiff::SignedDuration::from_mins(i64::from(from))));
        prop_assert!(!window.is_open(day + jiff::SignedDuration::from_mins(i64::from(to))));
    }

    #[test]
    fn the_shadow_judges_by_the_mean(agreements in prop::collection::vec(0.0_f64..=1.0, 1..60), least in 0.0_f64..=1.0) {
        let shadow = Shadow { share: 1.0, samples: 20, min_agreement: least };
        let mut compared = Comparison::default();
        for agreement in &agreements {
            compared.samples += 1;
            compared.agreement += agreement;
            let mean = compared.agreement / compared.samples as f64;
            match compared.judge(&shadow) {
                ShadowVerdict::Wait => prop_assert!(compared.samples < 20),
                ShadowVerdict::Agree => prop_assert!(compared.samples >= 20 && mean >= least - 1e-6),
                ShadowVerdict::Disagree(found) => prop_assert!((found - mean).abs() < 1e-9 && mean < least),
            }
        }
    }
}

#[test]
fn an_invalid_time_of_day_is_refused() {
    for text in [
        "",
        "02:00",
        "2:00-4:00",
        "02:00-02:00",
        "25:00-26:00",
        "02:60-03:00",
        "02.00-03.00",
        "-1:00-02:00",
    ] {
        assert!(text.parse::<Window>().is_err(), "{text}");
    }
    assert_eq!(
        "22:30-24:00".parse::<Window>().unwrap().to_string(),
        "22:30-24:00"
    );
    let config = "site = \"a\"\ndevice = \"b\"\n[deploy]\nwindow = \"noon\"\n";
    let error = Config::parse(config, std::path::Path::new(".")).unwrap_err();
    let told = std::error::Error::source(&error)
        .map(ToString::to_string)
        .unwrap_or_default();
    assert!(
        told.contains("line 4") && told.contains("02:00-04:00"),
        "{told}"
    );
}

#[test]
fn observers_count_kinds_and_the_percentile_of_the_most_recent() {
    let observer = Observer::timed_by(VirtualClock::at(UNIX_EPOCH).clock());
    for micros in 1..=100 {
        observer.add(None, 0, SampleOutcome::Success, micros);
    }
    observer.add(None, 0, SampleOutcome::Error, 1);
    observer.add(None, 0, SampleOutcome::Trap, 1);
    observer.add(None, 0, SampleOutcome::Deadline, 1);
    let seen = observer.read();
    assert_eq!(
        (seen.samples, seen.errors, seen.traps, seen.deadline_misses),
        (103, 3, 1, 1)
    );
    // The value of that rank is 94, and a sketch has it as 93.7.
    assert_eq!(seen.p95_us, Some(94));
}

#[test]
fn the_deploy_section_has_defaults_and_ranges() {
    let parse = |deploy: &str| {
        let text = format!("site = \"a\"\ndevice = \"b\"\n[deploy]\n{deploy}");
        Config::parse(&text, std::path::Path::new(".")).map(|config| config.deploy)
    };
    assert_eq!(parse("").unwrap(), DeployConfig::default());
    let all = parse(
        "statements = \"signed\"\nkeep-previous = \"disk\"\nshare = false\nmax-bytes-per-second = 65536\nquota-mib = 1\n\
         window = \"02:00-04:00\"\nfresh-within-hours = 72\n[deploy.health]\nmin-samples = 3\n",
    )
    .unwrap();
    assert_eq!(
        (all.statements, all.keep_previous),
        (Statements::Signed, KeepPrevious::Disk)
    );
    assert_eq!((all.share, all.quota_bytes()), (false, 1 << 20));
    assert_eq!(all.fresh_within(), Some(Duration::from_secs(72 * 3_600)));
    assert_eq!(all.health.min_samples, Some(3));
    for wrong in [
        "quota-mib = 0",
        "max-bytes-per-second = 100",
        "fresh-within-hours = 3000",
    ] {
        let error = parse(wrong).unwrap_err();
        assert!(
            matches!(error, ConfigError::Range { .. }),
            "{wrong}: {error}"
        );
    }
}
