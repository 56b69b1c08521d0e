//! What goes to a collector of OpenTelemetry, within the status of a device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What went to the collector since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryStatus {
    /// Traces that the collector took. Each is of one sample.
    pub traces_sent: u64,
    /// Traces that were dropped, by cause: `queue_full`, `refused` or `stopped`.
    pub traces_dropped: BTreeMap<String, u64>,
    /// Spans and data points of requests that the collector took without them.
    pub rejected: u64,
    /// Times that the collector took the metrics.
    pub metrics_sent: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Why the last request failed, if the one after it has not been taken yet.
    pub error: Option<TelemetryFailure>,
}

/// An error by its stable name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetryFailure {
    /// The stable name.
    pub name: String,
    /// The message for people.
    pub message: String,
}
