//! The default plan, line by line of its table, and what a heat wave does with the ladder.

use std::time::Duration;

use hotshoe_senses::{
    BackendHealth, DefaultPlan, Ladder, LadderLimits, Moment, Plan, Rate, Rest, SignedMode,
    SignedModes, Thresholds, ThresholdsError, WindowLatency, Wish, parse,
};
use proptest::prelude::*;

use crate::recorded::device;

fn modes() -> SignedModes {
    SignedModes(vec![SignedMode {
        name: "minimal".to_owned(),
        rate: Rate::FULL,
    }])
}

/// What a plan says: fan, one of so many samples, milliseconds between two, mode, rest, seconds between two messages of status.
type Said = (
    Option<u8>,
    u32,
    u32,
    Option<String>,
    Option<Rest>,
    Option<u32>,
);

fn said(plan: &Plan) -> Said {
    let rate = plan.rate.as_ref().map_or(Rate::FULL, |rate| rate.value);
    (
        plan.outputs.get("fan").map(|fan| fan.value),
        rate.every.get(),
        rate.interval_ms,
        plan.mode.as_ref().map(|mode| mode.value.clone()),
        plan.rest.as_ref().map(|rest| rest.value),
        plan.status_interval_s.as_ref().map(|it| it.value),
    )
}

/// The plan of a device that starts in this moment.
fn first(moment: &Moment) -> Plan {
    let start = DefaultPlan::default();
    start
        .next(&Thresholds::default(), &modes(), moment, Duration::ZERO)
        .1
}

fn hot(celsius: f64) -> Moment {
    Moment {
        celsius: Some(celsius),
        ..Moment::default()
    }
}

fn charged(percent: f64) -> Moment {
    Moment {
        charge_percent: Some(percent),
        ..Moment::default()
    }
}

/// The plans of moments that follow each other by a second.
fn follow(moments: impl IntoIterator<Item = Moment>) -> Vec<Plan> {
    let (mut state, thresholds) = (DefaultPlan::default(), Thresholds::default());
    let mut plans = Vec::new();
    for (second, moment) in (0..).zip(moments) {
        let at = Duration::from_secs(second);
        let (next, plan) = state.next(&thresholds, &modes(), &moment, at);
        state = next;
        plans.push(plan);
    }
    plans
}

#[test]
fn heat_is_as_in_the_table() {
    let minimal = Some("minimal".to_owned());
    for (celsius, expected) in [
        (54.9, (None, 1, 0, None, None, None)),
        (55.0, (Some(50), 1, 0, None, None, None)),
        (64.9, (Some(50), 1, 0, None, None, None)),
        (65.0, (Some(100), 3, 0, None, None, None)),
        (75.0, (Some(100), 3, 500, minimal.clone(), None, None)),
        (84.9, (Some(100), 3, 500, minimal.clone(), None, None)),
        (85.0, (Some(100), 3, 500, minimal, Some(Rest::Stop), None)),
    ] {
        let plan = first(&hot(celsius));
        assert_eq!(said(&plan), expected, "{celsius}");
        let alerts: Vec<_> = plan.alerts.keys().map(String::as_str).collect();
        assert_eq!(alerts == ["too-hot"], celsius >= 85.0);
    }
    let rest = first(&hot(90.0)).rest.unwrap();
    assert_eq!(rest.reason, "the hottest thermal zone has 90.0 C");
}

#[test]
fn charge_is_as_in_the_table_and_does_not_matter_on_mains() {
    for (percent, expected) in [
        (50.1, (None, 1, 0, None, None, None)),
        (50.0, (None, 3, 0, None, None, Some(300))),
        (20.0, (None, 3, 0, None, None, Some(300))),
        (19.9, (None, 3, 500, None, None, Some(3_600))),
        (5.0, (None, 3, 500, None, None, Some(3_600))),
        (
            4.9,
            (None, 3, 500, None, Some(Rest::Hibernate), Some(3_600)),
        ),
    ] {
        assert_eq!(said(&first(&charged(percent))), expected, "{percent}");
        let on_mains = |is_on_mains| Moment {
            is_on_mains: Some(is_on_mains),
            ..charged(percent)
        };
        assert_eq!(first(&on_mains(true)), Plan::default());
        assert_eq!(said(&first(&on_mains(false))), expected);
    }
}

#[test]
fn what_is_not_known_changes_nothing() {
    assert_eq!(first(&Moment::default()), Plan::default());
}

#[test]
fn a_reading_is_a_moment() {
    // 51 C, 42%, mains offline.
    let moment = Moment::of(&parse(&device()));
    assert_eq!(said(&first(&moment)), (None, 3, 0, None, None, Some(300)));
}

#[test]
fn the_stricter_of_heat_and_charge_wins() {
    let moment = Moment {
        celsius: Some(70.0),
        ..charged(10.0)
    };
    let expected = (Some(100), 3, 500, None, None, Some(3_600));
    assert_eq!(said(&first(&moment)), expected);
}

#[test]
fn a_limit_ends_by_its_margin_later() {
    let fans = |celsius: &[f64]| -> Vec<u8> {
        let plans = follow(celsius.iter().map(|it| hot(*it)));
        plans.iter().map(|it| said(it).0.unwrap_or(0)).collect()
    };
    assert_eq!(
        fans(&[64.0, 65.0, 62.0, 61.9, 65.0, 51.0]),
        [50, 100, 100, 50, 100, 0]
    );
    let status = |percents: &[f64]| -> Vec<u32> {
        let plans = follow(percents.iter().map(|it| charged(*it)));
        plans.iter().map(|it| said(it).5.unwrap_or(0)).collect()
    };
    assert_eq!(
        status(&[51.0, 50.0, 53.0, 53.1, 19.0, 22.0, 23.0]),
        [0, 300, 300, 0, 3_600, 3_600, 300]
    );
}

#[test]
fn a_sensor_that_disappears_holds_its_rule_for_a_while_and_is_named() {
    let moments = [hot(86.0)]
        .into_iter()
        .chain((0..=601).map(|_| Moment::default()));
    let plans = follow(moments.chain([hot(40.0)]));
    let stops = |plan: &Plan| plan.rest.is_some();
    let is_named = |plan: &Plan| plan.alerts.contains_key("no-temperature");
    assert!(stops(&plans[0]) && !is_named(&plans[0]));
    // It is missing from the first second on, and the rule ends 600 s later.
    assert!(stops(&plans[1]) && is_named(&plans[1]));
    assert!(stops(&plans[600]));
    assert!(!stops(&plans[601]) && is_named(&plans[601]));
    assert_eq!(plans.last(), Some(&Plan::default()));
}

/// Other zones, which are cool, tell nothing of the place that was too hot.
#[test]
fn the_hottest_zone_that_disappears_among_others_holds_its_rule() {
    let zones = |hottest: &str, celsius, zones: &[&str]| Moment {
        hottest: Some(hottest.to_owned()),
        zones: zones.iter().map(|it| (*it).to_owned()).collect(),
        ..hot(celsius)
    };
    let case = || zones("case", 40.0, &["case"]);
    let moments = [zones("cpu", 86.0, &["case", "cpu"])]
        .into_iter()
        .chain((0..600).map(|_| case()));
    let plans = follow(moments.chain([case(), case()]));
    let stops = |plan: &Plan| plan.rest.is_some();
    let is_named = |plan: &Plan| plan.alerts.contains_key("no-temperature");
    assert!(stops(&plans[0]) && !is_named(&plans[0]));
    assert!(stops(&plans[1]) && is_named(&plans[1]));
    assert!(stops(&plans[600]) && is_named(&plans[600]));
    assert_eq!(plans[601], Plan::default());
    // One that is there again, and one that is as hot, tell enough.
    for back in [
        zones("cpu", 40.0, &["case", "cpu"]),
        zones("gpu", 86.0, &["case", "gpu"]),
    ] {
        let is_hot = back.celsius == Some(86.0);
        let plans = follow([zones("cpu", 86.0, &["case", "cpu"]), case(), back]);
        assert!(is_named(&plans[1]) && !is_named(&plans[2]));
        assert_eq!(stops(&plans[2]), is_hot);
    }
    // A zone that asked for nothing is not missed.
    let plans = follow([zones("cpu", 50.0, &["case", "cpu"]), case()]);
    assert_eq!(plans[1], Plan::default());
}

#[test]
fn a_release_without_the_mode_runs_its_last_variants() {
    let moment = Moment {
        smaller_variants: 2,
        ..hot(80.0)
    };
    let start = DefaultPlan::default();
    let none = SignedModes::default();
    let (_, plan) = start.next(&Thresholds::default(), &none, &moment, Duration::ZERO);
    assert_eq!(plan.skip_variants.map(|it| it.value), Some(2));
    assert_eq!(plan.mode, None);
    assert_eq!(first(&moment).skip_variants, None);
}

#[test]
fn late_windows_choose_the_next_variant_and_headroom_the_one_before() {
    let window = |p95_us| Moment {
        window: Some(WindowLatency {
            p95_us,
            deadline_us: 1_000,
        }),
        smaller_variants: 2,
        ..Moment::default()
    };
    let skipped = |windows: &[u64]| -> Vec<u32> {
        let plans = follow(windows.iter().map(|it| window(*it)));
        let skipped = |plan: &Plan| plan.skip_variants.as_ref().map_or(0, |it| it.value);
        plans.iter().map(skipped).collect()
    };
    // Exactly the deadline is not late, and three have to be late in a row.
    assert_eq!(
        skipped(&[1_001, 1_001, 1_000, 1_001, 1_001]),
        [0, 0, 0, 0, 0]
    );
    assert_eq!(
        skipped(&[1_001; 10]),
        [0, 0, 1, 1, 1, 2, 2, 2, 2, 2],
        "there are two others"
    );
    let mut windows = vec![1_001; 3];
    // 601 of 1000 is not headroom, 600 is.
    windows.extend([600, 600, 600, 601, 600, 600, 600, 600, 600, 600]);
    assert_eq!(skipped(&windows), [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    // Between two windows nothing is counted.
    let waiting = Moment {
        smaller_variants: 2,
        ..Moment::default()
    };
    let moments = [
        window(2_000),
        waiting.clone(),
        window(2_000),
        waiting,
        window(2_000),
    ];
    let last = follow(moments).pop().unwrap();
    assert_eq!(last.skip_variants.unwrap().value, 1);
}

#[test]
fn a_failing_backend_is_avoided_until_a_run_on_it_succeeds() {
    let moment = |failures: [u32; 2]| Moment {
        backends: [("ort", failures[0]), ("tract", failures[1])]
            .map(|(name, failures_in_a_row)| BackendHealth {
                name: name.to_owned(),
                failures_in_a_row,
            })
            .into(),
        ..Moment::default()
    };
    let failures = [[2, 0], [3, 0], [1, 0], [0, 0], [3, 3]];
    let plans = follow(failures.map(moment));
    let avoided: Vec<Vec<&str>> = plans
        .iter()
        .map(|plan| plan.avoid_backends.keys().map(String::as_str).collect())
        .collect();
    assert_eq!(avoided, [vec![], vec!["ort"], vec!["ort"], vec![], vec![]]);
    assert_eq!(plans[1].avoid_backends["ort"], "3 failures in a row");
    // With none left, all stay in use.
    assert!(plans[4].alerts.contains_key("no-backend"));
}

#[test]
fn the_data_file_has_the_defaults_and_every_key() {
    let text = include_str!("../../default-plan.toml");
    assert_eq!(Thresholds::parse(text).unwrap(), Thresholds::default());
    assert_eq!(Thresholds::parse("").unwrap(), Thresholds::default());
    let keys = text.lines().filter(|line| {
        let (key, _) = line.split_once('=').unwrap_or_default();
        !key.is_empty() && !key.starts_with('#')
    });
    assert_eq!(keys.count(), 20);
}

#[test]
fn thresholds_that_make_no_sense_are_refused_with_the_way_out() {
    for (text, name, part) in [
        ("stop-celsius = 70", "thresholds_out_of_order", "rising"),
        ("stop-celsius = nan", "thresholds_out_of_order", "finite"),
        ("stop-celsius = inf", "thresholds_out_of_order", "finite"),
        (
            "slow-charge-percent = 101",
            "thresholds_out_of_order",
            "falling",
        ),
        (
            "celsius-margin = -1",
            "threshold_out_of_range",
            "celsius-margin",
        ),
        ("late-windows = 0", "threshold_out_of_range", "1 or more"),
        ("every = 0", "unreadable_thresholds", "cannot be read"),
        (
            "stop-kelvin = 358",
            "unreadable_thresholds",
            "cannot be read",
        ),
    ] {
        let error: ThresholdsError = Thresholds::parse(text).unwrap_err();
        assert_eq!(error.name(), name, "{text}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_heat_wave_goes_up_the_ladder_and_down_again() {
    let limits = LadderLimits::default();
    let (mut state, mut ladder) = (DefaultPlan::default(), Ladder::default());
    let thresholds = Thresholds::default();
    let mut changes = Vec::new();
    // A reading each 2 s: from 50 C to 90 C and back, 1 C in 10 s.
    for step in 0..500_u32 {
        let at = Duration::from_secs(u64::from(2 * step));
        let celsius = 90.0 - f64::from(200_u32.abs_diff(step)) * 0.2;
        let (next, plan) = state.next(&thresholds, &modes(), &hot(celsius), at);
        state = next;
        let wish = Wish {
            from: "default".to_owned(),
            plan,
        };
        let (next, decision) = ladder.step(&limits, &modes(), &[wish], at);
        ladder = next;
        if decision.has_changed {
            changes.push((at, said(ladder.in_force())));
        }
    }
    let minimal = || Some("minimal".to_owned());
    let plans: Vec<Said> = changes.iter().map(|(_, said)| said.clone()).collect();
    assert_eq!(
        plans,
        [
            (Some(50), 1, 0, None, None, None),
            (Some(100), 3, 0, None, None, None),
            (Some(100), 3, 500, minimal(), None, None),
            (Some(100), 3, 500, minimal(), Some(Rest::Stop), None),
            (Some(100), 3, 500, minimal(), None, None),
            (Some(100), 3, 0, None, None, None),
            (Some(50), 1, 0, None, None, None),
            (None, 1, 0, None, None, None),
        ]
    );
    assert!(
        changes
            .windows(2)
            .all(|pair| pair[1].0 - pair[0].0 >= limits.least)
    );
}

proptest! {
    #[test]
    fn every_plan_keeps_the_limits_of_plans(
        celsius in prop::option::of(any::<f64>()),
        percent in prop::option::of(any::<f64>()),
        p95_us in any::<u64>(),
        deadline_us in any::<u64>(),
        smaller_variants in any::<u32>(),
    ) {
        let moment = Moment {
            celsius,
            charge_percent: percent,
            window: Some(WindowLatency { p95_us, deadline_us }),
            smaller_variants,
            ..Moment::default()
        };
        for plan in follow(std::iter::repeat_n(moment, 8)) {
            prop_assert!(plan.check(&modes()).is_ok());
        }
    }
}
