#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use hotshoe_trust::{Mode, Rate, Rests};

use super::*;
use crate::governor::convert::plan_from_guest;
use crate::governor::{Drive, MeasuredMode, ModelRuns, PlanAlert, Reasoned};
use crate::host::bindings::governor as wit;
use crate::insight::Severity;

fn mode(name: &str, level: u32) -> MeasuredMode {
    MeasuredMode {
        name: name.to_owned(),
        mode: Mode {
            level,
            rate: Rate::FULL,
            variants: BTreeMap::new(),
            rests: Rests::default(),
        },
        agreement_ratio: None,
        p95_ms: None,
        memory_bytes: None,
        joules_per_sample: None,
    }
}

fn state() -> DeviceState {
    DeviceState {
        modes: vec![mode("full", 0), mode("minimal", 1)],
        outputs: vec!["fan".to_owned(), "lamp".to_owned()],
        models: vec![runs("tract"), runs("cuda")],
        ..DeviceState::default()
    }
}

fn runs(backend: &str) -> ModelRuns {
    ModelRuns {
        model: "detect".to_owned(),
        variant: "fp32".to_owned(),
        backend: backend.to_owned(),
        runs: 10,
        faults: 0,
        faults_in_a_row: 0,
        joules_per_run: None,
    }
}

fn because<T>(value: T) -> Reasoned<T> {
    Reasoned {
        value,
        reason: "it is hot".to_owned(),
    }
}

fn drive(name: &str, value_ratio: f64) -> Drive {
    Drive {
        name: name.to_owned(),
        value_ratio,
        reason: "it is hot".to_owned(),
    }
}

fn alert(name: &str, reason: String) -> PlanAlert {
    PlanAlert {
        name: name.to_owned(),
        severity: Severity::Critical,
        reason,
    }
}

/// A plan that uses every item, at its bounds.
fn whole() -> Plan {
    Plan {
        mode: Some(because("minimal".to_owned())),
        rate: Some(because(Rate {
            every: 1_000_000,
            max_per_second: Some(0.001),
            only_on_motion: true,
        })),
        status_interval_seconds: Some(because(1)),
        telemetry_interval_seconds: Some(because(MAX_INTERVAL_SECONDS)),
        outputs: vec![drive("fan", 1.0), drive("lamp", 0.0)],
        alerts: (0..MAX_PLAN_ITEMS)
            .map(|number| alert(&format!("a-{number}"), "x".repeat(MAX_REASON_BYTES)))
            .collect(),
        avoid: vec![because("cuda".to_owned())],
        rest_us: Some(because(MAX_REST_SECONDS * 1_000_000)),
        hibernate: Some("the battery is empty".to_owned()),
        stop: Some("it is hot".to_owned()),
    }
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Plan)) -> (Fault, String) {
    let mut plan = whole();
    assert_eq!(check_plan(&plan, &state()), Ok(()));
    change(&mut plan);
    match check_plan(&plan, &state()) {
        Ok(()) => (Fault::Model, "it was accepted".to_owned()),
        Err(defect) => (defect.fault(), defect.to_string()),
    }
}

#[test]
fn a_plan_at_its_bounds_is_accepted_and_so_is_an_empty_one() {
    assert_eq!(check_plan(&whole(), &state()), Ok(()));
    assert_eq!(
        check_plan(&Plan::default(), &DeviceState::default()),
        Ok(())
    );
}

#[test]
fn a_mode_that_is_not_signed_has_a_fault_of_its_own() {
    let (fault, text) = refused(|plan| plan.mode = Some(because("tur\u{1b}bo".to_owned())));
    assert_eq!(fault, Fault::UnsignedMode);
    assert_eq!(
        text,
        "names the mode `tur\\u{1b}bo`, which the release does not sign; its modes are: full, minimal"
    );
    let mut plan = whole();
    plan.outputs.clear();
    plan.avoid.clear();
    let defect = check_plan(&plan, &DeviceState::default());
    let known = "none".to_owned();
    let name = "minimal".to_owned();
    assert_eq!(defect, Err(PlanDefect::UnsignedMode { name, known }));
}

#[test]
fn what_a_terminal_acts_on_is_written_out_in_every_reason() {
    let reason = || "a\u{1b}[2Jb".to_owned();
    let made = wit::Plan {
        mode: Some(wit::ModeChoice {
            name: "minimal".to_owned(),
            reason: reason(),
        }),
        rate: None,
        status_interval: Some(wit::Interval {
            seconds: 5,
            reason: reason(),
        }),
        telemetry_interval: None,
        outputs: vec![wit::Drive {
            name: "fan".to_owned(),
            value_ratio: 1.0,
            reason: reason(),
        }],
        alerts: vec![wit::Alert {
            name: "hot".to_owned(),
            severity: wit::Severity::Info,
            reason: reason(),
        }],
        avoid: vec![wit::Avoidance {
            backend: "tract".to_owned(),
            reason: reason(),
        }],
        rest_until: Some(wit::Rest {
            until_us: 1,
            reason: reason(),
        }),
        hibernate: Some(reason()),
        stop: Some(reason()),
    };
    let plan = plan_from_guest(made, &state()).unwrap();
    let said = [
        plan.mode.map(|it| it.reason),
        plan.status_interval_seconds.map(|it| it.reason),
        plan.outputs.first().map(|it| it.reason.clone()),
        plan.alerts.first().map(|it| it.reason.clone()),
        plan.avoid.first().map(|it| it.reason.clone()),
        plan.rest_us.map(|it| it.reason),
        plan.hibernate,
        plan.stop,
    ];
    for reason in said {
        assert_eq!(reason.as_deref(), Some("a\\u{1b}[2Jb"));
    }
}

#[test]
fn every_bound_of_a_plan_is_checked() {
    let rate = |every, max_per_second| {
        move |plan: &mut Plan| {
            plan.rate = Some(because(Rate {
                every,
                max_per_second,
                only_on_motion: false,
            }));
        }
    };
    for (change, said) in [
        (
            Box::new(rate(0, None)) as Box<dyn FnOnce(&mut Plan)>,
            "a rate with an `every` of 0; allowed are 1 to 1000000",
        ),
        (
            Box::new(rate(1, Some(f64::NAN))),
            "a rate with a `max-per-second` of NaN; allowed are 0.001 to 10000",
        ),
        (
            Box::new(|plan| plan.status_interval_seconds = Some(because(0))),
            "a `status-interval` of 0; allowed are 1 to 86400",
        ),
        (
            Box::new(|plan| plan.telemetry_interval_seconds = Some(because(86_401))),
            "a `telemetry-interval` of 86401",
        ),
        (
            Box::new(|plan| plan.outputs.push(drive("siren", 1.0))),
            "names the output `siren`, which is none of the state; known are: fan, lamp",
        ),
        (
            Box::new(|plan| plan.outputs.push(drive("fan", 0.5))),
            "names the output `fan` twice",
        ),
        (
            Box::new(|plan| plan.avoid.push(because("npu".to_owned()))),
            "names the backend `npu`, which is none of the state; known are: cuda, tract",
        ),
        (
            Box::new(|plan| plan.avoid.push(because("cuda".to_owned()))),
            "names the backend `cuda` twice",
        ),
        (
            Box::new(|plan| plan.alerts = vec![alert("Too hot", "x".to_owned())]),
            "an alert of the name `Too hot`",
        ),
        (
            Box::new(|plan| plan.alerts = vec![alert("", "x".to_owned())]),
            "an alert of the name ``",
        ),
        (
            Box::new(|plan| plan.alerts = vec![alert("hot", "x".to_owned()); 2]),
            "names the alert `hot` twice",
        ),
        (
            Box::new(|plan| plan.outputs = vec![drive("fan", f64::INFINITY)]),
            "an output with a `value-ratio` of inf; allowed are 0 to 1",
        ),
        (
            Box::new(|plan| plan.outputs = vec![drive("fan", -0.1)]),
            "an output with a `value-ratio` of -0.1",
        ),
        (
            Box::new(|plan| plan.alerts.push(alert("more", "one more".to_owned()))),
            "has 17 alerts; at most 16 are allowed",
        ),
        (
            Box::new(|plan| plan.outputs = vec![drive("fan", 0.0); 17]),
            "has 17 outputs; at most 16 are allowed",
        ),
        (
            Box::new(|plan| plan.stop = Some(String::new())),
            "a reason of 0 bytes for `stop`; allowed are 1 to 256",
        ),
        (
            Box::new(|plan| plan.alerts = vec![alert("hot", "x".repeat(257))]),
            "a reason of 257 bytes for an alert",
        ),
        (
            Box::new(|plan| plan.rest_us = Some(because(0))),
            "rests for 0 us after `now-us`",
        ),
        (
            Box::new(|plan| plan.rest_us = Some(because(604_800_000_001))),
            "allowed are 1 us to 604800 s",
        ),
    ] {
        let (fault, text) = refused(change);
        assert_eq!(fault, Fault::InvalidPlan, "{text}");
        assert!(text.contains(said), "{text}");
    }
}
