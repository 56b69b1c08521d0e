//! What device, registry and controller hold of rollouts, and when a site reports.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Keys, at, cause, device, plan, statement};
use hotshoe_rollout::{
    Command, CountReason, Directive, Fleet, Observed, Outcome, Report, Reporting, Rollout,
    Rollouts, SignedText, SiteDevices, State, first_number,
};

/// A plan with its text, signed by both deployers.
fn signed_plan(keys: &Keys, plan: &hotshoe_rollout::Plan) -> SignedText {
    let mut signed = SignedText::of_plan(plan).unwrap();
    for key in &keys.deployers {
        signed.sign(key).unwrap();
    }
    signed
}

fn signed_statement(
    keys: &Keys,
    rollout: &Rollout,
    number: u64,
    stage: u32,
    command: Command,
) -> SignedText {
    let said = statement(rollout.plan(), number, stage, command, 10);
    let mut signed = SignedText::of_statement(&said, rollout.plan()).unwrap();
    signed.sign(&keys.operator).unwrap();
    signed
}

#[test]
fn the_greatest_statement_and_one_of_the_highest_stage_are_kept() {
    let keys = Keys::new();
    let text = signed_plan(&keys, &plan());
    let mut rollout = Rollout::read(&text, &keys.trust, at(0)).unwrap();
    let advance = |number, stage, rollout: &Rollout| {
        signed_statement(&keys, rollout, number, stage, Command::Advance {})
    };
    for (number, stage) in [(1, 1), (2, 2)] {
        let said = advance(number, stage, &rollout);
        assert!(rollout.hear(&said, &keys.trust, at(20)).unwrap());
        assert!(!rollout.hear(&said, &keys.trust, at(20)).unwrap());
    }
    assert_eq!(rollout.statement_texts().count(), 1);
    // A later pause of a lower stage: the stage that ran stays.
    let cause = cause("operator");
    let pause = signed_statement(&keys, &rollout, 3, 1, Command::Pause { cause });
    assert!(rollout.hear(&pause, &keys.trust, at(20)).unwrap());
    assert_eq!(rollout.statement_texts().count(), 2);
    let mut other = Rollout::read(&text, &keys.trust, at(0)).unwrap();
    let texts: Vec<SignedText> = rollout.statement_texts().cloned().collect();
    for text in &texts {
        other.hear(text, &keys.trust, at(20)).unwrap();
    }
    assert_eq!(other.control(), rollout.control());
    assert_eq!(other.control().stage(), 2);
    assert!(matches!(other.control().directive(), Directive::Pause(_)));
}

#[test]
fn the_plan_with_the_higher_number_applies_whichever_comes_first() {
    let keys = Keys::new();
    let first = signed_plan(&keys, &plan());
    let second = signed_plan(
        &keys,
        &hotshoe_rollout::Plan {
            rollout: 2,
            ..plan()
        },
    );
    for order in [[&first, &second], [&second, &first]] {
        let mut rollouts = Rollouts::default();
        for text in order {
            let received = rollouts.receive(text, &[], &keys.trust, at(0)).unwrap();
            assert_eq!(received.name, "ocr");
        }
        assert_eq!(rollouts.get("ocr").unwrap().plan().rollout, 2);
        assert_eq!(rollouts.iter().count(), 1);
    }
}

#[test]
fn a_bad_statement_does_not_keep_away_a_good_one() {
    let keys = Keys::new();
    let text = signed_plan(&keys, &plan());
    let rollout = Rollout::read(&text, &keys.trust, at(0)).unwrap();
    let said = statement(rollout.plan(), 1, 1, Command::Advance {}, 10);
    let unsigned = SignedText::of_statement(&said, rollout.plan()).unwrap();
    let cause = cause("operator");
    let good = signed_statement(&keys, &rollout, 2, 0, Command::Abort { cause });
    let mut rollouts = Rollouts::default();
    let received = rollouts
        .receive(&text, &[unsigned, good], &keys.trust, at(20))
        .unwrap();
    assert!(received.is_replaced);
    assert_eq!(received.refused.unwrap().name(), "unsigned_rollout");
    let control = rollouts.get("ocr").unwrap().control();
    assert!(matches!(control.directive(), Directive::Abort(_)));
}

#[test]
fn a_device_reports_a_change_at_once_and_else_before_it_is_silent() {
    let keys = Keys::new();
    let plan = keys.plan(&plan());
    let mut reporting = Reporting::since(3);
    let mut due = |state, seconds| {
        let observe = || Observed::of(state, "");
        reporting.due(&plan, state, "", at(seconds), observe)
    };
    let first = due(State::Waiting, 0).unwrap();
    assert_eq!(first.number, first_number(3) + 1);
    assert_eq!(due(State::Waiting, 1), None);
    assert_eq!(due(State::Fetching, 1).unwrap().number, first_number(3) + 2);
    // A third of the 900 s after which it is silent.
    assert_eq!(due(State::Fetching, 300), None);
    assert!(due(State::Fetching, 301).is_some());
}

fn report(plan: &hotshoe_rollout::SignedPlan, number: u64, state: State) -> Report {
    let observed = Observed::of(state, "");
    Report {
        plan: plan.digest(),
        number,
        state,
        cause: observed.cause,
        health: observed.health,
        baseline: observed.baseline,
        metric: observed.metric,
    }
}

#[test]
fn a_registry_counts_at_once_what_a_gate_decides_by_and_all_else_every_30_s() {
    let keys = Keys::new();
    let text = signed_plan(&keys, &plan());
    let mut rollout = Rollout::read(&text, &keys.trust, at(0)).unwrap();
    let said = signed_statement(&keys, &rollout, 1, 4, Command::Advance {});
    assert!(rollout.hear(&said, &keys.trust, at(0)).unwrap());
    let mut devices = SiteDevices::since(first_number(1));
    let names = ("site-0", "registry");
    let (first, reason) = devices.count(&rollout, names, at(0)).unwrap();
    assert!(reason == CountReason::News && first.cells.is_empty());
    let mut number = 0;
    let mut hear = |devices: &mut SiteDevices, name: &str, state, seconds| {
        number += 1;
        let heard = report(rollout.plan(), number, state);
        let cam = device("site-0", name);
        assert!(devices.hear(rollout.plan(), &cam, "jetson", heard.clone(), at(seconds)));
        assert!(!devices.hear(rollout.plan(), &cam, "jetson", heard, at(seconds)));
    };
    // On its way, a device decides nothing.
    hear(&mut devices, "cam-0", State::Fetching, 6);
    hear(&mut devices, "cam-1", State::Trial, 7);
    assert_eq!(devices.count(&rollout, names, at(29)), None);
    let (second, reason) = devices.count(&rollout, names, at(30)).unwrap();
    assert!(reason == CountReason::Interval && second.number > first.number);
    assert_eq!(second.cells.len(), 2);
    assert_eq!(second.cells[0].class, "jetson");
    // One is good, and another one is waited for.
    hear(&mut devices, "cam-1", State::Confirmed, 36);
    assert_eq!(devices.count(&rollout, names, at(40)), None);
    // The last one, but not within 5 s.
    hear(&mut devices, "cam-2", State::Waiting, 41);
    hear(&mut devices, "cam-0", State::Confirmed, 41);
    hear(&mut devices, "cam-2", State::Confirmed, 42);
    let (_, reason) = devices.count(&rollout, names, at(42)).unwrap();
    assert_eq!(reason, CountReason::News);
    // A failure.
    hear(&mut devices, "cam-3", State::Fetching, 43);
    hear(&mut devices, "cam-4", State::Fetching, 43);
    hear(&mut devices, "cam-3", State::RolledBack, 44);
    assert_eq!(devices.count(&rollout, names, at(46)), None);
    let (count, reason) = devices.count(&rollout, names, at(47)).unwrap();
    assert_eq!(reason, CountReason::News);
    let failed = count.cells.iter().any(|it| it.state == State::RolledBack);
    assert!(failed);
    // A statement.
    devices.touch();
    let (_, reason) = devices.count(&rollout, names, at(52)).unwrap();
    assert_eq!(reason, CountReason::News);
    assert_eq!(devices.count(&rollout, names, at(81)), None);
    let (_, reason) = devices.count(&rollout, names, at(82)).unwrap();
    assert_eq!(reason, CountReason::Interval);
    // The clock was set back.
    assert!(devices.count(&rollout, names, at(20)).is_some());
}

#[test]
fn a_listed_device_that_never_reports_is_silent_and_a_site_has_no_more_than_its_plan_allows() {
    let keys = Keys::new();
    let text = signed_plan(
        &keys,
        &hotshoe_rollout::Plan {
            max_site_devices: 2,
            ..plan()
        },
    );
    let rollout = Rollout::read(&text, &keys.trust, at(0)).unwrap();
    let mut devices = SiteDevices::default();
    let listed = ["cam-0", "cam-7", "cam-8"].map(|name| device("site-0", name));
    devices.expect(rollout.plan(), listed, at(0));
    assert_eq!(devices.len(), 2);
    let other = device("site-0", "cam-9");
    let heard = report(rollout.plan(), 1, State::Waiting);
    assert!(!devices.hear(rollout.plan(), &other, "jetson", heard, at(1)));
    let (count, _) = devices
        .count(&rollout, ("site-0", "registry"), at(901))
        .unwrap();
    // Only stage 0 has been reached, which is the first of them.
    let silent = count.cells.iter().find(|cell| cell.state == State::Silent);
    assert_eq!(silent.unwrap().devices, 1);
}

#[test]
fn what_other_keys_do_not_sign_is_left_out_when_keys_change() {
    let (keys, others) = (Keys::new(), Keys::new());
    let text = signed_plan(&keys, &plan());
    let mut rollouts = Rollouts::default();
    rollouts.receive(&text, &[], &keys.trust, at(0)).unwrap();
    let rollout = rollouts.get("ocr").unwrap().clone();
    let cause = cause("operator");
    let abort = signed_statement(&keys, &rollout, 1, 0, Command::Abort { cause });
    rollouts
        .receive(&text, &[abort], &keys.trust, at(20))
        .unwrap();
    assert_eq!(rollouts.verified_by(&keys.trust), rollouts);
    assert_eq!(rollouts.verified_by(&others.trust), Rollouts::default());
}

#[test]
fn a_registry_that_starts_again_counts_when_its_devices_have_had_time_to_report() {
    let keys = Keys::new();
    let text = signed_plan(&keys, &plan());
    let rollout = Rollout::read(&text, &keys.trust, at(0)).unwrap();
    let mut devices = SiteDevices::since(first_number(2)).counting_from(at(300));
    let names = ("site-0", "registry");
    assert_eq!(devices.count(&rollout, names, at(299)), None);
    let (count, _) = devices.count(&rollout, names, at(300)).unwrap();
    assert_eq!(count.number, first_number(2) + 1);
}

#[test]
fn a_device_that_claims_to_be_ten_thousand_is_as_many_as_its_plan_allows_and_hides_no_failure() {
    let keys = Keys::new();
    let most = 100;
    let text = signed_plan(
        &keys,
        &hotshoe_rollout::Plan {
            max_site_devices: most,
            ..plan()
        },
    );
    let mut rollout = Rollout::read(&text, &keys.trust, at(0)).unwrap();
    let said = signed_statement(&keys, &rollout, 1, 4, Command::Advance {});
    assert!(rollout.hear(&said, &keys.trust, at(10)).unwrap());
    let mut fleet = Fleet::default();
    let mut add = |site: &str, devices: u64, state| {
        let mut counted = SiteDevices::default();
        for number in 0..devices {
            let claimed = device(site, &format!("cam-{number}"));
            let heard = report(rollout.plan(), 1, state);
            counted.hear(rollout.plan(), &claimed, "jetson", heard, at(20));
        }
        let (count, _) = counted.count(&rollout, (site, "registry"), at(20)).unwrap();
        assert!(fleet.hear(rollout.plan(), count, at(20)).unwrap());
        counted.len() as u64
    };
    assert_eq!(add("site-1", 10_000, State::Confirmed), most);
    assert_eq!(add("site-2", 50, State::RolledBack), 50);
    let figures = fleet.figures(rollout.plan(), 4, at(30));
    assert_eq!(figures.devices(), most + 50);
    let Outcome::Fail(cause) = rollout.plan().stages[4].gate.judge(&figures, false) else {
        panic!("the gate does not fail");
    };
    assert_eq!(cause.name, "failed_share");
}
