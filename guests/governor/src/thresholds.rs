//! The thresholds: the data file `governor.json`, or the defaults, which are in the file of that name beside this crate.

use hotshoe_sdk::types::ErrorCode;
use hotshoe_sdk::{Error, Result, data};
use serde::Deserialize;

const FILE: &str = "governor.json";
const DEFAULTS: &[u8] = include_bytes!("../governor.json");

/// A key that is left out keeps its default; a list replaces the default list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Thresholds {
    /// By the hottest zone. The last step whose temperature is reached applies.
    pub(crate) heat: Option<Vec<HeatStep>>,
    /// By the emptiest battery, off mains. The last step whose charge is fallen below applies.
    pub(crate) battery: Option<Vec<BatteryStep>>,
    /// By the p95 of a sample against its deadline.
    pub(crate) latency: Option<LatencyRule>,
    /// How the names of outputs begin that are driven as fans.
    pub(crate) fans: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct HeatStep {
    pub(crate) from_celsius: f64,
    #[serde(default)]
    pub(crate) fan_ratio: f64,
    #[serde(default)]
    pub(crate) every: Option<u32>,
    #[serde(default)]
    pub(crate) max_per_second: Option<f64>,
    /// The mode; where the release has none of that name, its last one.
    #[serde(default)]
    pub(crate) mode: Option<String>,
    #[serde(default)]
    pub(crate) stop: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct BatteryStep {
    /// Either this or `below-or-at-ratio`.
    #[serde(default)]
    pub(crate) below_ratio: Option<f64>,
    #[serde(default)]
    pub(crate) below_or_at_ratio: Option<f64>,
    #[serde(default)]
    pub(crate) every: Option<u32>,
    #[serde(default)]
    pub(crate) max_per_second: Option<f64>,
    #[serde(default)]
    pub(crate) status_seconds: Option<u32>,
    #[serde(default)]
    pub(crate) stop: bool,
    #[serde(default)]
    pub(crate) hibernate: bool,
}

impl BatteryStep {
    pub(crate) fn applies_to(&self, charge_ratio: f64) -> bool {
        self.below_ratio.is_some_and(|bound| charge_ratio < bound)
            || self
                .below_or_at_ratio
                .is_some_and(|bound| charge_ratio <= bound)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct LatencyRule {
    /// So many windows in a row above the deadline: the next mode.
    pub(crate) windows_over: usize,
    /// So many windows in a row with headroom: the mode before.
    pub(crate) windows_under: usize,
    /// Headroom: a p95 below this share of the deadline.
    pub(crate) headroom_ratio: f64,
}

impl Thresholds {
    /// The release's own, completed by the defaults.
    pub(crate) fn read() -> Result<Self> {
        let defaults = Self::parse(DEFAULTS)?;
        let own = match data::read(FILE) {
            Ok(bytes) => Self::parse(&bytes)?,
            Err(error) if error.code == ErrorCode::NotFound => Self::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            heat: own.heat.or(defaults.heat),
            battery: own.battery.or(defaults.battery),
            latency: own.latency.or(defaults.latency),
            fans: own.fans.or(defaults.fans),
        })
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::internal(format_args!("{FILE} cannot be read: {error}")))
    }
}
