//! `[governor]`: the sensors of the device, and what a governor may do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{check_range, is_plain};
use crate::error::ConfigError;

/// Most outputs that a governor may drive.
pub const MAX_OUTPUTS: usize = 16;
/// Longest time of `[governor]`, in milliseconds: an hour.
const MAX_TIME_MS: u64 = 3_600_000;

/// `[governor]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GovernorConfig {
    /// Whether the device reads its sensors and follows plans. Without it, everything runs in full. Default: true.
    pub enabled: bool,
    /// The folder whose `sys` and `proc` are read. Default: `/`.
    pub sensors: PathBuf,
    /// Time between two rounds of sensors, each with a plan, in milliseconds. Default: 1000.
    pub period_ms: u64,
    /// Least time between two changes of the plan in force, in milliseconds. Default: 10000.
    pub least_time_ms: u64,
    /// How long only looser plans must be wished before one is in force, in milliseconds. Default: 30000.
    pub calm_ms: u64,
    /// After so many changes within an hour, the plan in force only becomes stricter. Default: 20.
    pub most_changes_per_hour: u32,
    /// What the 95th percentile of the time of a sample should not exceed, in milliseconds. Default: none.
    pub deadline_ms: Option<u64>,
    /// Whether a plan may hibernate the device. Without it, such a plan stops inference. Default: false.
    pub hibernate: bool,
    /// The outputs that a governor may drive, by name. Default: none.
    pub outputs: BTreeMap<String, GovernorOutput>,
}

/// `[governor.outputs.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GovernorOutput {
    /// The file that takes the number as text. It must exist.
    pub file: PathBuf,
    /// The number for 0. Default: 0.
    #[serde(default)]
    pub off: u32,
    /// The number for 1; it may be below `off`. Default: 255.
    #[serde(default = "default_full")]
    pub full: u32,
}

const fn default_full() -> u32 {
    255
}

impl Default for GovernorConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            sensors: PathBuf::from("/"),
            period_ms: 1_000,
            least_time_ms: 10_000,
            calm_ms: 30_000,
            most_changes_per_hour: 20,
            deadline_ms: None,
            hibernate: false,
            outputs: BTreeMap::new(),
        }
    }
}

impl GovernorConfig {
    /// `period-ms` as a duration.
    pub const fn period(&self) -> Duration {
        Duration::from_millis(self.period_ms)
    }

    /// Resolves relative paths against `folder`.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        self.sensors = folder.join(&self.sensors);
        for output in self.outputs.values_mut() {
            output.file = folder.join(&output.file);
        }
    }

    /// Refuses values that are not valid.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        check_range("governor.period-ms", self.period_ms, 10, 60_000)?;
        check_range("governor.least-time-ms", self.least_time_ms, 0, MAX_TIME_MS)?;
        check_range("governor.calm-ms", self.calm_ms, 0, MAX_TIME_MS)?;
        check_range(
            "governor.most-changes-per-hour",
            self.most_changes_per_hour.into(),
            1,
            3_600,
        )?;
        if let Some(deadline_ms) = self.deadline_ms {
            check_range("governor.deadline-ms", deadline_ms, 1, MAX_TIME_MS)?;
        }
        let outputs = self.outputs.len() as u64;
        check_range("governor.outputs", outputs, 0, MAX_OUTPUTS as u64)?;
        let mut names = self.outputs.keys();
        match names.find(|name| !is_plain(name)) {
            Some(name) => Err(ConfigError::OutputName { name: name.clone() }),
            None => Ok(()),
        }
    }
}
