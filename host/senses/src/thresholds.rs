//! The figures of the default plan, as a data file has them.

use std::num::NonZeroU32;

use serde::Deserialize;

/// The figures of the default plan. Each key of the file may be left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Thresholds {
    /// From this temperature on, the fan runs at half speed. In degrees Celsius, as the next four. Default: 55.
    pub half_fan_celsius: f64,
    /// From this one on, the fan runs at full speed, and only one of `every` samples is taken. Default: 65.
    pub slow_celsius: f64,
    /// From this one on, a sample is taken each `interval-ms`, with `minimal-mode`. Default: 75.
    pub minimal_celsius: f64,
    /// From this one on, inference stops and there is an alert. Default: 85.
    pub stop_celsius: f64,
    /// A limit stays in force until the temperature is so far below it. Default: 3.
    pub celsius_margin: f64,
    /// Up to this charge, one of `every` samples is taken, and status goes out each `low-status-s`. In percent, as the next three. Default: 50.
    pub slow_charge_percent: f64,
    /// Below this one, a sample is taken each `interval-ms`, and status goes out each `lowest-status-s`. Default: 20.
    pub minimal_charge_percent: f64,
    /// Below this one, inference stops and the device hibernates. Default: 5.
    pub hibernate_charge_percent: f64,
    /// A limit stays in force until the charge is so far above it. Default: 3.
    pub charge_margin_percent: f64,
    /// See `slow-celsius`. Default: 3.
    pub every: NonZeroU32,
    /// See `minimal-celsius`. Default: 500.
    pub interval_ms: u32,
    /// See `slow-charge-percent`, in seconds. Default: 300.
    pub low_status_s: u32,
    /// See `minimal-charge-percent`, in seconds. Default: 3600.
    pub lowest_status_s: u32,
    /// The mode for heat. In a release that does not have it, models run their last variant in its place. Default: `minimal`.
    pub minimal_mode: String,
    /// The output for the fan. Default: `fan`.
    pub fan: String,
    /// After so many windows in a row whose 95th percentile is over the deadline, the next variant serves. Default: 3.
    pub late_windows: u32,
    /// After so many in a row that have headroom, the one before it serves again. Default: 6.
    pub headroom_windows: u32,
    /// A window has headroom if its 95th percentile is at most this share of the deadline, in percent. Default: 60.
    pub headroom_percent: u32,
    /// After so many failures in a row, a backend is avoided until a run on it succeeds. Default: 3.
    pub backend_failures: u32,
    /// A rule stays in force for so long after its sensor is gone, in seconds. Default: 600.
    pub missing_sensor_s: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            half_fan_celsius: 55.0,
            slow_celsius: 65.0,
            minimal_celsius: 75.0,
            stop_celsius: 85.0,
            celsius_margin: 3.0,
            slow_charge_percent: 50.0,
            minimal_charge_percent: 20.0,
            hibernate_charge_percent: 5.0,
            charge_margin_percent: 3.0,
            every: NonZeroU32::new(3).unwrap_or(NonZeroU32::MIN),
            interval_ms: 500,
            low_status_s: 300,
            lowest_status_s: 3_600,
            minimal_mode: "minimal".to_owned(),
            fan: "fan".to_owned(),
            late_windows: 3,
            headroom_windows: 6,
            headroom_percent: 60,
            backend_failures: 3,
            missing_sensor_s: 600,
        }
    }
}

/// Why a file of thresholds is not used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ThresholdsError {
    /// It is not TOML with these keys.
    #[error("the thresholds cannot be read")]
    Unreadable(#[source] Box<toml::de::Error>),
    /// Limits are not in order.
    #[error(
        "the {of} limits are {limits:?}; write finite numbers, the mildest limit first: {order}"
    )]
    OutOfOrder {
        /// Of what.
        of: &'static str,
        /// In the order of the keys.
        limits: Vec<f64>,
        /// Which order.
        order: &'static str,
    },
    /// A number is out of its range.
    #[error("`{key} = {value}` is out of range; write {range}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// The value.
        value: f64,
        /// The range.
        range: &'static str,
    },
}

impl ThresholdsError {
    /// The stable name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable_thresholds",
            Self::OutOfOrder { .. } => "thresholds_out_of_order",
            Self::OutOfRange { .. } => "threshold_out_of_range",
        }
    }
}

impl Thresholds {
    /// Reads a file, and checks it.
    ///
    /// # Errors
    /// [`ThresholdsError`]
    pub fn parse(text: &str) -> Result<Self, ThresholdsError> {
        let read: Self =
            toml::from_str(text).map_err(|error| ThresholdsError::Unreadable(Box::new(error)))?;
        read.check()?;
        Ok(read)
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

    fn check(&self) -> Result<(), ThresholdsError> {
        let celsius = self.celsius();
        if !celsius.is_sorted_by(|one, next| one < next) || !celsius.iter().all(|it| it.is_finite())
        {
            return Err(ThresholdsError::OutOfOrder {
                of: "temperature",
                limits: celsius.to_vec(),
                order: "half-fan, slow, minimal, stop, rising",
            });
        }
        let charges = [
            self.slow_charge_percent,
            self.minimal_charge_percent,
            self.hibernate_charge_percent,
        ];
        let is_percent = |it: &f64| (0.0..=100.0).contains(it);
        if !charges.is_sorted_by(|one, next| one > next) || !charges.iter().all(is_percent) {
            return Err(ThresholdsError::OutOfOrder {
                of: "charge",
                limits: charges.to_vec(),
                order: "slow, minimal, hibernate, falling, each from 0 to 100",
            });
        }
        for (key, value) in [
            ("celsius-margin", self.celsius_margin),
            ("charge-margin-percent", self.charge_margin_percent),
        ] {
            if !(0.0..=50.0).contains(&value) {
                let range = "0 to 50";
                return Err(ThresholdsError::OutOfRange { key, value, range });
            }
        }
        for (key, value) in [
            ("late-windows", self.late_windows),
            ("headroom-windows", self.headroom_windows),
            ("backend-failures", self.backend_failures),
        ] {
            if value == 0 {
                let (value, range) = (0.0, "1 or more");
                return Err(ThresholdsError::OutOfRange { key, value, range });
            }
        }
        Ok(())
    }
}
