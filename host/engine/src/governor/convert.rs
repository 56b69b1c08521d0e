//! Conversion between the generated types and our own.

use hotshoe_trust::{Rate, printable};

use super::defect::{PlanDefect, check_plan};
use super::{
    Battery, CoolingDevice, DeviceState, Drive, Latency, MAX_REASON_BYTES, MeasuredMode, ModelRuns,
    Plan, PlanAlert, Power, Reasoned, ThermalZone, Window,
};
use crate::host::bindings::governor as wit;
use crate::insight::Severity;

fn list<T, W>(items: &[T], convert: impl Fn(&T) -> W) -> Vec<W> {
    items.iter().map(convert).collect()
}

pub(crate) fn state_to_guest(state: &DeviceState) -> wit::DeviceState {
    wit::DeviceState {
        now_us: state.now_us,
        clock_in_step: state.clock_in_step,
        uptime_seconds: state.uptime_seconds,
        thermal_zones: list(&state.thermal_zones, zone),
        cooling_devices: list(&state.cooling_devices, cooling),
        processor: wit::Processor {
            throttled: state.processor.throttled,
            frequency_ratio: state.processor.frequency_ratio,
            load_per_core: state.processor.load_per_core,
        },
        pressure: wit::Pressure {
            processor_ratio: state.pressure.processor_ratio,
            memory_ratio: state.pressure.memory_ratio,
            storage_ratio: state.pressure.storage_ratio,
        },
        space: wit::Space {
            memory_total_bytes: state.space.memory_total_bytes,
            memory_available_bytes: state.space.memory_available_bytes,
            storage_free_bytes: state.space.storage_free_bytes,
            storage_free_inodes: state.space.storage_free_inodes,
        },
        power: power(&state.power),
        queue: wit::Queue {
            depth: state.queue.depth,
            capacity: state.queue.capacity,
            oldest_age_ms: state.queue.oldest_age_ms,
        },
        deadline_ms: state.deadline_ms,
        latencies: list(&state.latencies, latency),
        models: list(&state.models, model_runs),
        site_reachable: state.site_reachable,
        statement_age_seconds: state.statement_age_seconds,
        release_on_trial: state.release_on_trial,
        modes: list(&state.modes, mode),
        mode: state.mode.clone(),
        mode_seconds: state.mode_seconds,
        outputs: state.outputs.clone(),
        history: list(&state.history, window),
    }
}

fn zone(zone: &ThermalZone) -> wit::ThermalZone {
    wit::ThermalZone {
        name: zone.name.clone(),
        celsius: zone.celsius,
    }
}

fn cooling(device: &CoolingDevice) -> wit::CoolingDevice {
    wit::CoolingDevice {
        name: device.name.clone(),
        level_ratio: device.level_ratio,
    }
}

fn power(power: &Power) -> wit::Power {
    let battery = |battery: &Battery| wit::Battery {
        name: battery.name.clone(),
        charge_ratio: battery.charge_ratio,
        charging: battery.charging,
        watts: battery.watts,
    };
    wit::Power {
        mains: power.mains,
        watts: power.watts,
        charge_ratio: power.charge_ratio,
        batteries: list(&power.batteries, battery),
    }
}

fn latency(latency: &Latency) -> wit::Latency {
    wit::Latency {
        stage: latency.stage.clone(),
        runs: latency.runs,
        p50_ms: latency.p50_ms,
        p95_ms: latency.p95_ms,
        p99_ms: latency.p99_ms,
    }
}

fn model_runs(runs: &ModelRuns) -> wit::ModelRuns {
    wit::ModelRuns {
        model: runs.model.clone(),
        variant: runs.variant.clone(),
        backend: runs.backend.clone(),
        runs: runs.runs,
        faults: runs.faults,
        faults_in_a_row: runs.faults_in_a_row,
        joules_per_run: runs.joules_per_run,
    }
}

fn mode(measured: &MeasuredMode) -> wit::Mode {
    let MeasuredMode { name, mode, .. } = measured;
    wit::Mode {
        name: name.clone(),
        level: mode.level,
        rate: wit::Rate {
            every: mode.rate.every,
            max_per_second: mode.rate.max_per_second,
            only_on_motion: mode.rate.only_on_motion,
        },
        variants: mode.variants.clone().into_iter().collect(),
        resting_components: mode.rests.components.iter().cloned().collect(),
        resting_outputs: mode.rests.outputs.iter().map(ToString::to_string).collect(),
        agreement_ratio: measured.agreement_ratio,
        p95_ms: measured.p95_ms,
        memory_bytes: measured.memory_bytes,
        joules_per_sample: measured.joules_per_sample,
    }
}

fn window(window: &Window) -> wit::Window {
    wit::Window {
        seconds: window.seconds,
        mode: window.mode.clone(),
        hottest_celsius: window.hottest_celsius,
        charge_ratio: window.charge_ratio,
        watts: window.watts,
        accepted: window.accepted,
        results: window.results,
        skipped: window.skipped,
        dropped: window.dropped,
        failed: window.failed,
        deadline_misses: window.deadline_misses,
        traps: window.traps,
        backend_faults: window.backend_faults,
        p95_ms: window.p95_ms,
    }
}

/// Converts a plan that a governor made of `state`, and checks every bound.
pub(crate) fn plan_from_guest(plan: wit::Plan, state: &DeviceState) -> Result<Plan, PlanDefect> {
    let interval = |it: wit::Interval| reasoned(it.seconds, it.reason);
    let checked = Plan {
        mode: plan.mode.map(|it| reasoned(it.name, it.reason)),
        rate: plan.rate.map(|it| reasoned(rate(it.rate), it.reason)),
        status_interval_seconds: plan.status_interval.map(interval),
        telemetry_interval_seconds: plan.telemetry_interval.map(interval),
        outputs: plan.outputs.into_iter().map(drive).collect(),
        alerts: plan.alerts.into_iter().map(alert).collect(),
        avoid: plan.avoid.into_iter().map(avoidance).collect(),
        // A time that has passed is a rest of 0, which is out of range.
        rest_us: plan
            .rest_until
            .map(|it| reasoned(it.until_us.saturating_sub(state.now_us), it.reason)),
        hibernate: plan.hibernate.map(shown),
        stop: plan.stop.map(shown),
    };
    check_plan(&checked, state)?;
    Ok(checked)
}

fn reasoned<T>(value: T, reason: String) -> Reasoned<T> {
    let reason = shown(reason);
    Reasoned { value, reason }
}

/// A reason is for people: it is logged, published and printed. One that is too long is refused afterwards.
fn shown(reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        return reason;
    }
    printable(&reason, &[])
}

const fn rate(rate: wit::Rate) -> Rate {
    Rate {
        every: rate.every,
        max_per_second: rate.max_per_second,
        only_on_motion: rate.only_on_motion,
    }
}

fn drive(drive: wit::Drive) -> Drive {
    Drive {
        name: drive.name,
        value_ratio: drive.value_ratio,
        reason: shown(drive.reason),
    }
}

fn avoidance(avoidance: wit::Avoidance) -> Reasoned<String> {
    reasoned(avoidance.backend, avoidance.reason)
}

fn alert(alert: wit::Alert) -> PlanAlert {
    PlanAlert {
        name: alert.name,
        severity: match alert.severity {
            wit::Severity::Info => Severity::Info,
            wit::Severity::Warning => Severity::Warning,
            wit::Severity::Critical => Severity::Critical,
        },
        reason: shown(alert.reason),
    }
}
