//! What a comparison by device does to a rollout.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod common;

use common::{Keys, at, plan};
use hotshoe_rollout::{
    Action, Arm, ArmFigures, Cell, Command, Compare, Comparison, Control, Count, Fleet, Health,
    Placement, Report, SignedPlan, State, Tracked, Verdict, compare, step,
};

/// A plan that compares in stage 0, and aborts.
fn compared() -> SignedPlan {
    let mut plan = plan();
    plan.compare = Some(Compare {
        metric: "mean(lines.*.score)".to_owned(),
        samples: 100,
        through_stage: 0,
        alpha_ppm: 50_000,
    });
    Keys::new().plan(&plan)
}

/// A site of ten devices that confirmed the release, and the means of both arms after so many samples.
fn heard(plan: &SignedPlan, samples: u64, [new, kept]: [u64; 2], open: u64) -> Fleet {
    let cell = |state, devices, open| Cell {
        stage: 0,
        state,
        cause: String::new(),
        class: "jetson".to_owned(),
        open,
        devices,
        health: Health::default(),
        baseline: Health::default(),
    };
    let mut cells = vec![cell(State::Confirmed, 10, false)];
    if open > 0 {
        cells.push(cell(State::Trial, open, true));
    }
    let arm = |mean_ppm| ArmFigures {
        samples,
        sum_ppm: samples * mean_ppm,
    };
    let count = Count {
        plan: plan.digest(),
        site: "site-0".to_owned(),
        registry: "registry".to_owned(),
        number: 1,
        at: at(700),
        stage: 0,
        cells,
        arms: [(Arm::New, arm(new)), (Arm::Kept, arm(kept))].into(),
    };
    let mut fleet = Fleet::default();
    fleet.hear(plan, count, at(700)).unwrap();
    fleet
}

/// The command that a controller states after the watch time, with its cause.
fn stated(plan: &SignedPlan, fleet: &Fleet, seconds: u64) -> Option<(&'static str, String)> {
    match step(plan, &Control::default(), fleet, at(seconds)) {
        Action::Wait => None,
        Action::State(statement) => {
            let cause = statement.command.cause();
            let cause = cause.map_or_else(String::new, |cause| cause.name.clone());
            Some((statement.command.as_str(), cause))
        }
        Action::End(end) => panic!("{end:?}"),
    }
}

#[test]
fn a_better_arm_lets_the_stage_pass_and_a_worse_one_ends_the_rollout_at_once() {
    let plan = compared();
    let better = heard(&plan, 5_000, [700_000, 500_000], 0);
    let next = Some((Command::Advance {}.as_str(), String::new()));
    assert_eq!(stated(&plan, &better, 700), next);
    let abort = Some(("abort", "comparison_worse".to_owned()));
    let worse = heard(&plan, 5_000, [500_000, 700_000], 0);
    assert_eq!(stated(&plan, &worse, 700), abort);
    // Devices that are still on their way do not change that.
    let worse = heard(&plan, 5_000, [500_000, 700_000], 3);
    assert_eq!(stated(&plan, &worse, 700), abort);
}

#[test]
fn an_unknown_difference_is_waited_for_until_the_deadline_of_the_stage() {
    let plan = compared();
    let unknown = heard(&plan, 50, [700_000, 500_000], 0);
    assert_eq!(stated(&plan, &unknown, 700), None);
    let after = plan.stage_deadline_s(0) + 1;
    let pause = Some(("pause", "not_enough_evidence".to_owned()));
    assert_eq!(stated(&plan, &unknown, after), pause);
}

/// xorshift64*, from 0 to 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[test]
fn devices_that_differ_make_no_more_false_verdicts_than_alpha_under_continuous_looks() {
    // 400 fleets of 200 devices. Half of them see nothing but hard scenes, and the release changes nothing. A look after each device.
    let mut random = Random(7);
    let (mut wrong, mut wrong_by_samples) = (0, 0);
    for _ in 0..400 {
        let mut arms = [ArmFigures::default(); 2];
        let mut pooled = [ArmFigures::default(); 2];
        let is_known = |arms: &[ArmFigures; 2]| {
            let verdict = compare(&arms[0], &arms[1], 50_000);
            !matches!(verdict, Verdict::NotKnown { .. })
        };
        let (mut erred, mut erred_by_samples) = (false, false);
        for _ in 0..200 {
            let arm = usize::from(random.next() < 0.5);
            let mean = if random.next() < 0.5 { 0.05 } else { 0.95 };
            arms[arm].add(mean);
            pooled[arm].merge(&ArmFigures {
                samples: 100,
                sum_ppm: (100.0 * mean * 1e6) as u64,
            });
            erred |= is_known(&arms);
            erred_by_samples |= is_known(&pooled);
        }
        wrong += u32::from(erred);
        wrong_by_samples += u32::from(erred_by_samples);
    }
    assert!(wrong <= 20, "{wrong} of 400");
    // What a count of samples would say: why a device counts once.
    assert!(wrong_by_samples > 200, "{wrong_by_samples} of 400");
}

#[test]
fn a_large_difference_is_known_by_few_devices_whenever_one_looks() {
    // Values around 0.9 and 0.5: at each of 400 tries the verdict is right, and comes within 100 devices of each arm.
    let mut random = Random(11);
    for _ in 0..400 {
        let (mut new, mut kept) = (ArmFigures::default(), ArmFigures::default());
        let mut verdict = Verdict::NotKnown { needed: None };
        for _ in 0..100 {
            new.add(0.8 + 0.2 * random.next());
            kept.add(0.4 + 0.2 * random.next());
            verdict = compare(&new, &kept, 50_000);
            assert_ne!(verdict, Verdict::Worse);
            if verdict == Verdict::Better {
                break;
            }
        }
        assert_eq!(verdict, Verdict::Better);
    }
}

fn report(plan: &SignedPlan, number: u64, metric: ArmFigures) -> Report {
    Report {
        plan: plan.digest(),
        number,
        state: State::Waiting,
        cause: String::new(),
        health: Health::default(),
        baseline: Health::default(),
        metric,
    }
}

#[test]
fn a_device_counts_once_and_its_first_value_stands() {
    let plan = compared();
    let placement = |stage, arm| Placement {
        stage,
        arm,
        starts_after_s: 0,
    };
    let value = |samples, sum_ppm| ArmFigures { samples, sum_ppm };
    let of = |placement, metrics: &[ArmFigures]| {
        let mut device = Tracked::new(placement, "jetson".to_owned(), at(0));
        for (number, metric) in (1..).zip(metrics) {
            device.hear(&plan, report(&plan, number, *metric), at(number));
        }
        device
    };
    let kept = placement(0, Arm::Kept);
    let devices = [
        of(kept, &[value(1, 700_000), value(1, 100_000), value(0, 0)]),
        // It claims to be ten thousand.
        of(kept, &[value(10_000, 0)]),
        of(placement(0, Arm::New), &[value(1, 200_000)]),
        // By its stage, both arms take the release.
        of(placement(1, Arm::Kept), &[value(1, 0)]),
    ];
    let names = ("site-0", "registry");
    let count = Count::of(&plan, &Control::default(), names, (1, at(10)), &devices);
    assert_eq!(count.arms[&Arm::Kept], value(1, 700_000));
    assert_eq!(count.arms[&Arm::New], value(1, 200_000));
    // A registry cannot count more devices than the plan allows either.
    let mut lie = count;
    lie.arms.insert(Arm::New, value(plan.max_site_devices, 0));
    let refused = Fleet::default().hear(&plan, lie, at(10)).unwrap_err();
    assert_eq!(refused.name(), "invalid_count");
}

#[test]
fn a_registry_that_reports_good_values_lets_no_release_pass() {
    let plan = compared();
    let mut fleet = heard(&plan, 500, [500_000, 500_000], 0);
    let arm = |mean_ppm: u64| ArmFigures {
        samples: 5_000,
        sum_ppm: 5_000 * mean_ppm,
    };
    let lie = Count {
        plan: plan.digest(),
        site: "site-1".to_owned(),
        registry: "registry".to_owned(),
        number: 1,
        at: at(700),
        stage: 0,
        cells: Vec::new(),
        arms: [(Arm::New, arm(1_000_000)), (Arm::Kept, arm(0))].into(),
    };
    assert!(fleet.hear(&plan, lie, at(700)).unwrap());
    let shown = Comparison::of(plan.compare.as_ref().unwrap(), &fleet);
    assert_eq!(shown.verdict, "not-known");
    assert_eq!(stated(&plan, &fleet, 700), None);
}

#[test]
fn what_is_missing_is_shown_by_devices_and_samples() {
    let plan = compared();
    let compare = plan.compare.clone().unwrap();
    let shown = |samples, means| Comparison::of(&compare, &heard(&plan, samples, means, 0));
    let unknown = shown(10, [900_000, 600_000]);
    assert_eq!((unknown.new.devices, unknown.kept.devices), (10, 10));
    assert_eq!(
        (unknown.new.mean, unknown.kept.mean),
        (Some(0.9), Some(0.6))
    );
    // A difference of 0.9 and 0.6 needs 60 devices of each arm, by the formula in another program.
    assert_eq!((unknown.verdict, unknown.needed), ("not-known", Some(50)));
    let known = shown(60, [900_000, 600_000]);
    assert_eq!((known.verdict, known.needed), ("better", None));
    assert_eq!(shown(60, [600_000, 900_000]).verdict, "worse");
    let none = shown(0, [0, 0]);
    assert_eq!((none.new.mean, none.needed), (None, None));
}
