//! What a governor and the default plan get, from a reading and the figures: units, and what is unknown.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use hotshoe_daemon::governor::state::{Setting, device_state, moment};
use hotshoe_daemon::serving::figures::{FiguresWindow, PowerFigures, RunCounts, RunFigures};
use hotshoe_engine::{
    self as engine, DeviceState, Latency, MeasuredMode, ModelRuns, Processor, Queue,
};
use hotshoe_senses::{
    BackendHealth, Battery, Charging, CoolingDevice, CpuPolicy, Load, Mains, Memory, Moment,
    Pressure, Reading, Sample, Space, Stall, Summary, ThermalZone, WindowLatency,
};
use hotshoe_trust::{Mode, Rate, Rests};

fn sample(reading: Reading) -> Sample {
    Sample {
        at: Duration::ZERO,
        took: Duration::ZERO,
        reading,
    }
}

fn state(reading: Reading) -> DeviceState {
    let figures = FiguresWindow::default();
    device_state(&sample(reading), &figures, &[], &Setting::default())
}

fn zone(folder: &str, label: Option<&str>, celsius: f64) -> ThermalZone {
    ThermalZone {
        zone: folder.to_owned(),
        label: label.map(str::to_owned),
        celsius,
    }
}

fn policy(current_khz: Option<u64>, permitted_khz: u64, max_khz: u64) -> CpuPolicy {
    CpuPolicy {
        policy: "policy0".to_owned(),
        current_khz,
        permitted_khz: Some(permitted_khz),
        max_khz: Some(max_khz),
    }
}

fn pressure(avg10: f64) -> Option<Pressure> {
    let some = Stall {
        avg10,
        avg60: 99.0,
        avg300: 99.0,
        total_us: 1,
    };
    Some(Pressure { some, full: None })
}

fn battery(charging: Option<Charging>, watts: Option<f64>) -> Battery {
    Battery {
        supply: "BAT0".to_owned(),
        charge_percent: Some(42.0),
        full_wh: None,
        charging,
        watts,
    }
}

fn summary(count: usize, p50: f64, p95: f64, p99: f64) -> Summary {
    Summary {
        count,
        p50,
        p95,
        p99,
        max: p99,
        mean: p50,
    }
}

fn run(model: &str, backend: &str, faults_in_a_row: u32) -> RunFigures {
    RunFigures {
        counts: RunCounts {
            model: model.to_owned(),
            variant: "int8".to_owned(),
            backend: backend.to_owned(),
            runs: 10,
            faults: 4,
            faults_in_a_row,
        },
        joules_per_run: Some(0.5),
    }
}

#[test]
fn what_is_not_known_is_none_and_not_zero() {
    assert_eq!(state(Reading::default()), DeviceState::default());
    let found = moment(
        &sample(Reading::default()),
        &FiguresWindow::default(),
        &Setting::default(),
    );
    assert_eq!(found, Moment::default());
}

#[test]
fn temperatures_and_fans_have_the_names_of_their_drivers() {
    let fan = |label: &str, state, max_state| CoolingDevice {
        device: "cooling_device0".to_owned(),
        label: Some(label.to_owned()),
        state,
        max_state,
    };
    let state = state(Reading {
        thermal: vec![
            zone("thermal_zone0", Some("cpu-thermal"), 61.5),
            zone("thermal_zone1", Some("acpitz"), 40.0),
            zone("thermal_zone2", Some("acpitz"), 41.0),
            zone("thermal_zone3", None, -5.0),
        ],
        cooling: vec![
            fan("pwm-fan", 1, Some(4)),
            fan("unknown", 1, None),
            fan("none", 0, Some(0)),
            fan("odd", 5, Some(4)),
        ],
        ..Reading::default()
    });
    let zones: Vec<_> = state
        .thermal_zones
        .iter()
        .map(|zone| (zone.name.as_str(), zone.celsius))
        .collect();
    let expected = [
        ("cpu-thermal", 61.5),
        ("thermal_zone1", 40.0),
        ("thermal_zone2", 41.0),
        ("thermal_zone3", -5.0),
    ];
    assert_eq!(zones, expected);
    let fans: Vec<_> = state
        .cooling_devices
        .iter()
        .map(|fan| (fan.name.as_str(), fan.level_ratio))
        .collect();
    assert_eq!(fans, [("pwm-fan", 0.25), ("odd", 1.0)]);
}

#[test]
fn shares_are_ratios() {
    let reading = Reading {
        cpus: vec![
            policy(Some(500), 1_000, 1_000),
            policy(Some(2_000), 1_500, 2_000),
            policy(None, 1_000, 1_000),
        ],
        load: Some(Load {
            one: 6.0,
            five: 1.0,
            fifteen: 1.0,
        }),
        memory: Some(Memory {
            total_bytes: 8_000,
            available_bytes: 3_000,
            swap_total_bytes: None,
            swap_free_bytes: None,
        }),
        cpu_pressure: pressure(25.0),
        memory_pressure: None,
        io_pressure: pressure(100.5),
        data: Some(Space {
            total_bytes: 100,
            free_bytes: 40,
            total_inodes: Some(10),
            free_inodes: Some(9),
        }),
        uptime_s: Some(77.5),
        is_clock_synchronised: Some(true),
        ..Reading::default()
    };
    let setting = Setting {
        cores: Some(4),
        ..Setting::default()
    };
    let figures = FiguresWindow::default();
    let state = device_state(&sample(reading), &figures, &[], &setting);
    let processor = Processor {
        throttled: Some(true),
        frequency_ratio: Some(0.75),
        load_per_core: Some(1.5),
    };
    assert_eq!(state.processor, processor);
    let pressure = engine::Pressure {
        processor_ratio: Some(0.25),
        memory_ratio: None,
        storage_ratio: Some(1.0),
    };
    assert_eq!(state.pressure, pressure);
    let space = engine::Space {
        memory_total_bytes: Some(8_000),
        memory_available_bytes: Some(3_000),
        storage_free_bytes: Some(40),
        storage_free_inodes: Some(9),
    };
    assert_eq!(state.space, space);
    assert_eq!(
        (state.uptime_seconds, state.clock_in_step),
        (Some(77.5), Some(true))
    );
}

#[test]
fn a_battery_gives_or_takes() {
    let power = |charging, watts| {
        let state = state(Reading {
            batteries: vec![battery(charging, watts)],
            ..Reading::default()
        });
        let battery = state.power.batteries[0].clone();
        assert_eq!(battery.charge_ratio, Some(0.42));
        assert_eq!(state.power.charge_ratio, Some(0.42));
        (battery.charging, battery.watts)
    };
    let (charges, discharges) = (Some(Charging::Charging), Some(Charging::Discharging));
    assert_eq!(power(charges, Some(9.0)), (Some(true), Some(-9.0)));
    assert_eq!(power(discharges, Some(9.0)), (Some(false), Some(9.0)));
    assert_eq!(power(Some(Charging::Full), None), (Some(false), None));
    // Without its direction, the power says nothing.
    assert_eq!(power(None, Some(9.0)), (None, None));
    let mains = state(Reading {
        mains: vec![Mains {
            supply: "AC".to_owned(),
            is_online: true,
        }],
        ..Reading::default()
    });
    assert_eq!(
        (mains.power.mains, mains.power.charge_ratio),
        (Some(true), None)
    );
}

#[test]
fn figures_are_in_milliseconds_and_the_whole_sample_comes_first() {
    let mode = |level| Mode {
        level,
        rate: Rate::FULL,
        variants: std::collections::BTreeMap::new(),
        rests: Rests::default(),
    };
    let measured = |name: &str, level| MeasuredMode {
        name: name.to_owned(),
        mode: mode(level),
        agreement_ratio: None,
        p95_ms: Some(4.0),
        memory_bytes: None,
        joules_per_sample: None,
    };
    let power = PowerFigures {
        joules_per_sample: Some(2.5),
        watts: Some(5.0),
    };
    let queue = Queue {
        depth: 3,
        capacity: 16,
        oldest_age_ms: Some(12.5),
    };
    let figures = FiguresWindow {
        queue,
        stages: vec![
            ("read".to_owned(), summary(4, 1_000.0, 2_000.0, 3_000.0)),
            ("total".to_owned(), summary(9, 1_500.0, 2_500.0, 4_500.0)),
        ],
        runs: vec![run("read", "tract", 2)],
        watts: Some(5.0),
        modes: [("minimal".to_owned(), power)].into(),
        site_reachable: Some(false),
        statement_age: Some(Duration::from_millis(1_500)),
        on_trial: true,
        ..FiguresWindow::default()
    };
    let outputs = ["fan".to_owned()];
    let setting = Setting {
        now_us: 17,
        deadline_ms: Some(200.0),
        mode: Some("full"),
        mode_age: Duration::from_millis(2_500),
        outputs: &outputs,
        ..Setting::default()
    };
    let modes = [measured("minimal", 1), measured("full", 0)];
    let state = device_state(&sample(Reading::default()), &figures, &modes, &setting);
    let latency = |stage: &str, runs, [p50_ms, p95_ms, p99_ms]: [f64; 3]| Latency {
        stage: stage.to_owned(),
        runs,
        p50_ms: Some(p50_ms),
        p95_ms: Some(p95_ms),
        p99_ms: Some(p99_ms),
    };
    let latencies = [
        latency("", 9, [1.5, 2.5, 4.5]),
        latency("read", 4, [1.0, 2.0, 3.0]),
    ];
    assert_eq!(state.latencies, latencies);
    let runs = ModelRuns {
        model: "read".to_owned(),
        variant: "int8".to_owned(),
        backend: "tract".to_owned(),
        runs: 10,
        faults: 4,
        faults_in_a_row: 2,
        joules_per_run: Some(0.5),
    };
    assert_eq!(state.models, [runs]);
    let modes: Vec<_> = state
        .modes
        .iter()
        .map(|mode| (mode.name.as_str(), mode.joules_per_sample))
        .collect();
    assert_eq!(modes, [("full", None), ("minimal", Some(2.5))]);
    assert_eq!((state.queue, state.deadline_ms), (queue, Some(200.0)));
    assert_eq!(
        (state.mode.as_deref(), state.mode_seconds),
        (Some("full"), 2.5)
    );
    assert_eq!(
        (state.site_reachable, state.statement_age_seconds),
        (Some(false), Some(1.5))
    );
    assert_eq!((state.now_us, state.power.watts), (17, Some(5.0)));
    assert!(state.release_on_trial && state.outputs == outputs);
}

#[test]
fn the_default_plan_gets_each_window_with_its_deadline() {
    let figures = FiguresWindow {
        ended: Some(summary(9, 1_500.0, 30_000.4, 40_000.0)),
        runs: vec![run("a", "ort", 3), run("b", "ort", 0), run("b", "tract", 1)],
        ..FiguresWindow::default()
    };
    let backends = ["tract", "other"].map(str::to_owned);
    let setting = Setting {
        deadline_ms: Some(20.5),
        backends: &backends,
        smaller_variants: 2,
        ..Setting::default()
    };
    let reading = Reading {
        thermal: vec![zone("thermal_zone0", None, 61.0)],
        batteries: vec![battery(Some(Charging::Discharging), None)],
        ..Reading::default()
    };
    let health = |name: &str, failures_in_a_row| BackendHealth {
        name: name.to_owned(),
        failures_in_a_row,
    };
    let expected = Moment {
        celsius: Some(61.0),
        hottest: Some("thermal_zone0".to_owned()),
        zones: ["thermal_zone0".to_owned()].into(),
        charge_percent: Some(42.0),
        is_on_mains: None,
        window: Some(WindowLatency {
            p95_us: 30_000,
            deadline_us: 20_500,
        }),
        smaller_variants: 2,
        backends: vec![health("tract", 1), health("other", 0), health("ort", 3)],
    };
    assert_eq!(
        moment(&sample(reading.clone()), &figures, &setting),
        expected
    );
    let without = Setting {
        deadline_ms: None,
        ..setting
    };
    assert_eq!(moment(&sample(reading), &figures, &without).window, None);
}
