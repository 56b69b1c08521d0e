//! Governors as components: the one that ships, by its table, and one that breaks every bound.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod fixture;

use std::sync::Arc;

use hotshoe_egress::WITHHELD;
use hotshoe_engine::{
    DeviceState, ErrorCode, Fault, Instance, MeasuredMode, ModelRuns, Plan, Severity, ThermalZone,
    Window,
};
use hotshoe_pipeline::LoadError;
use hotshoe_trust::{Mode, Rate, Rests};

use fixture::{Fixture, Loaded};

/// Access to the governor of a release with this component, given with `lines` in its table.
fn governor(fixture: &Fixture, component: &str, lines: &str) -> Result<Instance, LoadError> {
    let release = format!(
        r#"generation = 1
[components.measure]
file = "{{guests}}/measure.wasm"
world = "stage"
[components.governor]
file = "{{guests}}/{component}.wasm"
world = "governor"
{lines}
[[pipeline]]
stage = "measure"
"#
    );
    let pipeline = fixture.load(&release)?.pipeline;
    Ok(Instance::new(Arc::clone(
        &pipeline.components()["governor"],
    )))
}

fn shipped(fixture: &Fixture) -> Instance {
    governor(fixture, "governor", "grants = [\"data\"]").unwrap()
}

fn mode(name: &str, level: u32) -> MeasuredMode {
    MeasuredMode {
        name: name.to_owned(),
        mode: Mode {
            level,
            rate: Rate::FULL,
            variants: [].into(),
            rests: Rests::default(),
        },
        agreement_ratio: Some(0.97),
        p95_ms: None,
        memory_bytes: None,
        joules_per_sample: None,
    }
}

/// A device with three modes and two outputs that knows nothing else of itself.
fn state() -> DeviceState {
    DeviceState {
        now_us: 1_790_000_000_000_000,
        modes: vec![mode("full", 0), mode("minimal", 1), mode("least", 2)],
        mode: Some("full".to_owned()),
        outputs: vec!["fan".to_owned(), "lamp".to_owned()],
        ..DeviceState::default()
    }
}

fn at(celsius: f64) -> DeviceState {
    let zone = |name: &str, celsius| ThermalZone {
        name: name.to_owned(),
        celsius,
    };
    DeviceState {
        thermal_zones: vec![zone("case", 30.0), zone("cpu", celsius), zone("gpu", 40.0)],
        ..state()
    }
}

fn charged(charge_ratio: f64, mains: Option<bool>) -> DeviceState {
    let mut state = state();
    state.power.mains = mains;
    state.power.charge_ratio = Some(charge_ratio);
    state
}

fn rate(every: u32, max_per_second: Option<f64>) -> Option<Rate> {
    Some(Rate {
        every,
        max_per_second,
        only_on_motion: false,
    })
}

fn rate_of(plan: &Plan) -> Option<Rate> {
    plan.rate.as_ref().map(|it| it.value)
}

fn mode_of(plan: &Plan) -> Option<&str> {
    plan.mode.as_ref().map(|it| it.value.as_str())
}

#[test]
fn what_is_not_known_asks_for_nothing() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    assert_eq!(
        governor.govern(&DeviceState::default()).unwrap(),
        Plan::default()
    );
    assert_eq!(governor.govern(&state()).unwrap(), Plan::default());
}

#[test]
fn heat_goes_by_the_table() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    for (celsius, fan, wanted_rate, wanted_mode, stops) in [
        (54.9, None, None, None, false),
        (55.0, Some(0.5), None, None, false),
        (64.9, Some(0.5), None, None, false),
        (65.0, Some(1.0), rate(3, None), None, false),
        (75.0, Some(1.0), rate(3, Some(2.0)), Some("minimal"), false),
        (84.9, Some(1.0), rate(3, Some(2.0)), Some("minimal"), false),
        (85.0, Some(1.0), rate(3, Some(2.0)), Some("minimal"), true),
    ] {
        let plan = governor.govern(&at(celsius)).unwrap();
        let driven: Vec<_> = plan
            .outputs
            .iter()
            .map(|it| (it.name.as_str(), it.value_ratio))
            .collect();
        let expected: Vec<_> = fan.map(|value| ("fan", value)).into_iter().collect();
        assert_eq!(driven, expected, "{celsius}");
        assert_eq!(rate_of(&plan), wanted_rate, "{celsius}");
        assert_eq!(mode_of(&plan), wanted_mode, "{celsius}");
        assert_eq!(plan.stop.is_some(), stops, "{celsius}");
        assert_eq!(plan.alerts.len(), usize::from(stops), "{celsius}");
    }
    let plan = governor.govern(&at(90.5)).unwrap();
    let reason = "the hottest thermal zone has 90.5 C";
    assert_eq!(plan.stop.as_deref(), Some(reason));
    let alert = &plan.alerts[0];
    assert_eq!(
        (alert.name.as_str(), alert.severity),
        ("too-hot", Severity::Critical)
    );
}

#[test]
fn a_release_without_the_mode_has_its_last_one_and_one_without_modes_none() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    let mut hot = at(80.0);
    hot.modes = vec![mode("full", 0), mode("small", 1), mode("tiny", 2)];
    assert_eq!(mode_of(&governor.govern(&hot).unwrap()), Some("tiny"));
    hot.modes.clear();
    hot.mode = None;
    let plan = governor.govern(&hot).unwrap();
    assert_eq!((mode_of(&plan), rate_of(&plan)), (None, rate(3, Some(2.0))));
}

#[test]
fn the_battery_goes_by_the_table() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    for (charge, wanted_rate, status, ends) in [
        (0.51, None, None, false),
        (0.5, rate(3, None), Some(300), false),
        (0.2, rate(3, None), Some(300), false),
        (0.19, rate(3, Some(2.0)), Some(3600), false),
        (0.05, rate(3, Some(2.0)), Some(3600), false),
        (0.04, rate(3, Some(2.0)), Some(3600), true),
    ] {
        let plan = governor.govern(&charged(charge, Some(false))).unwrap();
        assert_eq!(rate_of(&plan), wanted_rate, "{charge}");
        let interval = plan.status_interval_seconds.as_ref();
        assert_eq!(interval.map(|it| it.value), status, "{charge}");
        assert_eq!(
            (plan.stop.is_some(), plan.hibernate.is_some()),
            (ends, ends),
            "{charge}"
        );
    }
    let plugged = governor.govern(&charged(0.04, Some(true))).unwrap();
    assert_eq!(plugged, Plan::default());
}

#[test]
fn the_stricter_of_heat_and_battery_counts() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    let mut both = at(66.0);
    both.power = charged(0.1, None).power;
    let plan = governor.govern(&both).unwrap();
    assert_eq!(rate_of(&plan), rate(3, Some(2.0)));
    assert_eq!(plan.rate.unwrap().reason, "the batteries have 10 %");
    assert_eq!(plan.outputs[0].value_ratio, 1.0);
}

#[test]
fn a_step_stays_until_there_is_a_margin() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    let mut every = |celsius: f64| {
        let plan = governor.govern(&at(celsius)).unwrap();
        rate_of(&plan).map(|rate| rate.every)
    };
    // The margin is 3 C below 65 C.
    for (celsius, wanted) in [
        (64.0, None),
        (66.0, Some(3)),
        (63.0, Some(3)),
        (62.0, Some(3)),
        (61.9, None),
        (64.0, None),
    ] {
        assert_eq!(every(celsius), wanted, "{celsius}");
    }
}

#[test]
fn a_sensor_that_is_gone_keeps_its_step_for_ten_minutes_and_is_named() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    governor.govern(&at(70.0)).unwrap();
    let mut gone = |seconds: u64| {
        let mut state = state();
        state.now_us += seconds * 1_000_000;
        let plan = governor.govern(&state).unwrap();
        let alerts: Vec<_> = plan.alerts.iter().map(|it| it.name.clone()).collect();
        assert_eq!(alerts, ["no-temperature"]);
        rate_of(&plan)
    };
    assert_eq!(gone(1), rate(3, None));
    assert_eq!(gone(600), rate(3, None));
    assert_eq!(gone(601), None);
    assert_eq!(governor.govern(&at(50.0)).unwrap(), Plan::default());
}

/// A device without a clock of its own is told the time after its start.
#[test]
fn a_clock_that_is_set_does_not_end_the_time_of_a_sensor_that_is_gone() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    let mut step = |state: DeviceState, uptime: f64, now_us: u64| {
        let state = DeviceState {
            now_us,
            uptime_seconds: Some(uptime),
            ..state
        };
        rate_of(&governor.govern(&state).unwrap())
    };
    assert_eq!(step(at(70.0), 100.0, 100_000_000), rate(3, None));
    assert_eq!(step(state(), 101.0, 101_000_000), rate(3, None));
    let now_us = state().now_us;
    assert_eq!(step(state(), 700.5, now_us), rate(3, None));
    assert_eq!(step(state(), 701.0, now_us), None);
}

#[test]
fn the_hottest_zone_that_is_gone_among_others_keeps_its_step() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    governor.govern(&at(70.0)).unwrap();
    let mut gone = |seconds: u64| {
        let mut state = at(70.0);
        state.thermal_zones.retain(|zone| zone.name != "cpu");
        state.now_us += seconds * 1_000_000;
        let plan = governor.govern(&state).unwrap();
        (rate_of(&plan), plan.alerts.len())
    };
    assert_eq!(gone(1), (rate(3, None), 1));
    assert_eq!(gone(600), (rate(3, None), 1));
    assert_eq!(gone(601), (None, 0));
}

#[test]
fn a_backend_that_fails_is_avoided_where_there_is_another_one() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    let runs = |backend: &str, faults_in_a_row| ModelRuns {
        model: "detect".to_owned(),
        variant: "fp32".to_owned(),
        backend: backend.to_owned(),
        runs: 10,
        faults: 3,
        faults_in_a_row,
        joules_per_run: None,
    };
    let mut with = |tract, cuda| {
        let mut state = state();
        state.models = vec![runs("tract", tract), runs("cuda", cuda)];
        governor.govern(&state).unwrap()
    };
    assert_eq!(with(0, 2), Plan::default());
    let plan = with(0, 3);
    assert_eq!(plan.avoid[0].value, "cuda");
    assert_eq!(plan.avoid[0].reason, "3 failures in a row");
    assert_eq!((plan.avoid.len(), plan.alerts.len()), (1, 0));
    let plan = with(3, 4);
    assert_eq!((plan.avoid.len(), plan.alerts.len()), (0, 1));
    assert_eq!(plan.alerts[0].name, "no-backend");
}

/// A device in a mode, after windows with these p95, in milliseconds, in that mode; its deadline is 100 ms.
fn after(mode: &str, p95: &[f64]) -> DeviceState {
    let window = |p95: &f64| Window {
        seconds: 10.0,
        mode: Some(mode.to_owned()),
        p95_ms: Some(*p95),
        ..Window::default()
    };
    DeviceState {
        mode: Some(mode.to_owned()),
        deadline_ms: Some(100.0),
        history: p95.iter().map(window).collect(),
        ..state()
    }
}

#[test]
fn latency_moves_down_by_one_mode_and_up_again_where_there_is_headroom() {
    let fixture = Fixture::new();
    let mut governor = shipped(&fixture);
    let mut wanted = |state: &DeviceState| {
        let plan = governor.govern(state).unwrap();
        mode_of(&plan).map(str::to_owned)
    };
    assert_eq!(wanted(&after("full", &[120.0; 2])), None);
    assert_eq!(wanted(&after("full", &[120.0, 90.0, 120.0])), None);
    let minimal = Some("minimal".to_owned());
    assert_eq!(wanted(&after("full", &[120.0; 3])), minimal);
    // The host may take the plan over later.
    assert_eq!(wanted(&after("full", &[120.0; 4])), minimal);
    // Windows of another mode do not count.
    let mut mixed = after("minimal", &[120.0; 3]);
    mixed.history[0].mode = Some("full".to_owned());
    assert_eq!(wanted(&mixed), minimal);
    let least = Some("least".to_owned());
    assert_eq!(wanted(&after("minimal", &[120.0; 3])), least);
    assert_eq!(wanted(&after("least", &[120.0; 3])), least);
    // 80 ms are within the deadline, and above the 60 % that are headroom.
    assert_eq!(wanted(&after("least", &[80.0; 6])), least);
    assert_eq!(wanted(&after("least", &[60.0; 5])), least);
    assert_eq!(wanted(&after("least", &[60.0; 6])), minimal);
    assert_eq!(wanted(&after("minimal", &[60.0; 6])), None);
}

#[test]
fn a_release_has_thresholds_of_its_own() {
    let fixture = Fixture::new();
    fixture.file("cool.json", br#"{"half-fan-celsius": 40, "fan": "lamp"}"#);
    let path = fixture.path("cool.json");
    let lines = format!(
        "grants = [\"data\"]\ndata = [\"governor.json\"]\n[data.\"governor.json\"]\nfile = \"{path}\"\nmedia-type = \"application/json\""
    );
    let mut governor = governor(&fixture, "governor", &lines).unwrap();
    let plan = governor.govern(&at(50.0)).unwrap();
    assert_eq!(plan.outputs[0].name, "lamp");
    assert_eq!(plan.outputs[0].value_ratio, 0.5);
    // What it leaves out keeps its default.
    let low = governor.govern(&charged(0.3, None)).unwrap();
    assert_eq!(rate_of(&low), rate(3, None));
    fixture.file("cool.json", br#"{"half-fan": 40}"#);
    let failure = self::governor(&fixture, "governor", &lines)
        .unwrap()
        .govern(&at(50.0))
        .unwrap_err();
    assert_eq!(failure.fault, Fault::Guest(ErrorCode::Internal));
    assert!(
        failure.message.contains("unknown field `half-fan`"),
        "{failure}"
    );
}

#[test]
fn a_governor_that_fails_has_a_fault_and_runs_again() {
    let fixture = Fixture::new();
    for (wish, fault, said) in [
        ("trap", Fault::Trap, "a governor that panics"),
        ("loop", Fault::Deadline, "missed its deadline of 100 ms"),
        (
            "error",
            Fault::Guest(ErrorCode::Internal),
            "a governor that gives up",
        ),
        ("unsigned", Fault::UnsignedMode, "names the mode `turbo`"),
        (
            "unknown-output",
            Fault::InvalidPlan,
            "names the output `siren`, which is none of the state",
        ),
        (
            "over-range",
            Fault::InvalidPlan,
            "a `value-ratio` of 2; allowed are 0 to 1",
        ),
        ("no-reason", Fault::InvalidPlan, "a reason of 0 bytes"),
        ("past", Fault::InvalidPlan, "rests for 0 us"),
    ] {
        let lines = format!(
            "grants = [\"config\"]\nconfig = {{ do = \"{wish}\" }}\nlimits = {{ deadline-ms = 100 }}"
        );
        let mut governor = governor(&fixture, "unruly-governor", &lines).unwrap();
        for _ in 0..2 {
            let failure = governor.govern(&state()).unwrap_err();
            assert_eq!(failure.fault, fault, "{failure}");
            assert!(failure.message.contains(said), "{failure}");
        }
    }
}

/// The device can make no other plan meanwhile, and heat does not wait.
#[test]
fn a_call_takes_at_most_two_seconds_whatever_the_release_says() {
    let fixture = Fixture::new();
    let lines =
        "grants = [\"config\"]\nconfig = { do = \"loop\" }\nlimits = { deadline-ms = 600000 }";
    let mut governor = governor(&fixture, "unruly-governor", lines).unwrap();
    let failure = governor.govern(&state()).unwrap_err();
    assert_eq!(failure.fault, Fault::Deadline, "{failure}");
    assert!(
        failure.message.contains("missed its deadline of 2000 ms"),
        "{failure}"
    );
}

#[test]
fn a_policy_is_no_governor() {
    let fixture = Fixture::new();
    let error = governor(&fixture, "empty-policy", "").err().unwrap();
    assert_eq!(error.name(), "wrong_world");
    assert!(
        error
            .to_string()
            .contains("it does not export hotshoe:governor/govern@0.1.0"),
        "{error}"
    );
}

/// A release of `measure`, and of the governor that does as `wish` says.
fn unruly(fixture: &Fixture, wish: &str) -> Loaded {
    let release = format!(
        r#"generation = 1
[components.measure]
file = "{{guests}}/measure.wasm"
world = "stage"
[components.chief]
file = "{{guests}}/unruly-governor.wasm"
world = "governor"
grants = ["config"]
config = {{ do = "{wish}" }}
[[pipeline]]
stage = "measure"
"#
    );
    fixture.load(&release).unwrap()
}

/// What the governor of a release with this contract says to a device that is too hot.
fn plan_within(fixture: &Fixture, contract: &str) -> Plan {
    let release = format!(
        r#"generation = 1
[components.measure]
file = "{{guests}}/measure.wasm"
world = "stage"
[components.governor]
file = "{{guests}}/governor.wasm"
world = "governor"
grants = ["data"]
[[pipeline]]
stage = "measure"
{contract}"#
    );
    let pipeline = fixture.load(&release).unwrap().pipeline;
    pipeline.governor().unwrap().govern(&at(90.5)).unwrap()
}

#[test]
fn the_reasons_of_a_governor_leave_as_its_log_lines_do() {
    const NEVER: &str = "[data-contract.classes.default]\nupload = \"never\"\n";
    let fixture = Fixture::new();
    let open = plan_within(&fixture, "");
    assert_eq!(open.alerts[0].name, "too-hot");
    let reason = "the hottest thermal zone has 90.5 C";
    assert_eq!(open.stop.as_deref(), Some(reason));

    let kept = plan_within(&fixture, NEVER);
    assert_eq!(kept.stop.as_deref(), Some(WITHHELD));
    assert_eq!(kept.alerts[0].name, "alert-1");
    assert!(!format!("{kept:?}").contains("thermal"), "{kept:?}");
    // It decides the same.
    assert_eq!(
        (mode_of(&kept), rate_of(&kept)),
        (mode_of(&open), rate_of(&open))
    );
    assert_eq!(kept.alerts[0].severity, Severity::Critical);

    let named = format!(
        "[data-contract]\noutputs = {{ log = \"plain\" }}\n[data-contract.classes.plain]\nupload = \"yes\"\n{NEVER}"
    );
    assert_eq!(plan_within(&fixture, &named), open);
}

#[test]
fn why_a_governor_fails_leaves_as_its_errors_do() {
    let fixture = Fixture::new();
    let release = |contract: &str| {
        format!(
            r#"generation = 1
[components.measure]
file = "{{guests}}/measure.wasm"
world = "stage"
[components.chief]
file = "{{guests}}/unruly-governor.wasm"
world = "governor"
grants = ["config"]
config = {{ do = "error" }}
[[pipeline]]
stage = "measure"
{contract}"#
        )
    };
    let failure = |contract: &str| {
        let pipeline = fixture.load(&release(contract)).unwrap().pipeline;
        pipeline.governor().unwrap().govern(&state()).unwrap_err()
    };
    let open = failure("");
    assert!(open.message.contains("a governor that gives up"), "{open}");
    let kept = failure("[data-contract.classes.default]\nupload = \"never\"\n");
    assert_eq!((kept.fault, kept.message.as_str()), (open.fault, WITHHELD));
}

#[test]
fn a_pipeline_has_its_governor_with_an_instance_of_its_own() {
    let fixture = Fixture::new();
    let loaded = unruly(&fixture, "flap");
    let (mut one, mut other) = (
        loaded.pipeline.governor().unwrap(),
        loaded.pipeline.governor().unwrap(),
    );
    assert_eq!(one.name(), "chief");
    // Each counts its own calls.
    for wanted in ["least", "full", "least"] {
        assert_eq!(mode_of(&one.govern(&state()).unwrap()), Some(wanted));
    }
    assert_eq!(mode_of(&other.govern(&state()).unwrap()), Some("least"));
    // Without modes it wants none, and counts on.
    let mut nameless = state();
    nameless.modes.clear();
    assert_eq!(mode_of(&one.govern(&nameless).unwrap()), None);
    assert_eq!(mode_of(&one.govern(&state()).unwrap()), Some("least"));
}

#[test]
fn a_governor_that_traps_has_a_new_instance_for_the_next_call() {
    let fixture = Fixture::new();
    let mut governor = unruly(&fixture, "trap").pipeline.governor().unwrap();
    for _ in 0..3 {
        let failure = governor.govern(&state()).unwrap_err();
        assert_eq!(failure.fault, Fault::Trap, "{failure}");
        assert!(
            failure.message.contains("a governor that panics"),
            "{failure}"
        );
    }
}

#[test]
fn a_release_without_a_governor_has_none() {
    let fixture = Fixture::new();
    let release = fixture::release_with(1, "empty-policy", "", "");
    let loaded = fixture.load(&release).unwrap();
    assert!(loaded.pipeline.governor().is_none());
}
