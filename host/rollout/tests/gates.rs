//! Counts, gates and verdicts: what decides that a stage may follow.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;

use common::{Keys, at, plan};
use hotshoe_rollout::{
    Arm, ArmFigures, Cell, Control, Count, Deferral, Figures, Fleet, Gate, Health, Outcome,
    Placement, Quantiles, Report, SignedPlan, State, Tracked, Verdict, compare, project,
};
use hotshoe_store::Phase;
use proptest::prelude::*;

fn cell(state: State, devices: u64) -> Cell {
    Cell {
        stage: 0,
        state,
        cause: String::new(),
        class: "jetson".to_owned(),
        open: false,
        devices,
        health: Health::default(),
        baseline: Health::default(),
    }
}

fn count(plan: &SignedPlan, site: &str, cells: Vec<Cell>) -> Count {
    Count {
        plan: plan.digest(),
        site: site.to_owned(),
        registry: "registry".to_owned(),
        number: 1,
        at: at(100),
        stage: 4,
        cells,
        arms: [].into(),
    }
}

/// The figures of these sites.
fn figures(sites: Vec<Vec<Cell>>) -> Figures {
    let plan = Keys::new().plan(&plan());
    let mut fleet = Fleet::default();
    for (i, cells) in sites.into_iter().enumerate() {
        let count = count(&plan, &format!("site-{i}"), cells);
        assert!(fleet.hear(&plan, count, at(100)).unwrap());
    }
    fleet.figures(&plan, 0, at(100))
}

fn gate() -> Gate {
    Gate {
        min_samples: 0,
        ..Gate::default()
    }
}

#[track_caller]
fn fails(gate: &Gate, sites: Vec<Vec<Cell>>, name: &str) {
    match gate.judge(&figures(sites), false) {
        Outcome::Fail(cause) => assert_eq!(cause.name, name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stage_passes_when_all_devices_have_ended_well() {
    let confirmed = cell(State::Confirmed, 100);
    let open = Cell {
        open: true,
        ..cell(State::Trial, 1)
    };
    let judged = |cells, is_over| gate().judge(&figures(vec![cells]), is_over);
    assert_eq!(judged(vec![confirmed.clone()], false), Outcome::Pass);
    assert_eq!(
        judged(vec![confirmed.clone(), open.clone()], false),
        Outcome::Open
    );
    assert_eq!(judged(vec![confirmed.clone(), open], true), Outcome::Pass);
    // Deferred devices have not failed, and are not waited for beyond their deadline.
    let deferred = cell(State::Deferred, 50);
    assert_eq!(judged(vec![confirmed, deferred], false), Outcome::Pass);
}

#[test]
fn a_stage_does_not_pass_by_a_count_from_before_it_or_without_a_site_of_the_plan() {
    let mut plan = plan();
    plan.selector.sites = vec!["site-0".to_owned(), "site-1".to_owned()];
    let plan = Keys::new().plan(&plan);
    let mut fleet = Fleet::default();
    let judged = |fleet: &Fleet, seconds, is_over| {
        gate().judge(&fleet.figures(&plan, 1, at(seconds)), is_over)
    };
    let confirmed = |site: &str, number, stage| Count {
        number,
        stage,
        ..count(&plan, site, vec![cell(State::Confirmed, 10)])
    };
    fleet
        .hear(&plan, confirmed("site-0", 1, 1), at(100))
        .unwrap();
    assert_eq!(judged(&fleet, 101, false), Outcome::Open);
    fleet
        .hear(&plan, confirmed("site-1", 1, 0), at(102))
        .unwrap();
    assert_eq!(judged(&fleet, 103, false), Outcome::Open);
    // The deadline of the stage ends that wait too.
    assert_eq!(judged(&fleet, 103, true), Outcome::Pass);
    fleet
        .hear(&plan, confirmed("site-1", 2, 1), at(104))
        .unwrap();
    assert_eq!(judged(&fleet, 105, false), Outcome::Pass);
}

#[test]
fn a_site_without_a_registry_is_waited_for_no_longer_than_until_it_is_silent() {
    let mut plan = plan();
    plan.selector.sites = vec!["site-0".to_owned(), "site-1".to_owned()];
    let plan = Keys::new().plan(&plan);
    let mut fleet = Fleet::default();
    let said = count(&plan, "site-0", vec![cell(State::Confirmed, 10)]);
    fleet.hear(&plan, said, at(800)).unwrap();
    let judged = |seconds| gate().judge(&fleet.figures(&plan, 0, at(seconds)), false);
    assert_eq!(judged(900), Outcome::Open);
    assert_eq!(judged(901), Outcome::Pass);
}

#[test]
fn failed_devices_count_by_number_and_by_share() {
    let cells = |failed| {
        vec![
            cell(State::Confirmed, 100 - failed),
            cell(State::RolledBack, failed),
        ]
    };
    assert_eq!(gate().judge(&figures(vec![cells(2)]), false), Outcome::Pass);
    fails(&gate(), vec![cells(3)], "failed_share");
    let few = Gate {
        max_failed: Some(1),
        ..gate()
    };
    fails(&few, vec![cells(2)], "too_many_failed");
    let many = Gate {
        max_failed_ppm: 1_000_000,
        ..gate()
    };
    assert_eq!(many.judge(&figures(vec![cells(5)]), false), Outcome::Pass);
    fails(&many, vec![cells(6)], "success_share");
    // It does not wait for the others.
    let open = Cell {
        open: true,
        ..cell(State::Fetching, 100)
    };
    fails(
        &gate(),
        vec![vec![open, cell(State::Failed, 5)]],
        "failed_share",
    );
}

#[test]
fn silence_pauses_with_its_reason() {
    let cells = |silent| {
        vec![
            cell(State::Confirmed, 100 - silent),
            cell(State::Silent, silent),
        ]
    };
    assert_eq!(
        gate().judge(&figures(vec![cells(20)]), false),
        Outcome::Pass
    );
    let Outcome::NotEnough(cause) = gate().judge(&figures(vec![cells(21)]), false) else {
        panic!("it must pause");
    };
    assert_eq!(cause.name, "too_many_silent");
}

#[test]
fn too_little_evidence_pauses_at_the_deadline() {
    let gate = Gate {
        min_samples: 1_000,
        ..gate()
    };
    let mut served = cell(State::Confirmed, 10);
    served.health.samples = 999;
    let judged = |cell: &Cell, is_over| gate.judge(&figures(vec![vec![cell.clone()]]), is_over);
    assert_eq!(judged(&served, false), Outcome::Open);
    let Outcome::NotEnough(cause) = judged(&served, true) else {
        panic!("it must pause");
    };
    assert_eq!(cause.name, "not_enough_evidence");
    served.health.samples = 1_000;
    assert_eq!(judged(&served, false), Outcome::Pass);
    // Nothing at all is not enough either.
    assert_eq!(gate.judge(&figures(vec![]), false), Outcome::Open);
    assert!(matches!(
        gate.judge(&figures(vec![]), true),
        Outcome::NotEnough(_)
    ));
}

#[test]
fn rates_and_ratios_are_judged_from_enough_samples_on() {
    let with = |change: fn(&mut Cell)| {
        let mut cell = cell(State::Confirmed, 10);
        cell.health.samples = 100;
        for _ in 0..100 {
            cell.health.latency_ms.add(20.0);
            cell.health.energy_mj.add(50.0);
            cell.health.drift_permille.add(100.0);
            cell.baseline.latency_ms.add(10.0);
            cell.baseline.energy_mj.add(50.0);
        }
        change(&mut cell);
        vec![vec![cell]]
    };
    let gate = Gate {
        min_samples: 100,
        max_latency_permille: Some(2_100),
        max_energy_permille: Some(1_100),
        max_drift_permille: Some(100),
        ..Gate::default()
    };
    assert_eq!(gate.judge(&figures(with(|_| {})), false), Outcome::Pass);
    fails(&gate, with(|cell| cell.health.errors = 6), "error_rate");
    fails(&gate, with(|cell| cell.health.traps = 1), "trap_rate");
    let slower = Gate {
        max_latency_permille: Some(1_900),
        ..gate.clone()
    };
    fails(&slower, with(|_| {}), "latency_ratio");
    let hungrier = Gate {
        max_energy_permille: Some(900),
        ..gate.clone()
    };
    fails(&hungrier, with(|_| {}), "energy_ratio");
    let drifting = Gate {
        max_drift_permille: Some(90),
        ..gate.clone()
    };
    fails(&drifting, with(|_| {}), "drift");
    let more = Gate {
        min_samples: 101,
        ..slower
    };
    // Not judged yet, and not passed either.
    assert_eq!(more.judge(&figures(with(|_| {})), false), Outcome::Open);
}

#[test]
fn a_registry_that_lies_hides_nothing_of_other_sites() {
    let honest = vec![cell(State::Confirmed, 90), cell(State::RolledBack, 10)];
    let lie = vec![cell(State::Confirmed, 10_000)];
    fails(&gate(), vec![honest.clone(), lie], "failed_share");
    // It can stop the rollout, and no more.
    let alarm = vec![cell(State::Failed, 10_000)];
    fails(
        &gate(),
        vec![vec![cell(State::Confirmed, 100)], alarm],
        "failed_share",
    );
    let plan = Keys::new().plan(&plan());
    let mut fleet = Fleet::default();
    let refused = |fleet: &mut Fleet, cells| {
        let error = fleet.hear(&plan, count(&plan, "site-0", cells), at(100));
        assert_eq!(error.unwrap_err().name(), "invalid_count");
    };
    refused(&mut fleet, vec![cell(State::Confirmed, 10_001)]);
    refused(
        &mut fleet,
        vec![cell(State::Confirmed, u64::MAX), cell(State::Failed, 1)],
    );
    let mut impossible = cell(State::Confirmed, 1);
    impossible.health.errors = 1;
    refused(&mut fleet, vec![impossible]);
    assert_eq!(fleet, Fleet::default());
}

#[test]
fn two_registries_of_a_site_are_counted_once() {
    let plan = Keys::new().plan(&plan());
    let mut fleet = Fleet::default();
    let one = count(&plan, "site-0", vec![cell(State::Confirmed, 100)]);
    let other = Count {
        registry: "second".to_owned(),
        cells: vec![cell(State::Confirmed, 90), cell(State::Silent, 10)],
        ..one.clone()
    };
    fleet.hear(&plan, other, at(100)).unwrap();
    fleet.hear(&plan, one.clone(), at(100)).unwrap();
    let figures = fleet.figures(&plan, 0, at(100));
    assert_eq!(figures.states()[&State::Confirmed], 100);
    assert_eq!(figures.devices(), 100);
    // An old count is not a sign of life, and changes nothing.
    assert!(!fleet.hear(&plan, one, at(5_000)).unwrap());
}

#[test]
fn what_a_dark_site_left_open_is_silent() {
    let plan = Keys::new().plan(&plan());
    let mut fleet = Fleet::default();
    let open = Cell {
        open: true,
        ..cell(State::Trial, 3)
    };
    let cells = vec![cell(State::Confirmed, 7), open];
    fleet
        .hear(&plan, count(&plan, "site-0", cells), at(100))
        .unwrap();
    let states = |now| fleet.figures(&plan, 0, at(now)).states().clone();
    assert_eq!(
        states(1_000),
        BTreeMap::from([(State::Trial, 3), (State::Confirmed, 7)])
    );
    assert_eq!(
        states(1_001),
        BTreeMap::from([(State::Confirmed, 7), (State::Silent, 3)])
    );
}

#[test]
fn a_count_on_the_wire_is_read_back() {
    let plan = Keys::new().plan(&plan());
    let mut served = cell(State::Confirmed, 3);
    served.health.samples = 2;
    served.health.latency_ms.add(12.5);
    let mut count = count(&plan, "site-0", vec![served]);
    count.arms.insert(Arm::Kept, ArmFigures::default());
    let bytes = serde_json::to_vec(&count).unwrap();
    assert_eq!(Count::parse(&bytes).unwrap(), count);
    assert_eq!(Count::parse(b"{").unwrap_err().name(), "malformed");
}

#[test]
fn a_phase_is_shown_as_its_state() {
    for (phase, state) in [
        (Phase::Absent, State::Waiting),
        (Phase::Fetching, State::Fetching),
        (Phase::Verified, State::Fetching),
        (Phase::Staged, State::Proving),
        (Phase::SelfTested, State::Proving),
        (Phase::Shadow, State::Proving),
        (Phase::Trial, State::Trial),
        (Phase::Live, State::Confirmed),
        (Phase::Refused, State::Refused),
        (Phase::Failed, State::Failed),
        (Phase::RolledBack, State::RolledBack),
    ] {
        assert_eq!(project(phase, None), state);
    }
    assert_eq!(
        project(Phase::Staged, Some(Deferral::Battery)),
        State::Deferred
    );
    assert_eq!(project(Phase::Trial, Some(Deferral::Battery)), State::Trial);
    let names = State::ALL.map(State::as_str);
    assert_eq!(
        names.join(" "),
        "waiting fetching proving trial confirmed refused failed rolled-back deferred silent"
    );
}

/// A device of stage 0 without an offset.
fn tracked() -> Tracked {
    let placement = Placement {
        stage: 0,
        arm: Arm::New,
        starts_after_s: 0,
    };
    Tracked::new(placement, "jetson".to_owned(), at(0))
}

fn report(plan: &SignedPlan, number: u64, state: State) -> Report {
    Report {
        plan: plan.digest(),
        number,
        state,
        cause: String::new(),
        health: Health::default(),
        baseline: Health::default(),
        metric: ArmFigures::default(),
    }
}

#[test]
fn every_state_has_a_deadline_and_silence_ends_it() {
    let mut unsigned = plan();
    unsigned.deadlines.silent_s = 100_000;
    let plan = Keys::new().plan(&unsigned);
    for (state, limit_s, ends, cause) in [
        (State::Fetching, 3_600, State::Failed, "deadline_fetching"),
        (State::Proving, 600, State::Failed, "deadline_proving"),
        (State::Trial, 3_600, State::Failed, "deadline_trial"),
        (
            State::Deferred,
            86_400,
            State::Deferred,
            "deadline_deferred",
        ),
    ] {
        let mut device = tracked();
        assert!(device.hear(&plan, report(&plan, 1, state), at(10)));
        // A repeated report does not begin the state again.
        assert!(device.hear(&plan, report(&plan, 2, state), at(60)));
        let concluded = |now| {
            device
                .conclude(&plan, &Control::default(), at(now))
                .unwrap()
        };
        assert!(concluded(10 + limit_s).is_open);
        let after = concluded(11 + limit_s);
        assert_eq!(
            (after.state, after.cause, after.is_open),
            (ends, cause, false)
        );
    }
    let mut device = tracked();
    device.hear(&plan, report(&plan, 3, State::Trial), at(10));
    let control = Control::default();
    let silent = device.conclude(&plan, &control, at(100_011)).unwrap();
    assert_eq!((silent.state, silent.cause), (State::Silent, "no_report"));
    // It comes back with its deadlines whole.
    device.hear(&plan, report(&plan, 4, State::Trial), at(200_000));
    assert!(
        device
            .conclude(&plan, &control, at(203_600))
            .unwrap()
            .is_open
    );
    // An end stays one without further reports.
    device.hear(&plan, report(&plan, 5, State::Confirmed), at(203_601));
    let ended = device.conclude(&plan, &control, at(2_000_000)).unwrap();
    assert_eq!((ended.state, ended.is_open), (State::Confirmed, false));
}

#[test]
fn a_device_does_not_say_that_it_is_silent_nor_speak_of_another_plan() {
    let (one, mut other) = (plan(), plan());
    other.rollout = 2;
    let keys = Keys::new();
    let (one, other) = (keys.plan(&one), keys.plan(&other));
    let mut device = tracked();
    let before = device.clone();
    assert!(!device.hear(&one, report(&one, 6, State::Silent), at(10)));
    assert!(!device.hear(&one, report(&other, 7, State::Confirmed), at(10)));
    assert_eq!(device, before);
}

#[test]
fn an_old_report_that_is_replayed_changes_nothing() {
    let plan = Keys::new().plan(&plan());
    let mut device = tracked();
    assert!(device.hear(&plan, report(&plan, 1, State::Trial), at(10)));
    assert!(device.hear(&plan, report(&plan, 2, State::RolledBack), at(20)));
    let before = device.clone();
    assert!(!device.hear(&plan, report(&plan, 1, State::Trial), at(30)));
    assert!(!device.hear(&plan, report(&plan, 2, State::RolledBack), at(30)));
    assert_eq!(device, before);
}

#[test]
fn names_from_devices_do_not_fill_a_count() {
    let plan = Keys::new().plan(&plan());
    let devices: Vec<Tracked> = (0..5_000)
        .map(|i| {
            let mut device = tracked();
            let mut report = report(&plan, 8, State::Failed);
            report.cause = format!("cause_{i}");
            assert!(device.hear(&plan, report, at(10)));
            device
        })
        .collect();
    let control = Control::default();
    let count = Count::of(
        &plan,
        &control,
        ("site-0", "registry"),
        (1, at(20)),
        &devices,
    );
    assert!(count.cells.len() <= hotshoe_rollout::MAX_CELLS);
    let all: u64 = count.cells.iter().map(|cell| cell.devices).sum();
    assert_eq!(all, 5_000);
    assert!(Fleet::default().hear(&plan, count, at(20)).unwrap());
}

#[test]
fn a_clear_difference_has_a_verdict_and_none_has_not() {
    let arm = |samples: u64, mean_ppm: u64| ArmFigures {
        samples,
        sum_ppm: samples * mean_ppm,
    };
    let (high, low) = (arm(5_000, 700_000), arm(5_000, 500_000));
    assert_eq!(compare(&high, &low, 50_000), Verdict::Better);
    assert_eq!(compare(&low, &high, 50_000), Verdict::Worse);
    let unknown = compare(&arm(0, 0), &low, 50_000);
    assert_eq!(unknown, Verdict::NotKnown { needed: None });
    assert_eq!(
        compare(&low, &low, 50_000),
        Verdict::NotKnown { needed: None }
    );
    // With as many samples as it asks for, the same difference is known.
    let Verdict::NotKnown {
        needed: Some(needed),
    } = compare(&arm(50, 700_000), &arm(50, 500_000), 50_000)
    else {
        panic!("50 samples are too few");
    };
    let with = |samples| compare(&arm(samples, 700_000), &arm(samples, 500_000), 50_000);
    assert_eq!(with(needed), Verdict::Better);
    assert!(matches!(with(needed - 1), Verdict::NotKnown { .. }));
}

#[test]
fn looking_all_the_time_does_not_raise_the_rate_of_false_verdicts() {
    // 400 comparisons of two arms that are alike, with a look after each sample: at most 5% may err.
    let mut state = 1_u64;
    let mut flips = || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state >> 63 == 1 { 1.0 } else { 0.0 }
    };
    let mut wrong = 0;
    for _ in 0..400 {
        let (mut new, mut kept) = (ArmFigures::default(), ArmFigures::default());
        for _ in 0..1_000 {
            new.add(flips());
            kept.add(flips());
            if !matches!(compare(&new, &kept, 50_000), Verdict::NotKnown { .. }) {
                wrong += 1;
                break;
            }
        }
    }
    assert!(wrong <= 20, "{wrong} of 400");
}

proptest! {
    #[test]
    fn quantiles_are_within_two_percent_and_merge(
        values in prop::collection::vec(0.01..1e9_f64, 1..200),
        cut in 0..200_usize,
        q in 0.0..=1.0_f64,
    ) {
        let of = |values: &[f64]| {
            let mut quantiles = Quantiles::default();
            values.iter().for_each(|value| quantiles.add(*value));
            quantiles
        };
        let whole = of(&values);
        let (one, other) = values.split_at(cut.min(values.len()));
        let mut merged = of(other);
        merged.merge(&of(one));
        prop_assert_eq!(&merged, &whole);
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (q * (sorted.len() - 1) as f64) as usize;
        let found = whole.quantile(q).unwrap();
        let error = (found - sorted[rank]).abs() / sorted[rank];
        prop_assert!(error <= 0.0201, "{found} for {}", sorted[rank]);
        let read: Quantiles = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
        prop_assert_eq!(read, whole);
    }
}

#[test]
fn a_figure_with_a_limit_needs_its_samples_and_pauses_without_them() {
    let with = |change: fn(&mut Cell)| {
        let mut cell = cell(State::Confirmed, 10);
        cell.health.samples = 100;
        for figure in [
            &mut cell.health.latency_ms,
            &mut cell.health.energy_mj,
            &mut cell.health.drift_permille,
            &mut cell.baseline.latency_ms,
            &mut cell.baseline.energy_mj,
        ] {
            figure.add_of(50.0, 100);
        }
        change(&mut cell);
        figures(vec![vec![cell]])
    };
    let gate = Gate {
        min_samples: 100,
        max_latency_permille: Some(1_100),
        max_energy_permille: Some(1_100),
        max_drift_permille: Some(500),
        ..Gate::default()
    };
    assert_eq!(gate.judge(&with(|_| {}), false), Outcome::Pass);
    // Each one alone, by the word that its cause begins with.
    let missing: [(&str, Figures); 5] = [
        ("latency", with(|cell| cell.health.latency_ms = few())),
        ("latency", with(|cell| cell.baseline.latency_ms = few())),
        ("energy", with(|cell| cell.health.energy_mj = few())),
        ("energy", with(|cell| cell.baseline.energy_mj = few())),
        ("drift", with(|cell| cell.health.drift_permille = few())),
    ];
    for (what, figures) in &missing {
        assert_eq!(gate.judge(figures, false), Outcome::Open, "{what}");
        let Outcome::NotEnough(cause) = gate.judge(figures, true) else {
            panic!("it must pause for want of {what}");
        };
        assert_eq!(cause.name, "not_enough_evidence");
        assert!(cause.message.contains(what), "{cause}");
        assert!(cause.message.contains("99 of 100"), "{cause}");
    }
    // Without a limit, the figure is not asked for.
    let lenient = Gate {
        max_energy_permille: None,
        ..gate
    };
    let figures = with(|cell| cell.health.energy_mj = Quantiles::default());
    assert_eq!(lenient.judge(&figures, false), Outcome::Pass);
}

/// A figure of 99 samples.
fn few() -> Quantiles {
    let mut few = Quantiles::default();
    few.add_of(50.0, 99);
    few
}

#[test]
fn a_busy_device_does_not_outweigh_the_others() {
    let mut latency = Quantiles::default();
    latency.add_of(900.0, 1_000_000);
    for _ in 0..20 {
        latency.add_of(10.0, 1_000);
    }
    latency.add_of(900.0, 0);
    assert_eq!(latency.count(), 21_000);
    let p95 = latency.quantile(0.95).unwrap();
    assert!((9.8..=10.2).contains(&p95), "{p95}");
}
