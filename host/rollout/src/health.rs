//! How a release served, in figures that merge.

use serde::{Deserialize, Serialize};

use crate::quantiles::Quantiles;

/// How one release served in one mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Health {
    /// Number of samples.
    pub samples: u64,
    /// Number that ended with an error.
    pub errors: u64,
    /// Number on which a component trapped.
    pub traps: u64,
    /// Latency in milliseconds: the p95 of each device, for its samples.
    pub latency_ms: Quantiles,
    /// Energy of a sample in millijoules: the mean of each device, for its samples. The idle power of the device is in it.
    pub energy_mj: Quantiles,
    /// Drift from the baseline of the release, in thousandths of its thresholds: the largest statistic of each device's last window, for
    /// the samples of its windows. From 1,000 on, a statistic reaches its threshold.
    pub drift_permille: Quantiles,
}

impl Health {
    /// Adds the figures of another.
    pub fn merge(&mut self, other: &Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.errors = self.errors.saturating_add(other.errors);
        self.traps = self.traps.saturating_add(other.traps);
        self.latency_ms.merge(&other.latency_ms);
        self.energy_mj.merge(&other.energy_mj);
        self.drift_permille.merge(&other.drift_permille);
    }

    /// Whether the figures fit each other.
    pub(crate) fn is_valid(&self) -> bool {
        self.errors <= self.samples
            && self.traps <= self.samples
            && [&self.latency_ms, &self.energy_mj, &self.drift_permille]
                .into_iter()
                .all(Quantiles::is_valid)
    }
}
