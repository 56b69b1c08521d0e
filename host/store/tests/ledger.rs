//! The ledger's transitions: what each does, when it is illegal, and what holds after any sequence of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;

use hotshoe_store::{Cause, Ledger, Phase, Slot, Transition, Trial};
use hotshoe_trust::{Digest, Time};
use proptest::prelude::*;

const NAMES: [&str; 2] = ["ocr", "faces"];

fn at(seconds: i64) -> Time {
    Time::from_second(1_800_000_000 + seconds).unwrap()
}

fn slot(name: &str, generation: u64) -> Slot {
    Slot {
        release: Digest::of(format!("{name} {generation}").as_bytes()),
        bundles: Vec::new(),
        name: name.to_owned(),
        generation,
        installed: at(0),
    }
}

fn cause() -> Cause {
    Cause::new("trap_rate", "too many traps")
}

fn ocr(generation: u64) -> Slot {
    slot("ocr", generation)
}

fn stage(generation: u64) -> Transition {
    stage_at(ocr(generation), 0)
}

fn stage_at(slot: Slot, issued: i64) -> Transition {
    Transition::Stage {
        slot,
        issued: at(issued),
        activate: issued % 2 == 0,
    }
}

const TRY: Transition = Transition::BeginTrial { tries: 1 };

/// The ledger after all of these.
fn run<const N: usize>(ledger: &Ledger, transitions: [Transition; N]) -> Ledger {
    transitions
        .iter()
        .fold(ledger.clone(), |ledger, transition| {
            ledger.after(transition, at(1)).unwrap()
        })
}

fn live(generation: u64) -> Ledger {
    run(
        &Ledger::default(),
        [Transition::Install(ocr(generation), at(0))],
    )
}

fn refused(ledger: &Ledger, transition: &Transition) -> &'static str {
    ledger.after(transition, at(1)).unwrap_err().name()
}

fn phases(ledger: &Ledger) -> Vec<(u64, Phase)> {
    let events = ledger.history.iter();
    events
        .map(|event| (event.generation, event.phase))
        .collect()
}

#[test]
fn a_release_is_staged_tried_and_confirmed() {
    let staged = run(&live(1), [stage_at(ocr(2), 50)]);
    assert_eq!(staged.staged, Some(ocr(2)));
    assert_eq!(staged.floor["ocr"].generation, 1, "not yet");
    assert_eq!(staged.clock_floor, Some(at(50)));
    let trial = run(&staged, [Transition::BeginTrial { tries: 2 }]);
    assert_eq!((&trial.staged, &trial.live), (&None, &Some(ocr(1))));
    let again = run(&trial, [Transition::TryAgain, Transition::TryAgain]);
    assert_eq!(again.trial.as_ref().unwrap().tries_left, 0);
    assert_eq!(refused(&again, &Transition::TryAgain), "no_tries_left");
    let done = run(&again, [Transition::Confirm]);
    assert_eq!((&done.live, &done.previous), (&Some(ocr(2)), &Some(ocr(1))));
    assert_eq!(
        (done.trial.as_ref(), done.floor["ocr"].generation),
        (None, 2)
    );
    assert_eq!(done.floor["ocr"].release, Some(ocr(2).release));
    assert_eq!(
        phases(&done),
        [
            (1, Phase::Live),
            (2, Phase::Staged),
            (2, Phase::Trial),
            (2, Phase::Trial),
            (2, Phase::Trial),
            (2, Phase::Live)
        ]
    );
}

#[test]
fn what_was_rolled_back_is_refused_until_a_higher_one_comes() {
    let back = run(&live(1), [stage(3), TRY, Transition::RollBack(cause())]);
    assert_eq!((&back.live, &back.trial), (&Some(ocr(1)), &None));
    assert_eq!(back.floor["ocr"].generation, 1, "the floor has not risen");
    assert_eq!(refused(&back, &stage(3)), "failed_before");
    assert_eq!(refused(&back, &stage(2)), "failed_before");
    let known = back.remembers("ocr", 3, ocr(3).release).unwrap();
    assert_eq!((known.phase, &known.cause), (Phase::RolledBack, &cause()));
    assert!(back.remembers("ocr", 4, ocr(4).release).is_none());
    assert!(back.remembers("faces", 1, ocr(1).release).is_none());
    // The same release under a higher number than its own cannot be: its digest tells.
    assert!(back.remembers("ocr", 9, ocr(3).release).is_some());
    let done = run(&back, [stage(4), TRY, Transition::Confirm]);
    assert!(done.failed.is_empty());
    // A lower failure later does not forgive a higher one.
    let failed = run(
        &live(1),
        [
            Transition::Fail(ocr(7), Phase::Failed, cause()),
            Transition::Fail(ocr(5), Phase::Refused, cause()),
        ],
    );
    assert_eq!(failed.failed["ocr"].generation, 7);
    // What was staged before one of its name failed does not go on trial.
    let late = run(
        &live(1),
        [stage(9), TRY, stage(5), Transition::RollBack(cause())],
    );
    assert_eq!(refused(&late, &TRY), "failed_before");
    run(&late, [Transition::Unstage(cause())]);
}

#[test]
fn what_failed_before_a_trial_is_remembered_and_no_longer_staged() {
    let failed = run(
        &live(1),
        [stage(2), Transition::Fail(ocr(2), Phase::Failed, cause())],
    );
    assert_eq!(
        (&failed.staged, failed.failed["ocr"].generation),
        (&None, 2)
    );
    let other = run(
        &live(1),
        [stage(3), Transition::Fail(ocr(2), Phase::Refused, cause())],
    );
    assert_eq!(other.staged, Some(ocr(3)));
    let fail = |generation, phase| Transition::Fail(ocr(generation), phase, cause());
    assert_eq!(
        refused(&live(1), &fail(2, Phase::RolledBack)),
        "not_a_failure"
    );
    assert_eq!(refused(&live(1), &fail(2, Phase::Live)), "not_a_failure");
    assert_eq!(
        refused(&live(2), &fail(2, Phase::Failed)),
        "already_serving"
    );
}

#[test]
fn an_operator_goes_back_and_not_to_what_was_left() {
    let second = run(&live(1), [stage(2), TRY, Transition::Confirm]);
    let back = run(&second, [Transition::GoBack(cause())]);
    assert_eq!((&back.live, &back.previous), (&Some(ocr(1)), &Some(ocr(2))));
    assert_eq!(
        back.floor["ocr"].generation, 2,
        "a local act leaves the floor"
    );
    assert_eq!(refused(&back, &stage(2)), "failed_before");
    let go = Transition::GoBack(cause());
    assert_eq!(refused(&back, &go), "previous_rolled_back");
    // Also where the memory of its name is of a later one.
    let fail = Transition::Fail(ocr(3), Phase::Failed, cause());
    let later = run(&second, [fail, go.clone()]);
    assert_eq!(refused(&later, &go), "previous_rolled_back");
    let again = run(&back, [Transition::Install(ocr(2), at(0)), go.clone()]);
    assert_eq!(again.live, Some(ocr(1)), "it was installed again");
    let newer = run(&back, [stage(3), TRY, Transition::Confirm, go.clone()]);
    assert_eq!(newer.live, Some(ocr(1)), "the way back from a newer one");
    assert_eq!(refused(&Ledger::default(), &go), "nothing_live");
    assert_eq!(refused(&live(1), &go), "nothing_previous");
    assert_eq!(refused(&run(&second, [stage(3), TRY]), &go), "in_trial");
}

#[test]
fn a_damaged_live_release_gives_way_and_may_come_again() {
    let second = run(&live(1), [stage(2), TRY, Transition::Confirm]);
    let recovered = run(&second, [Transition::Recover(cause())]);
    assert_eq!(
        (&recovered.live, &recovered.previous),
        (&Some(ocr(1)), &None)
    );
    assert_eq!(
        phases(&recovered)[4..],
        [(2, Phase::Failed), (1, Phase::Live)]
    );
    let mended = run(&recovered, [stage(2), TRY, Transition::Confirm]);
    assert_eq!(mended.live, Some(ocr(2)));
    let recover = Transition::Recover(cause());
    assert_eq!(refused(&recovered, &recover), "nothing_previous");
    assert_eq!(refused(&Ledger::default(), &recover), "nothing_live");
}

#[test]
fn a_damaged_live_release_without_another_is_dropped_and_may_come_again() {
    let drop_live = Transition::DropLive(cause());
    let empty = run(&live(1), [drop_live.clone()]);
    assert_eq!(empty.live, None);
    assert_eq!(empty.floor["ocr"].generation, 1);
    assert_eq!(phases(&empty).last(), Some(&(1, Phase::Failed)));
    let mended = run(&empty, [stage(1), TRY, Transition::Confirm]);
    assert_eq!(mended.live, Some(ocr(1)));
    assert_eq!(refused(&empty, &drop_live), "nothing_live");
    assert_eq!(refused(&empty, &stage(0)), "below_floor");
}

#[test]
fn an_operators_install_ends_what_was_under_way_for_that_name() {
    let busy = run(&live(1), [stage(2), TRY, stage(3)]);
    let installed = run(&busy, [Transition::Install(ocr(3), at(0))]);
    assert_eq!((&installed.staged, &installed.trial), (&None, &None));
    assert_eq!(
        (&installed.live, &installed.previous),
        (&Some(ocr(3)), &Some(ocr(1)))
    );
    let lower = run(&busy, [Transition::Install(ocr(2), at(0))]);
    assert_eq!((&lower.staged, &lower.trial), (&Some(ocr(3)), &None));
    let other = run(&busy, [Transition::Install(slot("faces", 9), at(0))]);
    assert!(other.staged.is_some() && other.trial.is_some());
    assert_eq!(
        refused(&busy, &Transition::Install(ocr(0), at(0))),
        "below_floor"
    );
    // It overrides a memory; and the same again keeps the way back.
    let failed = run(&live(1), [Transition::Fail(ocr(2), Phase::Failed, cause())]);
    let overridden = run(&failed, [Transition::Install(ocr(2), at(0))]);
    assert!(overridden.failed.is_empty());
    let twice = run(&overridden, [Transition::Install(ocr(2), at(0))]);
    assert_eq!(twice.previous, Some(ocr(1)));
}

#[test]
fn a_first_release_may_be_tried_with_nothing_to_go_back_to() {
    let trial = run(&Ledger::default(), [stage(1), TRY]);
    assert_eq!(run(&trial, [Transition::RollBack(cause())]).live, None);
    let live = run(&trial, [Transition::Confirm]);
    assert_eq!((live.live, live.previous), (Some(ocr(1)), None));
}

#[test]
fn what_does_not_fit_is_named() {
    let one = live(2);
    for (ledger, transition, name) in [
        (&one, stage(2), "already_serving"),
        (&one, stage(1), "below_floor"),
        (&run(&one, [stage(3), TRY]), stage(3), "already_serving"),
        (&one, TRY, "nothing_staged"),
        (&run(&one, [stage(3), TRY, stage(4)]), TRY, "in_trial"),
        (&one, Transition::TryAgain, "nothing_in_trial"),
        (&one, Transition::Confirm, "nothing_in_trial"),
        (&one, Transition::RollBack(cause()), "nothing_in_trial"),
        (&one, Transition::Unstage(cause()), "nothing_staged"),
    ] {
        assert_eq!(refused(ledger, &transition), name, "{transition:?}");
    }
    let mut other = ocr(2);
    other.release = Digest::of(b"other content");
    assert_eq!(refused(&one, &stage_at(other, 0)), "below_floor");
}

#[test]
fn floors_fall_only_by_a_local_act_or_new_keys() {
    let lower = |name: &str, generation| Transition::LowerFloor {
        name: name.to_owned(),
        generation,
    };
    let huge = run(
        &live(5),
        [
            stage(u64::MAX),
            TRY,
            Transition::Confirm,
            Transition::GoBack(cause()),
        ],
    );
    assert_eq!(refused(&huge, &stage(6)), "below_floor");
    assert_eq!(refused(&huge, &lower("ocr", u64::MAX)), "not_lower");
    assert_eq!(refused(&huge, &lower("faces", 1)), "no_such_name");
    let lowered = run(&huge, [lower("ocr", 6), stage(6), TRY, Transition::Confirm]);
    assert_eq!(lowered.live, Some(ocr(6)));
    let event = &lowered.history[lowered.history.len() - 4];
    assert_eq!(
        (event.release, event.cause.as_ref().unwrap().name.as_str()),
        (None, "floor_lowered")
    );

    let trust = |version, generation| Transition::ReplaceTrust {
        version,
        file: Digest::of(b"trust.toml"),
        resets: BTreeMap::from([("ocr".to_owned(), generation)]),
    };
    let reset = run(&huge, [trust(2, 6), stage(6), TRY, Transition::Confirm]);
    assert_eq!(reset.live, Some(ocr(6)));
    assert_eq!(reset.trust.as_ref().unwrap().version, 2);
    let history = format!("{:?}", reset.history);
    assert!(history.contains("trust_replaced") && history.contains("floor_reset"));
    assert_eq!(refused(&reset, &trust(2, 1)), "old_trust");
    run(&reset, [trust(3, 1)]);
}

#[test]
fn older_statements_are_replays_and_memory_is_bounded() {
    let seen = |name: String, seconds| Transition::StatementSeen {
        name,
        issued: at(seconds),
    };
    let mut ledger = run(&live(1), [seen("ocr".into(), 10), seen("ocr".into(), 10)]);
    assert!(ledger.is_replayed("ocr", at(9)) && !ledger.is_replayed("ocr", at(10)));
    assert!(!ledger.is_replayed("faces", at(0)));
    assert_eq!(refused(&ledger, &seen("ocr".into(), 9)), "replayed");
    for number in 0..1005 {
        ledger = run(&ledger, [seen(format!("name-{number}"), 100 + number)]);
    }
    assert_eq!(ledger.statement_seen.len(), 1000);
    assert!(
        !ledger.statement_seen.contains_key("ocr"),
        "the oldest goes"
    );
    assert!(ledger.statement_seen.contains_key("name-1004"));
    for generation in 2..300 {
        ledger = run(&ledger, [stage(generation)]);
    }
    assert_eq!(ledger.history.len(), 100);
    assert_eq!(ledger.history[99].generation, 299);
}

#[test]
fn a_long_message_is_cut() {
    let long = Cause {
        name: "panic".to_owned(),
        message: "ä".repeat(5000),
    };
    let cut = Cause::new("panic", long.message.clone());
    assert_eq!(cut.message.chars().count(), 500);
    let ledger = run(&live(1), [Transition::Fail(ocr(2), Phase::Failed, long)]);
    assert_eq!(ledger.failed["ocr"].cause.message.chars().count(), 500);
    let last = ledger.history.last().unwrap().cause.as_ref().unwrap();
    assert_eq!(last.message.chars().count(), 500);
}

#[test]
fn a_failure_is_a_phase_that_is_remembered() {
    use Phase::{
        Absent, Failed, Fetching, Live, Refused, RolledBack, SelfTested, Shadow, Staged, Trial,
        Verified,
    };
    for phase in [
        Absent, Fetching, Verified, Staged, SelfTested, Shadow, Trial, Live,
    ] {
        assert!(!phase.is_failure(), "{phase}");
    }
    for ended in [Refused, Failed, RolledBack] {
        assert!(ended.is_failure(), "{ended}");
    }
    assert_eq!(
        serde_json::to_value(SelfTested).unwrap(),
        SelfTested.as_str()
    );
    assert_eq!(RolledBack.to_string(), "rolled-back");
}

/// Any transition on a few releases, most of which fit now and then.
fn any_transition() -> impl Strategy<Value = Transition> {
    let slots = || (0..2_usize, 1..9_u64).prop_map(|(name, number)| slot(NAMES[name], number));
    let phases = prop_oneof![
        Just(Phase::Refused),
        Just(Phase::Failed),
        Just(Phase::Trial)
    ];
    prop_oneof![
        1 => (slots(), 0..100_i64).prop_map(|(slot, issued)| Transition::Install(slot, at(issued))),
        1 => Just(Transition::BeginProof),
        1 => Just(Transition::EndProof),
        1 => Just(Transition::Activate),
        5 => (slots(), 0..100_i64).prop_map(|(slot, issued)| stage_at(slot, issued)),
        1 => Just(Transition::Unstage(cause())),
        5 => (0..200_u32).prop_map(|tries| Transition::BeginTrial { tries }),
        3 => Just(Transition::TryAgain),
        3 => Just(Transition::Confirm),
        2 => Just(Transition::RollBack(cause())),
        1 => (slots(), phases).prop_map(|(slot, phase)| Transition::Fail(slot, phase, cause())),
        1 => Just(Transition::GoBack(cause())),
        1 => Just(Transition::Recover(cause())),
        1 => Just(Transition::DropLive(cause())),
        1 => slots().prop_map(|slot| Transition::Forgive {
            name: slot.name,
            release: slot.release,
            cause: cause(),
        }),
        1 => slots().prop_map(|slot| Transition::LowerFloor {
            name: slot.name,
            generation: slot.generation,
        }),
        1 => (slots(), 1..9_u64).prop_map(|(slot, version)| Transition::ReplaceTrust {
            version,
            file: slot.release,
            resets: BTreeMap::from([(slot.name, slot.generation)]),
        }),
        1 => (0..2_usize, 0..100_i64).prop_map(|(name, issued)| Transition::StatementSeen {
            name: NAMES[name].to_owned(),
            issued: at(issued),
        }),
    ]
}

/// What must hold between a ledger and the one that follows it.
fn assert_follows(before: &Ledger, transition: &Transition, after: &Ledger) {
    let sets_floor = matches!(
        transition,
        Transition::LowerFloor { .. } | Transition::ReplaceTrust { .. }
    );
    for (name, entry) in &before.floor {
        let now = after.floor[name].generation;
        assert!(sets_floor || now >= entry.generation, "{transition:?}");
    }
    assert!(after.clock_floor >= before.clock_floor);
    let drops_live = matches!(transition, Transition::DropLive(_));
    assert!(drops_live || before.live.is_none() || after.live.is_some());
    assert!(after.history.len() <= 100);
    match transition {
        Transition::TryAgain => {
            let left = |ledger: &Ledger| ledger.trial.as_ref().unwrap().tries_left;
            assert_eq!(left(after) + 1, left(before));
        }
        Transition::BeginTrial { .. } => {
            let trial = after.trial.as_ref().unwrap();
            assert!(trial.tries_left <= Trial::MAX_TRIES);
        }
        // A trial that was there may end, and never gains tries.
        _ => assert!(after.trial.is_none() || after.trial == before.trial),
    }
    if let Transition::Stage { slot, .. } = transition {
        assert!(
            before
                .remembers(&slot.name, slot.generation, slot.release)
                .is_none()
        );
    }
    if let (None, Some(trial)) = (&before.trial, &after.trial) {
        let slot = &trial.slot;
        assert!(
            before
                .remembers(&slot.name, slot.generation, slot.release)
                .is_none()
        );
    }
    // A memory goes only by an operator's act, new keys, or a newer release that proved itself.
    for (name, failed) in &before.failed {
        let kept = after
            .failed
            .get(name)
            .is_some_and(|now| now.generation >= failed.generation);
        let local = matches!(
            transition,
            Transition::Install(..) | Transition::GoBack(_) | Transition::Forgive { .. }
        );
        let newer = after
            .live
            .as_ref()
            .is_some_and(|live| live.generation > failed.generation);
        assert!(kept || sets_floor || local || newer, "{transition:?}");
    }
    let live = after.live.as_ref().map(|slot| slot.release);
    let trial = after.trial.as_ref().map(|trial| trial.slot.release);
    assert!(trial.is_none() || trial != live);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_transitions_keeps_the_promises(
        transitions in proptest::collection::vec(any_transition(), 1..60)
    ) {
        let mut ledger = Ledger::default();
        for (number, transition) in (0..).zip(&transitions) {
            if let Ok(next) = ledger.after(transition, at(number)) {
                assert_follows(&ledger, transition, &next);
                ledger = next;
            }
        }
        let text = serde_json::to_string(&ledger).unwrap();
        prop_assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ledger);
    }
}
