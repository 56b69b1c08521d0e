//! What a governor decides on, and its plan: `hotshoe:governor/govern`. What the device does not know is `None`, never zero; a ratio is from 0 to 1.

pub(crate) mod convert;
mod defect;

use hotshoe_trust::{Mode, Rate};
use serde::Serialize;

use crate::insight::Severity;

/// Most bytes of a reason in a plan.
pub const MAX_REASON_BYTES: usize = 256;
/// Most outputs, alerts and avoided backends of a plan, of each.
pub const MAX_PLAN_ITEMS: usize = 16;
/// Longest interval of a plan, in seconds: a day.
pub const MAX_INTERVAL_SECONDS: u32 = 86_400;
/// Longest rest of a plan, in seconds: a week.
pub const MAX_REST_SECONDS: u64 = 7 * 86_400;

/// One temperature.
#[derive(Debug, Clone, PartialEq)]
pub struct ThermalZone {
    /// As the system names it.
    pub name: String,
    /// Degrees Celsius.
    pub celsius: f64,
}

/// A fan, or anything else that cools when it is set higher.
#[derive(Debug, Clone, PartialEq)]
pub struct CoolingDevice {
    /// As the system names it.
    pub name: String,
    /// Of its highest setting.
    pub level_ratio: f64,
}

/// The processor.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Processor {
    /// Whether its frequency is held below what it could be.
    pub throttled: Option<bool>,
    /// Of its highest frequency, the mean over all cores.
    pub frequency_ratio: Option<f64>,
    /// Tasks that run or wait, over the last minute, for each core.
    pub load_per_core: Option<f64>,
}

/// The share of the last ten seconds in which some task waited for it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// For a core.
    pub processor_ratio: Option<f64>,
    /// For memory.
    pub memory_ratio: Option<f64>,
    /// For reads and writes.
    pub storage_ratio: Option<f64>,
}

/// Memory of the device, and storage of the data folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Space {
    /// All memory.
    pub memory_total_bytes: Option<u64>,
    /// Memory that a process could still get.
    pub memory_available_bytes: Option<u64>,
    /// Free bytes of storage.
    pub storage_free_bytes: Option<u64>,
    /// Free inodes.
    pub storage_free_inodes: Option<u64>,
}

/// One battery.
#[derive(Debug, Clone, PartialEq)]
pub struct Battery {
    /// As the system names it.
    pub name: String,
    /// Of its capacity.
    pub charge_ratio: Option<f64>,
    /// Whether it is charged.
    pub charging: Option<bool>,
    /// What it gives; negative while it is charged.
    pub watts: Option<f64>,
}

/// Where the power comes from, and how much.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Power {
    /// Whether another supply than the batteries suffices.
    pub mains: Option<bool>,
    /// What the device takes.
    pub watts: Option<f64>,
    /// Of all batteries together.
    pub charge_ratio: Option<f64>,
    /// Empty where the device has none.
    pub batteries: Vec<Battery>,
}

/// Samples that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Queue {
    /// How many.
    pub depth: u32,
    /// How many there may be.
    pub capacity: u32,
    /// How long the oldest one has waited, in milliseconds.
    pub oldest_age_ms: Option<f64>,
}

/// Times of one step over the last window.
#[derive(Debug, Clone, PartialEq)]
pub struct Latency {
    /// The step; empty for the whole sample, from intake to result.
    pub stage: String,
    /// How many runs.
    pub runs: u64,
    /// The median, in milliseconds.
    pub p50_ms: Option<f64>,
    /// What 95 of 100 kept.
    pub p95_ms: Option<f64>,
    /// What 99 of 100 kept.
    pub p99_ms: Option<f64>,
}

/// A variant of a model over the last window.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRuns {
    /// The model.
    pub model: String,
    /// Its variant.
    pub variant: String,
    /// What runs it.
    pub backend: String,
    /// How many runs.
    pub runs: u64,
    /// Runs that failed by a fault of the backend.
    pub faults: u64,
    /// Of them, those since the last run that succeeded.
    pub faults_in_a_row: u32,
    /// Energy of one run.
    pub joules_per_run: Option<f64>,
}

/// A mode of the release, with its figures on this device.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredMode {
    /// Its name.
    pub name: String,
    /// As the release signs it.
    pub mode: Mode,
    /// Agreement with the full mode on the self-tests.
    pub agreement_ratio: Option<f64>,
    /// What 95 of 100 samples kept, in milliseconds.
    pub p95_ms: Option<f64>,
    /// Peak memory.
    pub memory_bytes: Option<u64>,
    /// Energy of one sample.
    pub joules_per_sample: Option<f64>,
}

/// One window of the history.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// How long it was.
    pub seconds: f64,
    /// The mode at its end.
    pub mode: Option<String>,
    /// The highest temperature of all zones.
    pub hottest_celsius: Option<f64>,
    /// Of all batteries together, at its end.
    pub charge_ratio: Option<f64>,
    /// What the device took, the mean.
    pub watts: Option<f64>,
    /// Samples that came in.
    pub accepted: u64,
    /// Samples with a result.
    pub results: u64,
    /// Samples that a component or the rate left out.
    pub skipped: u64,
    /// Samples that the queue had no room for.
    pub dropped: u64,
    /// Samples that failed.
    pub failed: u64,
    /// Calls and samples that missed a deadline.
    pub deadline_misses: u64,
    /// Calls that trapped.
    pub traps: u64,
    /// Runs of models that failed by a fault of the backend.
    pub backend_faults: u64,
    /// What 95 of 100 samples kept, in milliseconds.
    pub p95_ms: Option<f64>,
}

/// All that a governor decides on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeviceState {
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub now_us: u64,
    /// Whether the clock follows a reference.
    pub clock_in_step: Option<bool>,
    /// Since the system started.
    pub uptime_seconds: Option<f64>,
    /// Temperatures.
    pub thermal_zones: Vec<ThermalZone>,
    /// Fans and the like.
    pub cooling_devices: Vec<CoolingDevice>,
    /// The processor.
    pub processor: Processor,
    /// What tasks wait for.
    pub pressure: Pressure,
    /// Memory and storage.
    pub space: Space,
    /// Mains and batteries.
    pub power: Power,
    /// Samples that wait.
    pub queue: Queue,
    /// What the p95 of a sample is to keep.
    pub deadline_ms: Option<f64>,
    /// Of the whole sample, and of each step.
    pub latencies: Vec<Latency>,
    /// Of each model and variant.
    pub models: Vec<ModelRuns>,
    /// Whether another member of the site is reachable.
    pub site_reachable: Option<bool>,
    /// Since the last statement about releases was heard.
    pub statement_age_seconds: Option<f64>,
    /// Whether the release is on trial.
    pub release_on_trial: bool,
    /// In order of their levels, the full one first. Empty where the release has none.
    pub modes: Vec<MeasuredMode>,
    /// The mode in force.
    pub mode: Option<String>,
    /// How long it has been in force.
    pub mode_seconds: f64,
    /// The outputs that the operator allows to drive.
    pub outputs: Vec<String>,
    /// Oldest first; the last one ends now.
    pub history: Vec<Window>,
}

/// What a governor wants until its next plan. Every bound of the interface is checked; names are those of the state that it was made of.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// The mode; none is the full one.
    pub mode: Option<Reasoned<String>>,
    /// The rate; none is that of the mode.
    pub rate: Option<Reasoned<Rate>>,
    /// Seconds between two messages of status; none is as configured.
    pub status_interval_seconds: Option<Reasoned<u32>>,
    /// Seconds between two messages of telemetry; none is as configured.
    pub telemetry_interval_seconds: Option<Reasoned<u32>>,
    /// Outputs to drive. One that is left out is off.
    pub outputs: Vec<Drive>,
    /// What people should know.
    pub alerts: Vec<PlanAlert>,
    /// Backends that serve only where no other one can.
    pub avoid: Vec<Reasoned<String>>,
    /// No sample is processed for so many microseconds after the time of the state.
    pub rest_us: Option<Reasoned<u64>>,
    /// Why the device is to hibernate.
    pub hibernate: Option<String>,
    /// Why no sample is to be processed.
    pub stop: Option<String>,
}

/// An item of a plan with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reasoned<T> {
    /// What is wanted.
    pub value: T,
    /// Why: a sentence for a person.
    pub reason: String,
}

/// An output to drive.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drive {
    /// As the operator names it.
    pub name: String,
    /// Of its highest setting.
    pub value_ratio: f64,
    /// Why.
    pub reason: String,
}

/// An alert of a governor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanAlert {
    /// What it is about. While plans repeat it, it is not sent again.
    pub name: String,
    /// How urgent.
    pub severity: Severity,
    /// What happened.
    pub reason: String,
}
