//! `[drift]` of a release: what counts as drift from its baseline, and what happens then.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::digest::Blob;

/// The rules by which a device compares windows of samples with the baseline of its release. `B` is the baseline: a blob in a release, and the path
/// of a file in a `release.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Drift<B = Blob> {
    /// The file that `hotshoe baseline` wrote.
    pub baseline: B,
    /// The sources of the baseline that are watched, as `mean(lines.*.score)`. Default: all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub watch: BTreeSet<String>,
    /// Every Nth sample is measured. Default 1: all of them.
    #[serde(default = "every")]
    pub every: u32,
    /// Measured samples of a window. Default 500.
    #[serde(default = "window")]
    pub window: u32,
    /// A window with `at-least` samples ends after so many seconds, too. Default 3,600.
    #[serde(default = "window_seconds")]
    pub window_seconds: u32,
    /// Fewest samples of a window, and fewest values of a source that is tested. Default 100.
    #[serde(default = "at_least")]
    pub at_least: u32,
    /// Drift begins after so many windows in a row that drifted, and ends after as many that did not. Default 1.
    #[serde(default = "windows")]
    pub windows: u32,
    /// Population stability index from which a source drifted. Default 0.25.
    #[serde(default = "psi")]
    pub psi: f64,
    /// Kolmogorov-Smirnov distance from which a source drifted, 0 to 1. Default 0.15.
    #[serde(default = "ks")]
    pub ks: f64,
    /// Mahalanobis distance of the mean embedding from which a source drifted, in standard deviations. Default 1.
    #[serde(default = "embedding")]
    pub embedding: f64,
    /// Cumulative sum of Page and Hinkley from which a source changed suddenly, in standard deviations. Default 15.
    #[serde(default = "change")]
    pub change: f64,
    /// Largest probability that a window without drift is taken for one with it, over all tests but that of sudden changes. Default 0.001.
    #[serde(default = "p_value")]
    pub p_value: f64,
    /// What happens besides the alert and the metric. Default: nothing.
    #[serde(default, skip_serializing_if = "DriftAction::is_default")]
    pub action: DriftAction,
    /// The mode of `action = "mode"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// What a device does when drift begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftAction {
    /// An alert.
    #[default]
    Alert,
    /// An alert, and the previous release serves again.
    Previous,
    /// An alert, and the release runs in another mode until drift ends.
    Mode,
}

impl DriftAction {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

const fn every() -> u32 {
    1
}

const fn window() -> u32 {
    500
}

const fn window_seconds() -> u32 {
    3_600
}

const fn at_least() -> u32 {
    100
}

const fn windows() -> u32 {
    1
}

const fn psi() -> f64 {
    0.25
}

const fn ks() -> f64 {
    0.15
}

const fn embedding() -> f64 {
    1.0
}

const fn change() -> f64 {
    15.0
}

const fn p_value() -> f64 {
    0.001
}

impl<B> Drift<B> {
    /// The defaults, with this baseline.
    pub const fn new(baseline: B) -> Self {
        Self {
            baseline,
            watch: BTreeSet::new(),
            every: every(),
            window: window(),
            window_seconds: window_seconds(),
            at_least: at_least(),
            windows: windows(),
            psi: psi(),
            ks: ks(),
            embedding: embedding(),
            change: change(),
            p_value: p_value(),
            action: DriftAction::Alert,
            mode: None,
        }
    }

    /// The same rules with another form of the baseline.
    pub fn with_baseline<C>(&self, baseline: C) -> Drift<C> {
        Drift {
            baseline,
            watch: self.watch.clone(),
            every: self.every,
            window: self.window,
            window_seconds: self.window_seconds,
            at_least: self.at_least,
            windows: self.windows,
            psi: self.psi,
            ks: self.ks,
            embedding: self.embedding,
            change: self.change,
            p_value: self.p_value,
            action: self.action,
            mode: self.mode.clone(),
        }
    }
}
