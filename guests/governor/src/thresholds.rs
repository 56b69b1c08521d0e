//! The thresholds: the data file `governor.json`. A key that it leaves out has the value of the file of that name beside this crate.

use hotshoe_sdk::types::ErrorCode;
use hotshoe_sdk::{Error, Result, data};
use serde::Deserialize;
use serde_json::{Map, Value};

const FILE: &str = "governor.json";
const DEFAULTS: &[u8] = include_bytes!("../governor.json");

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Thresholds {
    /// From this temperature on, the fan runs at half speed.
    pub(crate) half_fan_celsius: f64,
    /// From this one on, the fan runs at full speed, and one of `every` samples is processed.
    pub(crate) slow_celsius: f64,
    /// From this one on, at most one sample is processed each `interval-ms`, in `minimal-mode`.
    pub(crate) minimal_celsius: f64,
    /// From this one on, inference stops.
    pub(crate) stop_celsius: f64,
    /// A step stays until the temperature is so far below it.
    pub(crate) celsius_margin: f64,
    /// Up to this charge, one of `every` samples is processed, and status goes out each `low-status-s`.
    pub(crate) slow_charge_percent: f64,
    /// Below this one, at most one sample is processed each `interval-ms`, and status goes out each `lowest-status-s`.
    pub(crate) minimal_charge_percent: f64,
    /// Below this one, the device hibernates.
    pub(crate) hibernate_charge_percent: f64,
    /// A step stays until the charge is so far above it.
    pub(crate) charge_margin_percent: f64,
    pub(crate) every: u32,
    pub(crate) interval_ms: u32,
    pub(crate) low_status_s: u32,
    pub(crate) lowest_status_s: u32,
    /// The mode for heat; in a release without it, its last one.
    pub(crate) minimal_mode: String,
    /// The output for the fan.
    pub(crate) fan: String,
    /// After so many windows in a row whose p95 is over the deadline, the next mode serves.
    pub(crate) late_windows: usize,
    /// After so many in a row with headroom, the mode before.
    pub(crate) headroom_windows: usize,
    /// A window has headroom if its p95 is at most this share of the deadline.
    pub(crate) headroom_percent: f64,
    /// After so many failures in a row, a backend is avoided.
    pub(crate) backend_failures: u32,
    /// A step stays for so long after its sensor is gone.
    pub(crate) missing_sensor_s: u64,
}

impl Thresholds {
    pub(crate) fn read() -> Result<Self> {
        let mut all = object(DEFAULTS)?;
        match data::read(FILE) {
            Ok(bytes) => all.extend(object(&bytes)?),
            Err(error) if error.code == ErrorCode::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        serde_json::from_value(Value::Object(all)).map_err(unusable)
    }

    /// The temperatures, rising.
    pub(crate) fn celsius(&self) -> [f64; 4] {
        [
            self.half_fan_celsius,
            self.slow_celsius,
            self.minimal_celsius,
            self.stop_celsius,
        ]
    }
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(bytes).map_err(unusable)
}

fn unusable(error: serde_json::Error) -> Error {
    Error::internal(format_args!("{FILE} cannot be used: {error}"))
}
