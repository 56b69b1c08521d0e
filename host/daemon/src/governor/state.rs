//! What a governor and the default plan decide on, from the sensors and the figures of the daemon. Pure.

use std::time::Duration;

use hotshoe_engine as engine;
use hotshoe_engine::{DeviceState, MeasuredMode};
use hotshoe_senses::{
    BackendHealth, Charging, Moment, Reading, Sample, Stall, Summary, WindowLatency,
};

use crate::serving::figures::{FiguresWindow, RunFigures};
use crate::serving::latency::{TOTAL, whole_micros};

/// What the release, the configuration and the plan in force add to the figures.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setting<'a> {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub now_us: u64,
    /// Cores of the device.
    pub cores: Option<usize>,
    /// What the p95 of a sample is to keep, in milliseconds.
    pub deadline_ms: Option<f64>,
    /// The mode in force, with its name in the release; `None` if the release has no modes.
    pub mode: Option<&'a str>,
    /// How long it has been in force.
    pub mode_age: Duration,
    /// Outputs that the operator allows to drive.
    pub outputs: &'a [String],
    /// Backends of the device, in the order of preference.
    pub backends: &'a [String],
    /// How many variants the models have behind their preferred one, at most.
    pub smaller_variants: u32,
}

/// What a governor decides on. `modes` are those of the release in any order; their energy comes from the figures.
pub fn device_state(
    sample: &Sample,
    figures: &FiguresWindow,
    modes: &[MeasuredMode],
    setting: &Setting<'_>,
) -> DeviceState {
    let reading = &sample.reading;
    DeviceState {
        now_us: setting.now_us,
        clock_in_step: reading.is_clock_synchronised,
        uptime_seconds: reading.uptime_s,
        thermal_zones: thermal_zones(reading),
        cooling_devices: cooling_devices(reading),
        processor: processor(reading, setting.cores),
        pressure: engine::Pressure {
            processor_ratio: reading.cpu_pressure.map(|it| share(it.some)),
            memory_ratio: reading.memory_pressure.map(|it| share(it.some)),
            storage_ratio: reading.io_pressure.map(|it| share(it.some)),
        },
        space: engine::Space {
            memory_total_bytes: reading.memory.map(|it| it.total_bytes),
            memory_available_bytes: reading.memory.map(|it| it.available_bytes),
            storage_free_bytes: reading.data.map(|it| it.free_bytes),
            storage_free_inodes: reading.data.and_then(|it| it.free_inodes),
        },
        power: engine::Power {
            mains: reading.is_on_mains(),
            watts: figures.watts,
            charge_ratio: reading.charge_percent().map(ratio),
            batteries: batteries(reading),
        },
        queue: figures.queue,
        deadline_ms: setting.deadline_ms,
        latencies: latencies(&figures.stages),
        models: figures.runs.iter().map(model_runs).collect(),
        site_reachable: figures.site_reachable,
        statement_age_seconds: figures.statement_age.map(|age| age.as_secs_f64()),
        release_on_trial: figures.on_trial,
        modes: measured(modes, figures),
        mode: setting.mode.map(str::to_owned),
        mode_seconds: setting.mode_age.as_secs_f64(),
        outputs: setting.outputs.to_vec(),
        history: figures.history.clone(),
    }
}

/// What the default plan decides on.
pub fn moment(sample: &Sample, figures: &FiguresWindow, setting: &Setting<'_>) -> Moment {
    let window = figures.ended.zip(setting.deadline_ms);
    Moment {
        window: window.map(|(latency, deadline_ms)| WindowLatency {
            p95_us: whole_micros(latency.p95),
            deadline_us: whole_micros(deadline_ms * 1e3),
        }),
        smaller_variants: setting.smaller_variants,
        backends: backends(setting.backends, &figures.runs),
        ..Moment::of(&sample.reading)
    }
}

/// As a ratio from 0 to 1. A sensor may say a little more than all.
pub(super) const fn ratio(percent: f64) -> f64 {
    (percent / 100.0).clamp(0.0, 1.0)
}

pub(super) const fn share(stall: Stall) -> f64 {
    ratio(stall.avg10)
}

/// What the driver calls a sensor where no other one is called the same, else its folder.
fn name<'a>(
    folder: &'a str,
    label: Option<&'a str>,
    labels: impl Iterator<Item = Option<&'a str>>,
) -> String {
    let unique = label.filter(|label| labels.filter(|it| *it == Some(*label)).count() == 1);
    unique.unwrap_or(folder).to_owned()
}

/// Each zone by the name of its driver, or of its folder where that is not unique.
pub(super) fn thermal_zones(reading: &Reading) -> Vec<engine::ThermalZone> {
    let labels = || reading.thermal.iter().map(|it| it.label.as_deref());
    let zones = reading.thermal.iter().map(|zone| engine::ThermalZone {
        name: name(&zone.zone, zone.label.as_deref(), labels()),
        celsius: zone.celsius,
    });
    zones.collect()
}

/// Those whose highest state is known.
fn cooling_devices(reading: &Reading) -> Vec<engine::CoolingDevice> {
    let labels = || reading.cooling.iter().map(|it| it.label.as_deref());
    let devices = reading.cooling.iter().filter_map(|device| {
        let most = device.max_state.filter(|most| *most > 0)?;
        Some(engine::CoolingDevice {
            name: name(&device.device, device.label.as_deref(), labels()),
            level_ratio: (f64::from(device.state) / f64::from(most)).min(1.0),
        })
    });
    devices.collect()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "frequencies and cores are far below 2^53"
)]
fn processor(reading: &Reading, cores: Option<usize>) -> engine::Processor {
    let of_highest = |(current, highest): (u64, u64)| {
        (highest > 0).then(|| (current as f64 / highest as f64).min(1.0))
    };
    let known: Vec<f64> = reading
        .cpus
        .iter()
        .filter_map(|cpu| cpu.current_khz.zip(cpu.max_khz).and_then(of_highest))
        .collect();
    let mean = |ratios: &[f64]| ratios.iter().sum::<f64>() / ratios.len() as f64;
    let cores = cores.filter(|cores| *cores > 0);
    engine::Processor {
        throttled: reading.is_throttled(),
        frequency_ratio: (!known.is_empty()).then(|| mean(&known)),
        load_per_core: reading
            .load
            .zip(cores)
            .map(|(load, cores)| load.one / cores as f64),
    }
}

fn batteries(reading: &Reading) -> Vec<engine::Battery> {
    let batteries = reading.batteries.iter().map(|battery| {
        // The driver's figure has no direction.
        let given = |watts: f64| match battery.charging {
            Some(Charging::Charging) => Some(-watts),
            Some(_) => Some(watts),
            None => None,
        };
        engine::Battery {
            name: battery.supply.clone(),
            charge_ratio: battery.charge_percent.map(ratio),
            charging: battery.charging.map(|it| it == Charging::Charging),
            watts: battery.watts.and_then(given),
        }
    });
    batteries.collect()
}

/// The whole sample first.
fn latencies(stages: &[(String, Summary)]) -> Vec<engine::Latency> {
    let milliseconds = |micros: f64| Some(micros / 1e3);
    let one = |stage: &str, summary: &Summary| engine::Latency {
        stage: stage.to_owned(),
        runs: summary.count as u64,
        p50_ms: milliseconds(summary.p50),
        p95_ms: milliseconds(summary.p95),
        p99_ms: milliseconds(summary.p99),
    };
    let (whole, each): (Vec<_>, Vec<_>) = stages.iter().partition(|(stage, _)| stage == TOTAL);
    let whole = whole.into_iter().map(|(_, summary)| one("", summary));
    let each = each.into_iter().map(|(stage, summary)| one(stage, summary));
    whole.chain(each).collect()
}

fn model_runs(run: &RunFigures) -> engine::ModelRuns {
    let counts = &run.counts;
    engine::ModelRuns {
        model: counts.model.clone(),
        variant: counts.variant.clone(),
        backend: counts.backend.clone(),
        runs: counts.runs,
        faults: counts.faults,
        faults_in_a_row: counts.faults_in_a_row,
        joules_per_run: run.joules_per_run,
    }
}

fn measured(modes: &[MeasuredMode], figures: &FiguresWindow) -> Vec<MeasuredMode> {
    let mut modes = modes.to_vec();
    modes.sort_by_key(|mode| mode.mode.level);
    for mode in &mut modes {
        mode.joules_per_sample = figures.power(Some(&mode.name)).joules_per_sample;
    }
    modes
}

/// Each backend with the longest row of faults of a variant on it: one model that fails on it is enough.
fn backends(known: &[String], runs: &[RunFigures]) -> Vec<BackendHealth> {
    let mut all: Vec<BackendHealth> = Vec::new();
    let ran = runs.iter().map(|run| &run.counts);
    let ran = ran.map(|counts| (&counts.backend, counts.faults_in_a_row));
    for (name, in_a_row) in known.iter().map(|name| (name, 0)).chain(ran) {
        match all.iter_mut().find(|it| it.name == *name) {
            Some(it) => it.failures_in_a_row = it.failures_in_a_row.max(in_a_row),
            None => all.push(BackendHealth {
                name: name.clone(),
                failures_in_a_row: in_a_row,
            }),
        }
    }
    all
}
