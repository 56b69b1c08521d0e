//! What a window says.

use serde::Serialize;

/// A test of one source over a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Test {
    /// The population stability index.
    Psi,
    /// The distance of Kolmogorov and Smirnov.
    Ks,
    /// The Mahalanobis distance of the mean embedding, in standard deviations of single ones.
    Embedding,
    /// The largest sum of Page and Hinkley in the window, in standard deviations.
    Change,
}

impl Test {
    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Psi => "psi",
            Self::Ks => "ks",
            Self::Embedding => "embedding",
            Self::Change => "change",
        }
    }
}

/// The result of one test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Finding {
    /// Which test.
    pub test: Test,
    /// What it measured.
    pub value: f64,
    /// The least value that counts as drift.
    pub threshold: f64,
    /// The probability of this value or a larger one without drift. `None` for [`Test::Change`], whose threshold contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
    /// Whether it counts as drift: the value reaches its threshold, and the p-value is at most the verdict's.
    pub drifted: bool,
}

/// What a window says of one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesVerdict {
    /// The source.
    pub source: String,
    /// How many samples had a value. With fewer than `at-least`, only [`Test::Change`] is made.
    pub values: usize,
    /// The tests that were made.
    pub findings: Vec<Finding>,
    /// Whether one of them counts as drift.
    pub drifted: bool,
}

/// Whether drift began or ended with a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateChange {
    /// So many windows in a row drifted as the release asks for. The action of the release is due.
    Began,
    /// As many windows in a row did not.
    Ended,
}

/// What a window says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// How many samples it had.
    pub samples: usize,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// The largest p-value that counts as drift: `p-value` of the release, over the number of tests with one in this window (C. E. Bonferroni).
    pub p_value: f64,
    /// The sources, in the order of the monitor.
    pub series: Vec<SeriesVerdict>,
    /// Whether one of them drifted.
    pub drifted: bool,
    /// Whether drift began or ended with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<StateChange>,
}

impl Verdict {
    /// The findings that count as drift, with their sources.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, &Finding)> {
        self.series.iter().flat_map(|series| {
            let drifted = series.findings.iter().filter(|it| it.drifted);
            drifted.map(|it| (series.source.as_str(), it))
        })
    }
}
