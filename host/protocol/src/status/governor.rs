//! The sensors of a device and the plan in force, within its status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How the device runs, and why. What it does not know is `None`, never zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GovernorStatus {
    /// Who made the last plan: `component`, or `default` for the device's own.
    pub by: String,
    /// The governor of the serving release, by name.
    pub component: Option<String>,
    /// Why the device's own plan stands in for that of the component.
    pub failure: Option<GovernorFailure>,
    /// The plan in force, by item: `mode`, `rate`, `skip_variants`, `status_interval_s`, `telemetry_interval_s`, `rest`, `output.NAME`,
    /// `alert.NAME` and `avoid.NAME`. An item that is left out is as if there were no plan.
    pub plan: BTreeMap<String, PlanItem>,
    /// The mode in force. `None` where the release has no modes.
    pub mode: Option<String>,
    /// How long the mode has been in force, in seconds.
    pub mode_seconds: f64,
    /// Energy of a sample in that mode, the idle power of the device included.
    pub joules_per_sample: Option<f64>,
    /// What the wished plan waits for, where it differs from the one in force.
    pub waits: Option<WaitStatus>,
    /// Changes of the plan in force since the start.
    pub changes: u64,
    /// Refused plans since the start.
    pub refused_plans: u64,
    /// The modes of the serving release, the full one first.
    pub modes: Vec<ModeStatus>,
    /// What the sensors say.
    pub sensors: SensorStatus,
    /// Sensors that are there and have no valid value, at most 64.
    pub sensor_faults: Vec<SensorFaultStatus>,
    /// The time of reading sensors and making plans, as a share of one core.
    pub cost_ratio: Option<f64>,
}

/// Why a governor's plan is not followed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct GovernorFailure {
    /// The stable name.
    pub fault: String,
    /// A message for operators.
    pub message: String,
}

/// An item of the plan in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanItem {
    /// What applies.
    pub value: Value,
    /// Why.
    pub reason: String,
}

/// What a wished plan waits for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitStatus {
    /// `least_time`, `calm` or `rate_limit`.
    pub limit: String,
    /// For how long, if it is wished until then.
    pub seconds: f64,
}

/// A mode of the serving release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModeStatus {
    /// Its name.
    pub name: String,
    /// Its place in the order of modes; 0 is the full one.
    pub level: u32,
    /// Agreement with the full mode on the self-tests.
    pub agreement_ratio: Option<f64>,
    /// 95th percentile of the time of a sample, in milliseconds.
    pub p95_ms: Option<f64>,
    /// Peak memory.
    pub memory_bytes: Option<u64>,
    /// Energy of a sample.
    pub joules_per_sample: Option<f64>,
    /// What the device takes in this mode.
    pub watts: Option<f64>,
}

/// What the sensors say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SensorStatus {
    /// Temperature of the hottest zone.
    pub hottest_celsius: Option<f64>,
    /// Each thermal zone.
    pub thermal_zones: Vec<ThermalStatus>,
    /// Whether a processor is held below its highest frequency.
    pub throttled: Option<bool>,
    /// Tasks that run or wait, over the last minute.
    pub load: Option<f64>,
    /// Whether another supply than the batteries suffices.
    pub mains: Option<bool>,
    /// Of all batteries together.
    pub charge_ratio: Option<f64>,
    /// What the device takes.
    pub watts: Option<f64>,
    /// Memory that a process could still get.
    pub memory_available_bytes: Option<u64>,
    /// Free storage of the data folder.
    pub storage_free_bytes: Option<u64>,
    /// Share of the last 10 s in which a task waited for a core.
    pub processor_pressure_ratio: Option<f64>,
    /// The same for memory.
    pub memory_pressure_ratio: Option<f64>,
    /// The same for disks.
    pub storage_pressure_ratio: Option<f64>,
    /// Since the system started.
    pub uptime_seconds: Option<f64>,
    /// Whether the clock follows a time server.
    pub clock_in_step: Option<bool>,
}

/// A thermal zone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThermalStatus {
    /// What its driver calls it, else its folder, also where another zone is called the same.
    pub zone: String,
    /// Its temperature.
    pub celsius: f64,
}

/// A sensor that has no valid value.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct SensorFaultStatus {
    /// Its path below the folder of sensors.
    pub sensor: String,
    /// The stable name of the fault.
    pub fault: String,
}
