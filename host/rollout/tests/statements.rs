//! Plans and statements: who may sign what, which applies, and what an attacker gains.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Keys, START, at, cause, heard, plan, statement};
use hotshoe_rollout::{
    Arm, Command, Control, Directive, MAX_WAIT_S, Placement, Plan, RolloutStatement,
    SignedStatement, SignedText, Situation, Wanted, judge, read_plan, read_statement,
};
use hotshoe_store::Phase;
use hotshoe_trust::{Digest, SigningKey, Time, TrustRoot};
use proptest::prelude::*;

const SECOND_STAGE: Placement = Placement {
    stage: 1,
    arm: Arm::New,
    starts_after_s: 0,
};

fn situation(phase: Phase, seconds: u64) -> Situation {
    Situation {
        phase,
        deferral: None,
        has_previous: true,
        now: at(seconds),
    }
}

fn pause() -> Command {
    Command::Pause {
        cause: cause("too_many_silent"),
    }
}

fn abort() -> Command {
    Command::Abort {
        cause: cause("trap_rate"),
    }
}

fn reverse() -> Command {
    Command::Reverse {
        release: Digest::of(b"new"),
        previous: Digest::of(b"old"),
        cause: cause("operator"),
    }
}

#[track_caller]
fn refused(plan: &Plan, name: &str) {
    assert_eq!(SignedText::of_plan(plan).unwrap_err().name(), name);
}

#[test]
fn a_plan_needs_the_threshold_of_deployers() {
    let keys = Keys::new();
    let [a, b] = &keys.deployers;
    let read = |signers: &[&SigningKey], trust: &TrustRoot| {
        let mut signed = SignedText::of_plan(&plan()).unwrap();
        for key in signers {
            signed.sign(key).unwrap();
        }
        read_plan(&signed, trust, at(0)).map(|it| it.digest())
    };
    let digest = SignedText::of_plan(&plan()).unwrap().digest();
    assert_eq!(read(&[a, b], &keys.trust).unwrap(), digest);
    let refused = |signers: &[&SigningKey]| read(signers, &keys.trust).unwrap_err().name();
    assert_eq!(refused(&[]), "unsigned_rollout");
    // One stolen deployer key of a threshold of two, alone, twice, and with a stolen rollout key.
    assert_eq!(refused(&[a]), "too_few_signatures");
    assert_eq!(refused(&[a, a]), "too_few_signatures");
    assert_eq!(refused(&[a, &keys.operator]), "too_few_signatures");
    assert_eq!(
        refused(&[&SigningKey::generate().unwrap()]),
        "unknown_signer"
    );
}

#[test]
fn a_changed_plan_is_refused() {
    let keys = Keys::new();
    let mut signed = SignedText::of_plan(&plan()).unwrap();
    for key in &keys.deployers {
        signed.sign(key).unwrap();
    }
    let text = String::from_utf8(signed.to_bytes()).unwrap();
    let changed = text.replace("\\\"seed\\\":7", "\\\"seed\\\":8");
    assert_ne!(changed, text);
    let changed = SignedText::parse(changed.as_bytes()).unwrap();
    let error = read_plan(&changed, &keys.trust, at(0)).unwrap_err();
    assert_eq!(error.name(), "bad_signature");
}

#[test]
fn a_plan_from_the_future_is_refused() {
    let keys = Keys::new();
    let mut signed = SignedText::of_plan(&plan()).unwrap();
    for key in &keys.deployers {
        signed.sign(key).unwrap();
    }
    let read = |now: i64| read_plan(&signed, &keys.trust, Time::from_second(now).unwrap());
    assert!(read(START - 300).is_ok(), "within the allowed skew");
    assert_eq!(read(START - 301).unwrap_err().name(), "rollout_from_future");
}

#[test]
fn a_plan_within_its_bounds_alone_is_written() {
    refused(
        &Plan {
            stages: vec![],
            ..plan()
        },
        "invalid_rollout",
    );
    refused(
        &Plan {
            first: vec![],
            ..plan()
        },
        "invalid_rollout",
    );
    refused(
        &Plan {
            name: "a/b".to_owned(),
            ..plan()
        },
        "invalid_rollout",
    );
    refused(
        &Plan {
            previous: plan().release,
            ..plan()
        },
        "invalid_rollout",
    );
    refused(
        &Plan {
            expires: at(0),
            ..plan()
        },
        "invalid_rollout",
    );
    refused(
        &Plan {
            spread_s: MAX_WAIT_S + 1,
            ..plan()
        },
        "invalid_rollout",
    );
    let mut without_deadline = plan();
    without_deadline.deadlines.trial_s = 0;
    refused(&without_deadline, "invalid_rollout");
    let mut share_in_stage_0 = plan();
    share_in_stage_0.stages[0].share_ppm = 1;
    refused(&share_in_stage_0, "invalid_rollout");
}

#[test]
fn a_share_that_goes_down_is_refused_in_a_plan_and_without_effect_in_a_statement() {
    let mut down = plan();
    down.stages[3].share_ppm = 90_000;
    refused(&down, "invalid_rollout");
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let say = |number, stage| {
        keys.statement(
            &plan,
            &statement(&plan, number, stage, Command::Advance {}, 700),
        )
    };
    let control = heard([&say(1, 3), &say(2, 1)]);
    assert_eq!(control.stage(), 3);
}

#[test]
fn the_role_for_rollouts_advances_pauses_and_aborts_but_does_not_reverse() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let by = |command, signers: &[&SigningKey]| {
        let said = statement(&plan, 1, 0, command, 10);
        keys.statement_by(&plan, &said, signers)
            .map_err(|error| error.name())
    };
    let [a, b] = &keys.deployers;
    for command in [Command::Advance {}, pause(), abort()] {
        assert!(by(command.clone(), &[&keys.operator]).is_ok());
        // One deployer is enough, as for a statement of a site.
        assert!(by(command, &[a]).is_ok());
    }
    for signers in [&[&keys.operator][..], &[a], &[a, &keys.operator]] {
        assert_eq!(by(reverse(), signers), Err("too_few_signatures"));
    }
    assert!(by(reverse(), &[a, b]).is_ok());
}

#[test]
fn a_key_for_other_rollouts_is_refused() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let said = statement(&plan, 1, 0, abort(), 10);
    let mut signed = SignedText::of_statement(&said, &plan).unwrap();
    signed.sign(&keys.operator).unwrap();
    let entry = TrustRoot::key_entry("o", &keys.operator.public_key().unwrap(), &[]);
    let trust = TrustRoot::parse(&format!("threshold = 1\n{entry}rollouts = [\"asr\"]\n")).unwrap();
    let error = read_statement(&signed, &plan, &trust, at(10)).unwrap_err();
    assert_eq!(error.name(), "signer_not_allowed");
}

#[test]
fn a_statement_is_for_one_plan_and_its_releases() {
    let keys = Keys::new();
    let (one, mut other) = (plan(), plan());
    other.rollout = 2;
    let (one, other) = (keys.plan(&one), keys.plan(&other));
    assert!(other.supersedes(&one) && !one.supersedes(&other));
    let said = statement(&one, 1, 0, abort(), 10);
    let mut signed = SignedText::of_statement(&said, &one).unwrap();
    signed.sign(&keys.operator).unwrap();
    let error = read_statement(&signed, &other, &keys.trust, at(10)).unwrap_err();
    assert_eq!(error.name(), "other_plan");
    let elsewhere = Command::Reverse {
        release: Digest::of(b"new"),
        previous: Digest::of(b"much older"),
        cause: cause("operator"),
    };
    let said = statement(&one, 1, 0, elsewhere, 10);
    let error = SignedText::of_statement(&said, &one).unwrap_err();
    assert_eq!(error.name(), "other_releases");
    let said = statement(&one, 1, 5, Command::Advance {}, 10);
    let error = SignedText::of_statement(&said, &one).unwrap_err();
    assert_eq!(error.name(), "invalid_rollout");
}

#[test]
fn a_clock_that_is_behind_delays_an_advance_and_never_an_abort() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let read = |command| {
        let said = statement(&plan, 1, 1, command, 5_000);
        let mut signed = SignedText::of_statement(&said, &plan).unwrap();
        signed.sign(&keys.operator).unwrap();
        read_statement(&signed, &plan, &keys.trust, at(0)).map_err(|error| error.name())
    };
    assert_eq!(read(Command::Advance {}), Err("rollout_from_future"));
    assert!(read(pause()).is_ok());
    assert!(read(abort()).is_ok());
}

#[test]
fn ties_go_to_abort_then_pause_then_advance_then_the_lower_digest() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let say = |number, command, seconds| {
        keys.statement(&plan, &statement(&plan, number, 0, command, seconds))
    };
    let advance = say(4, Command::Advance {}, 1);
    let (pause, abort) = (say(4, pause(), 1), say(4, abort(), 1));
    assert!(matches!(
        heard([&pause, &advance]).directive(),
        Directive::Pause(_)
    ));
    assert!(matches!(
        heard([&abort, &pause, &advance]).directive(),
        Directive::Abort(_)
    ));
    let other = say(4, Command::Advance {}, 2);
    let lower = if advance.digest() < other.digest() {
        1
    } else {
        2
    };
    // The time of the one that applies is the start of the stage.
    for order in [[&advance, &other], [&other, &advance]] {
        assert_eq!(heard(order).began(&plan, 0), at(lower));
    }
    // A pause ends with a higher number, an abort never.
    let later = say(u64::MAX, Command::Advance {}, 3);
    assert_eq!(heard([&pause, &later]).directive(), Directive::Run);
    assert!(matches!(
        heard([&abort, &later]).directive(),
        Directive::Abort(_)
    ));
    // Even the highest number does not keep the rollout from being stopped.
    let last = say(
        u64::MAX,
        Command::Pause {
            cause: cause("operator"),
        },
        4,
    );
    assert_eq!(heard([&later]).next_number(), u64::MAX);
    assert!(matches!(
        heard([&later, &last]).directive(),
        Directive::Pause(_)
    ));
}

#[test]
fn an_old_statement_that_is_replayed_changes_nothing() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let old = keys.statement(&plan, &statement(&plan, 1, 1, Command::Advance {}, 600));
    let new = keys.statement(&plan, &statement(&plan, 2, 1, pause(), 700));
    let mut control = heard([&old, &new]);
    let before = control.clone();
    assert!(!control.hear(&old));
    assert!(!control.hear(&new));
    assert_eq!(control, before);
}

#[test]
fn a_stolen_rollout_key_does_not_outrun_the_watch_times() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let hurry = keys.statement(&plan, &statement(&plan, 1, 4, Command::Advance {}, 0));
    let control = heard([&hurry]);
    for stage in 1..=4_u32 {
        let placement = Placement {
            stage,
            ..SECOND_STAGE
        };
        let earliest = 600 * u64::from(stage);
        let judged = |seconds| {
            judge(
                &plan,
                &control,
                &placement,
                &situation(Phase::Absent, seconds),
            )
        };
        let until = Some(at(earliest));
        assert_eq!(judged(earliest - 1), Wanted::Wait { until });
        assert_eq!(judged(earliest), Wanted::Begin);
    }
}

#[test]
fn a_device_follows_what_is_stated() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let say = |number, command| keys.statement(&plan, &statement(&plan, number, 1, command, 600));
    let running = heard([&say(1, Command::Advance {})]);
    let paused = heard([&say(2, pause())]);
    let aborted = heard([&say(3, abort())]);
    let judged =
        |control: &Control, phase| judge(&plan, control, &SECOND_STAGE, &situation(phase, 700));
    let waits = Wanted::Wait { until: None };
    assert_eq!(judged(&Control::default(), Phase::Absent), waits);
    assert_eq!(judged(&running, Phase::Absent), Wanted::Begin);
    assert_eq!(judged(&paused, Phase::Absent), waits);
    assert_eq!(judged(&aborted, Phase::Absent), Wanted::Nothing);
    for phase in [Phase::Fetching, Phase::Staged, Phase::Shadow, Phase::Trial] {
        assert_eq!(judged(&running, phase), Wanted::GoOn);
        assert_eq!(judged(&paused, phase), Wanted::GoOn);
        assert_eq!(judged(&aborted, phase), Wanted::Cancel);
    }
    for phase in [
        Phase::Live,
        Phase::Refused,
        Phase::Failed,
        Phase::RolledBack,
    ] {
        for control in [&running, &paused, &aborted] {
            assert_eq!(judged(control, phase), Wanted::Nothing);
        }
    }
    // After the plan has expired, no device begins.
    let late = situation(Phase::Absent, 31 * 24 * 3_600);
    assert_eq!(
        judge(&plan, &running, &SECOND_STAGE, &late),
        Wanted::Nothing
    );
}

#[test]
fn a_reversal_leads_only_to_a_release_that_was_confirmed_here() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let [a, b] = &keys.deployers;
    let said = statement(&plan, 1, 1, reverse(), 600);
    let control = heard([&keys.statement_by(&plan, &said, &[a, b]).unwrap()]);
    let judged = |phase, has_previous| {
        let situation = Situation {
            has_previous,
            ..situation(phase, 700)
        };
        judge(&plan, &control, &SECOND_STAGE, &situation)
    };
    assert_eq!(judged(Phase::Live, true), Wanted::GoBack);
    assert_eq!(judged(Phase::Live, false), Wanted::CannotGoBack);
    assert_eq!(judged(Phase::Trial, true), Wanted::Cancel);
    assert_eq!(judged(Phase::Absent, true), Wanted::Nothing);
}

#[test]
fn a_plan_is_not_a_statement_and_neither_is_one_of_a_site() {
    let keys = Keys::new();
    let signed_plan = keys.plan(&plan());
    let mut of_plan = SignedText::of_plan(&plan()).unwrap();
    let said = statement(&signed_plan, 1, 0, abort(), 10);
    let mut of_statement = SignedText::of_statement(&said, &signed_plan).unwrap();
    for key in &keys.deployers {
        of_plan.sign(key).unwrap();
        of_statement.sign(key).unwrap();
    }
    assert!(read_plan(&of_statement, &keys.trust, at(10)).is_err());
    assert!(read_statement(&of_plan, &signed_plan, &keys.trust, at(10)).is_err());
    for wire in [of_plan, of_statement] {
        assert!(hotshoe_trust::Envelope::parse(&wire.to_bytes()).is_err());
    }
}

/// All orders of `items`.
fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for at in 0..items.len() {
        let mut rest = items.to_vec();
        let first = rest.remove(at);
        for mut order in orders(&rest) {
            order.insert(0, first.clone());
            all.push(order);
        }
    }
    all
}

#[test]
fn statements_come_to_the_same_in_every_order() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let commands = [
        (1, 1, Command::Advance {}),
        (2, 2, Command::Advance {}),
        (2, 1, pause()),
        (3, 0, Command::Advance {}),
        (2, 2, abort()),
    ];
    let statements: Vec<SignedStatement> = commands
        .into_iter()
        .map(|(number, stage, command)| {
            keys.statement(&plan, &statement(&plan, number, stage, command, 900))
        })
        .collect();
    let expected = heard(&statements);
    assert_eq!(expected.stage(), 2);
    assert!(matches!(expected.directive(), Directive::Abort(_)));
    let orders = orders(&statements);
    assert_eq!(orders.len(), 120);
    for order in orders {
        assert_eq!(heard(&order), expected);
        // Two parts that meet, each with a statement that both have.
        for cut in 1..order.len() {
            let (mut one, other) = (heard(&order[..cut]), heard(&order[cut - 1..]));
            one.merge(&other);
            assert_eq!(one, expected);
        }
    }
}

#[test]
fn the_statements_that_are_needed_are_enough_for_those_that_hear_later() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let say = |number, stage, command| {
        keys.statement(&plan, &statement(&plan, number, stage, command, 900))
    };
    let advances = [
        say(1, 1, Command::Advance {}),
        say(2, 3, Command::Advance {}),
        say(3, 3, Command::Advance {}),
    ];
    let stops = [say(2, 1, pause()), say(4, 2, pause()), say(1, 0, abort())];
    for stop in &stops {
        let all: Vec<&SignedStatement> = advances.iter().chain([stop]).collect();
        let control = heard(all.iter().copied());
        let needed = all.iter().copied().filter(|it| control.needs(it));
        assert_eq!(heard(needed), control);
    }
    let control = heard(&advances);
    let needed: Vec<bool> = advances.iter().map(|it| control.needs(it)).collect();
    assert_eq!(needed, [false, false, true]);
}

fn any_statement() -> impl Strategy<Value = (u64, u32, u8, u64)> {
    (1..4_u64, 0..5_u32, 0..3_u8, 0..3_u64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn control_merges_as_a_join(said in prop::collection::vec(any_statement(), 0..6)) {
        let keys = Keys::new();
        let plan = keys.plan(&plan());
        let statements: Vec<_> = said
            .into_iter()
            .map(|(number, stage, kind, seconds)| {
                let command = match kind {
                    0 => Command::Advance {},
                    1 => pause(),
                    _ => abort(),
                };
                let said: RolloutStatement = statement(&plan, number, stage, command, seconds);
                keys.statement(&plan, &said)
            })
            .collect();
        let all = heard(&statements);
        let reversed = heard(statements.iter().rev());
        prop_assert_eq!(&all, &reversed);
        let mut again = all.clone();
        prop_assert!(!again.merge(&reversed));
        prop_assert_eq!(again, all);
    }
}
