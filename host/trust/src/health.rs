//! The health gate: the rules that a trial must pass before a device confirms it.

use serde::{Deserialize, Serialize};

/// The rules that a trial must pass, and what happens if it fails: `[health]` of a `release.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HealthGate {
    /// Samples that a trial must have served before it is confirmed. Default 20.
    pub min_samples: u64,
    /// Seconds that a trial must have served before it is confirmed. Default 10.
    pub min_seconds: u64,
    /// Seconds after which a trial within all limits is confirmed even with fewer samples, for devices without traffic; at least
    /// `min-seconds`. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_after_seconds: Option<u64>,
    /// The largest share of a trial's samples that may end in an error. Default 0.05.
    pub max_error_rate: f64,
    /// The largest share of a trial's samples on which a component may trap. Default 0.
    pub max_trap_rate: f64,
    /// The largest share of a trial's samples that may miss a deadline. Default 0.01.
    pub max_deadline_miss_rate: f64,
    /// The latency that 95 of 100 samples must keep, in milliseconds. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency_p95_ms: Option<u64>,
    /// The same latency as a multiple of the previous release's. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency_ratio: Option<f64>,
    /// A comparison with the serving release before the trial serves. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// Starts of the daemon in which an unconfirmed trial may still serve. Default 1.
    pub tries: u32,
    /// What happens to a trial that fails. Default: it is rolled back.
    pub on_failure: OnFailure,
}

impl Default for HealthGate {
    fn default() -> Self {
        Self {
            min_samples: 20,
            min_seconds: 10,
            confirm_after_seconds: None,
            max_error_rate: 0.05,
            max_trap_rate: 0.0,
            max_deadline_miss_rate: 0.01,
            max_latency_p95_ms: None,
            max_latency_ratio: None,
            shadow: None,
            tries: 1,
            on_failure: OnFailure::Rollback,
        }
    }
}

/// The shadow phase: the new release gets copies of samples; its insights are compared and discarded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Shadow {
    /// The share of samples that are copied to it. Default 1.
    pub share: f64,
    /// Number of samples to compare. Default 20.
    pub samples: u64,
    /// The mean agreement with the serving release that they must reach, 0 to 1. Default 0.9.
    pub min_agreement: f64,
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            share: 1.0,
            samples: 20,
            min_agreement: 0.9,
        }
    }
}

/// What happens to a trial that fails its health gate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The previous release serves again, and the failed one is remembered.
    #[default]
    Rollback,
    /// The failure is reported, and the release is confirmed.
    Keep,
}

/// What a device demands of every trial: `[deploy.health]` of a `hotshoe.toml`.
///
/// Each bound makes the gate of a release stricter, except for the two caps and `confirm-after-seconds`, which limit how long a trial
/// lasts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HealthBounds {
    /// Least number of samples. Default: as the release says.
    pub min_samples: Option<u64>,
    /// Least number of seconds. Default: as the release says.
    pub min_seconds: Option<u64>,
    /// Cap on the samples that a trial must serve. Default: as the release says.
    pub max_samples: Option<u64>,
    /// Cap on the seconds that a trial must serve. Default: as the release says.
    pub max_seconds: Option<u64>,
    /// Seconds after which a trial within all limits is confirmed even with fewer samples. Default: as the release says.
    pub confirm_after_seconds: Option<u64>,
    /// At most this share of errors. Default: as the release says.
    pub max_error_rate: Option<f64>,
    /// At most this share of traps. Default: as the release says.
    pub max_trap_rate: Option<f64>,
    /// At most this share of missed deadlines. Default: as the release says.
    pub max_deadline_miss_rate: Option<f64>,
    /// At most this latency of 95 in 100 samples, in milliseconds. Default: as the release says.
    pub max_latency_p95_ms: Option<u64>,
    /// At most this multiple of the previous release's latency. Default: as the release says.
    pub max_latency_ratio: Option<f64>,
    /// At least this agreement, where the release has a shadow phase. Default: as the release says.
    pub min_shadow_agreement: Option<f64>,
    /// Most starts of the daemon on trial. Default: as the release says.
    pub max_tries: Option<u32>,
    /// A failing trial is rolled back even where its release says `keep`. Default: false.
    pub always_roll_back: bool,
}

impl HealthGate {
    /// This gate as a device applies it: at least as strict as `bounds`.
    #[must_use]
    pub fn bounded(&self, bounds: &HealthBounds) -> Self {
        let lower = |own: f64, bound: Option<f64>| bound.map_or(own, |bound| own.min(bound));
        Self {
            min_samples: between(self.min_samples, bounds.min_samples, bounds.max_samples),
            min_seconds: between(self.min_seconds, bounds.min_seconds, bounds.max_seconds),
            confirm_after_seconds: bounds.confirm_after_seconds.or(self.confirm_after_seconds),
            max_error_rate: lower(self.max_error_rate, bounds.max_error_rate),
            max_trap_rate: lower(self.max_trap_rate, bounds.max_trap_rate),
            max_deadline_miss_rate: lower(
                self.max_deadline_miss_rate,
                bounds.max_deadline_miss_rate,
            ),
            max_latency_p95_ms: [self.max_latency_p95_ms, bounds.max_latency_p95_ms]
                .into_iter()
                .flatten()
                .min(),
            max_latency_ratio: [self.max_latency_ratio, bounds.max_latency_ratio]
                .into_iter()
                .flatten()
                .reduce(f64::min),
            shadow: self.shadow.as_ref().map(|shadow| Shadow {
                min_agreement: bounds
                    .min_shadow_agreement
                    .map_or(shadow.min_agreement, |b| b.max(shadow.min_agreement)),
                ..shadow.clone()
            }),
            tries: bounds.max_tries.map_or(self.tries, |b| b.min(self.tries)),
            on_failure: if bounds.always_roll_back {
                OnFailure::Rollback
            } else {
                self.on_failure
            },
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

fn between(own: u64, least: Option<u64>, most: Option<u64>) -> u64 {
    own.max(least.unwrap_or(0)).min(most.unwrap_or(u64::MAX))
}
