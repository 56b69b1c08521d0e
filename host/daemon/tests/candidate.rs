//! The steps of a candidate, the health gate and the freshness of statements: pure rules, with property tests and a month of virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::time::{Duration, Instant};

use hotshoe_daemon::deploy::candidate::{
    BesideTrial, Candidate, CandidateState, Facts, MAX_PROOFS, Outcome, Step, StepFailure,
};
use hotshoe_daemon::deploy::freshness::is_stale;
use hotshoe_daemon::deploy::health::{Verdict, judge};
use hotshoe_daemon::serving::{Observed, ShadowVerdict};
use hotshoe_protocol::status::WaitReason;
use hotshoe_trust::{HealthGate, Time};
use proptest::prelude::*;

/// Nothing stands in the way of the candidate.
const FREE: Facts = Facts {
    is_settled: true,
    is_fetching: false,
    trial: BesideTrial::None,
    proofs: 0,
    activate: true,
    is_window_open: true,
    is_loaded: true,
    shadow: None,
};
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Longer than every pause.
const PATIENCE: Duration = Duration::from_secs(60);

fn facts() -> impl Strategy<Value = Facts> {
    let trial = prop_oneof![
        Just(BesideTrial::None),
        Just(BesideTrial::Running),
        Just(BesideTrial::Replaceable)
    ];
    let shadow = proptest::option::of(prop_oneof![
        Just(ShadowVerdict::Wait),
        Just(ShadowVerdict::Agree),
        Just(ShadowVerdict::Disagree(0.5))
    ]);
    let flags = any::<[bool; 5]>();
    (flags, trial, 0..=MAX_PROOFS, shadow).prop_map(|(flags, trial, proofs, shadow)| {
        let [is_settled, is_fetching, activate, is_window_open, is_loaded] = flags;
        Facts {
            is_settled,
            is_fetching,
            trial,
            proofs,
            activate,
            is_window_open,
            is_loaded,
            shadow,
        }
    })
}

/// Every outcome but the end.
fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        (0..3_u64).prop_map(Outcome::FetchStarted),
        (0..3_u64).prop_map(Outcome::Fetched),
        Just(Outcome::FetchLater),
        Just(Outcome::Staged),
        Just(Outcome::ProveLater),
        Just(Outcome::Interrupted),
        Just(Outcome::Proven),
        Just(Outcome::ShadowOpened),
    ]
}

/// A candidate after any outcomes, each at its own time, and the time of the last one.
fn candidate() -> impl Strategy<Value = (Candidate, Instant)> {
    let outcomes = proptest::collection::vec((outcome(), 0..100_000_u64), 0..40);
    (any::<bool>(), outcomes).prop_map(|(is_staged, outcomes)| {
        let mut now = Instant::now();
        let mut candidate = match is_staged {
            true => Candidate::staged(now),
            false => Candidate::verified(now),
        };
        for (outcome, millis) in outcomes {
            now += Duration::from_millis(millis);
            candidate = candidate.after(outcome, now);
        }
        (candidate, now)
    })
}

proptest! {
    #[test]
    fn nothing_follows_the_end(
        (candidate, now) in candidate(),
        facts in facts(),
        later in proptest::collection::vec(outcome(), 0..10),
    ) {
        let mut ended = candidate.after(Outcome::Ended, now);
        for outcome in later {
            prop_assert_eq!(ended.step(&facts, now), Step::End);
            // A cancelled candidate takes no blobs.
            ended = ended.after(outcome, now);
            prop_assert_eq!(ended.state(), CandidateState::Ended);
        }
        prop_assert_eq!(ended.step(&FREE, now + DAY), Step::End);
    }

    #[test]
    fn every_state_waits_with_a_deadline_or_steps((candidate, now) in candidate(), shadow in any::<bool>()) {
        let shadow = shadow.then_some(ShadowVerdict::Agree);
        let free = Facts { shadow, ..FREE };
        match candidate.step(&free, now) {
            // Only a fetch ends by a message.
            Step::Wait(None) => {
                let is_fetching = matches!(candidate.state(), CandidateState::Fetching { .. });
                prop_assert!(is_fetching);
            }
            Step::Wait(Some(due)) => {
                prop_assert!(now < due && due <= now + PATIENCE);
                prop_assert!(!matches!(candidate.step(&free, due), Step::Wait(_)));
            }
            Step::Hold(reason) => prop_assert!(false, "nothing stands in the way, and it waits for {reason:?}"),
            _ => {}
        }
    }

    #[test]
    fn nothing_begins_while_the_ledger_is_behind((candidate, now) in candidate(), facts in facts()) {
        let behind = Facts { is_settled: false, ..facts };
        prop_assert_eq!(candidate.step(&behind, now + DAY), Step::Wait(None));
    }

    #[test]
    fn only_the_running_fetch_can_end((candidate, now) in candidate(), fetch_id in 0..3_u64) {
        let before = candidate.state();
        let after = candidate.after(Outcome::Fetched(fetch_id), now).state();
        if before == (CandidateState::Fetching { fetch_id }) {
            prop_assert_eq!(after, CandidateState::Fetched);
        } else {
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn a_trial_begins_only_where_the_facts_allow_it((candidate, now) in candidate(), facts in facts()) {
        match candidate.step(&facts, now) {
            Step::Fetch => prop_assert!(!facts.is_fetching),
            Step::BeginTrial if candidate.state() == CandidateState::Shadow => {
                prop_assert!(!matches!(facts.shadow, Some(ShadowVerdict::Wait | ShadowVerdict::Disagree(_))));
            }
            Step::BeginTrial => {
                prop_assert_eq!(candidate.state(), CandidateState::Proven);
                prop_assert!(facts.activate && facts.is_window_open && facts.is_loaded);
                prop_assert!(facts.trial == BesideTrial::None && facts.shadow.is_none());
            }
            Step::OpenShadow => prop_assert!(facts.shadow.is_some() && facts.activate && facts.is_window_open),
            Step::Prove => prop_assert!(facts.proofs < MAX_PROOFS && facts.trial == BesideTrial::None),
            Step::ReplaceTrial => prop_assert_eq!(facts.trial, BesideTrial::Replaceable),
            Step::Fail(StepFailure::DiedInProof) => prop_assert_eq!(facts.proofs, MAX_PROOFS),
            _ => {}
        }
    }
}

/// Does what a step asks for on a device where everything works, until the candidate waits.
fn drive(mut candidate: Candidate, facts: &Facts, now: Instant) -> (Candidate, Step) {
    let mut facts = *facts;
    for fetch_id in 0..20 {
        let step = candidate.step(&facts, now);
        candidate = match step {
            Step::Fetch => candidate
                .after(Outcome::FetchStarted(fetch_id), now)
                .after(Outcome::Fetched(fetch_id), now),
            Step::Stage => candidate.after(Outcome::Staged, now),
            Step::ReplaceTrial => {
                facts.trial = BesideTrial::None;
                candidate
            }
            Step::Prove => {
                facts.is_loaded = true;
                candidate.after(Outcome::Proven, now)
            }
            Step::OpenShadow => candidate.after(Outcome::ShadowOpened, now),
            Step::BeginTrial | Step::Fail(_) => {
                return (candidate.after(Outcome::Ended, now), step);
            }
            Step::Wait(_) | Step::Hold(_) | Step::End => return (candidate, step),
        };
    }
    panic!("{candidate:?} never waits or ends");
}

#[test]
fn a_release_goes_from_its_statement_to_its_trial() {
    let now = Instant::now();
    let cases = [
        (FREE, Step::BeginTrial),
        (
            Facts {
                trial: BesideTrial::Replaceable,
                ..FREE
            },
            Step::BeginTrial,
        ),
        (
            Facts {
                trial: BesideTrial::Running,
                ..FREE
            },
            Step::Hold(WaitReason::Probation),
        ),
        (
            Facts {
                activate: false,
                ..FREE
            },
            Step::Hold(WaitReason::Activation),
        ),
        (
            Facts {
                is_window_open: false,
                ..FREE
            },
            Step::Hold(WaitReason::Window),
        ),
        (
            Facts {
                shadow: Some(ShadowVerdict::Wait),
                ..FREE
            },
            Step::Wait(None),
        ),
        (
            Facts {
                shadow: Some(ShadowVerdict::Disagree(0.25)),
                ..FREE
            },
            Step::Fail(StepFailure::ShadowDisagreement(0.25)),
        ),
        (
            Facts {
                proofs: MAX_PROOFS,
                ..FREE
            },
            Step::Fail(StepFailure::DiedInProof),
        ),
    ];
    for (facts, expected) in cases {
        let facts = Facts {
            is_loaded: false,
            ..facts
        };
        let (_, step) = drive(Candidate::verified(now), &facts, now);
        assert_eq!(step, expected, "{facts:?}");
    }
}

/// A release comes on the first day, and no source has its blobs until the last. It then waits for the night.
#[test]
fn a_month_without_a_source_costs_two_fetches_a_minute_at_most() {
    let start = Instant::now();
    let (mut now, end) = (start, start + 30 * DAY);
    let mut candidate = Candidate::verified(now);
    let mut fetches: u32 = 0;
    while now < end {
        match candidate.step(&FREE, now) {
            Step::Fetch => {
                fetches += 1;
                candidate = candidate
                    .after(Outcome::FetchStarted(fetches.into()), now)
                    .after(Outcome::FetchLater, now);
            }
            Step::Wait(Some(due)) => {
                assert!(due > now, "time goes on");
                now = due;
            }
            other => panic!("{other:?} after {:?}", now - start),
        }
    }
    let minutes = 30 * 24 * 60;
    assert!(fetches <= 2 * minutes + 10, "{fetches} fetches");
    assert!(fetches >= 2 * minutes - 10, "{fetches} fetches");

    let day = Facts {
        is_window_open: false,
        ..FREE
    };
    let (candidate, step) = drive(candidate, &day, now);
    assert_eq!(step, Step::Hold(WaitReason::Window));
    let (candidate, step) = drive(candidate, &FREE, now + 8 * HOUR);
    assert_eq!(step, Step::BeginTrial);
    assert_eq!(candidate.state(), CandidateState::Ended);
}

/// A trial that gets one sample an hour, and a site whose statements stop on the tenth day.
#[test]
fn a_month_of_probation_and_of_statements() {
    let gate = HealthGate {
        min_samples: 600,
        min_seconds: 60,
        ..HealthGate::default()
    };
    let (started, within): (Time, _) = ("2026-11-01T00:00:00Z".parse().unwrap(), 2 * DAY);
    let (mut confirmed, mut went_stale) = (None, None);
    for hour in 0..30 * 24_u32 {
        let running = HOUR * hour;
        let now = started + running;
        let heard = started + running.min(10 * DAY);
        match is_stale(Some(heard), within, now, running) {
            None => assert_eq!(hour, 0, "the first minute is not judged"),
            Some(stale) => {
                assert_eq!(stale, hour > 12 * 24, "hour {hour}");
                went_stale = went_stale.or(stale.then_some(hour));
            }
        }
        let seen = Observed {
            samples: hour.into(),
            p95_us: Some(1_000),
            ..Observed::default()
        };
        match judge(&gate, &seen, None, running) {
            Verdict::Wait => assert!(confirmed.is_none(), "hour {hour}"),
            Verdict::Confirm => confirmed = confirmed.or(Some(hour)),
            Verdict::Fail(limit) => panic!("hour {hour}: {limit}"),
        }
    }
    assert_eq!(confirmed, Some(600));
    assert_eq!(went_stale, Some(12 * 24 + 1));
}

#[test]
fn a_clock_set_back_is_not_staleness_and_silence_is() {
    let now: Time = "2026-11-30T00:00:00Z".parse().unwrap();
    assert_eq!(is_stale(Some(now + DAY), HOUR, now, DAY), Some(false));
    assert_eq!(is_stale(None, HOUR, now, DAY), Some(true));
    assert_eq!(is_stale(None, HOUR, now, Duration::ZERO), None);
}

/// Only the coordinators, of pipelines and of the other kinds of releases, know several owners, so data flows one way.
#[test]
fn an_owner_knows_no_other_owner() {
    const OWNERS: [&str; 6] = [
        "ledger_writer::LedgerWriter",
        "serving::Serving",
        "admission::Admission",
        "transfers::Transfers",
        "trial::Trial",
        "pending_release::PendingRelease",
    ];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/deploy");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_coordinator = path.ends_with("reconciler.rs") || path.ends_with("kinds.rs");
        if path.is_dir() || is_coordinator {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // The folder of the service has a similar name to an owner's file.
        let text = text.replace("crate::serving::", "");
        let known: Vec<_> = OWNERS
            .iter()
            .filter(|owner| text.contains(**owner))
            .collect();
        assert!(known.is_empty(), "{} names {known:?}", path.display());
        seen += 1;
    }
    assert!(seen > 10, "{seen} files");
}
