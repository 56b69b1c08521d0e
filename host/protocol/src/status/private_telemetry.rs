//! Private figures, within the status of a device.

use serde::{Deserialize, Serialize};

/// What the figures leave out. It depends on the kinds of insights alone, not on who was there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PrivateTelemetryStatus {
    /// Samples since the start whose insight is of a kind without the field `private-telemetry.contributor`. They do not count.
    pub samples_without_contributor: u64,
}
