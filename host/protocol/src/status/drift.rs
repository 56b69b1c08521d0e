//! Drift of the serving release from its baseline, within the status of a device.

use hotshoe_trust::Time;
use serde::{Deserialize, Serialize};

/// What the monitor of the serving release says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftStatus {
    /// Whether drift began and has not ended.
    pub drifting: bool,
    /// Since when it drifts. `None` without drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// What happens besides the alert: `alert` is nothing, `previous` or `mode`.
    pub action: String,
    /// Windows that have ended since the release began to serve.
    pub windows: u64,
    /// Samples of the present window.
    pub samples: u64,
    /// Samples of a whole window.
    pub window: u64,
    /// Samples that were measured since the release began to serve.
    pub measured: u64,
    /// Samples that were not measured since others waited.
    pub dropped: u64,
    /// The largest statistic of the last window as a share of its threshold. `None` before the first window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// The values that are watched, as the last window had them. Empty before the first window.
    pub values: Vec<DriftValue>,
}

/// A value that is watched.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftValue {
    /// Its source, such as `mean(lines.*.score)`.
    pub value: String,
    /// Samples of the last window that had one.
    pub samples: u64,
    /// Whether the last window drifted in it.
    pub drifted: bool,
    /// Its statistics in the last window. Fewer with too few samples.
    pub statistics: Vec<DriftStatistic>,
}

/// A statistic of a value over the last window.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriftStatistic {
    /// `psi`, `ks`, `embedding` or `change`.
    pub statistic: String,
    /// What it was.
    pub value: f64,
    /// The least that counts as drift.
    pub threshold: f64,
    /// The probability of this or more without drift. `None` for `change`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Whether it counts as drift.
    pub drifted: bool,
}
