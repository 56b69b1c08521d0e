//! The file of a baseline.

use std::collections::{BTreeMap, BTreeSet};

use hotshoe_base::format::FileFormat;
use hotshoe_trust::strict_json;
use serde::{Deserialize, Serialize};

use super::embedding::Gaussian;
use super::error::BaselineError;
use super::limits::{MAX_DIMENSIONS, MAX_SERIES, MAX_VALUES, MOST};
use super::measure::MAX_LABEL_BYTES;
use super::source::Source;

/// Largest file of a baseline, in bytes: 16 MiB.
pub const MAX_BASELINE_BYTES: u64 = 16 << 20;
/// Fewest values of a source.
pub const MIN_VALUES: u64 = 30;
/// Most labels that are told apart: the most frequent ones.
pub const MAX_LABELS: usize = 32;
/// Most samples that a baseline counts: 10^12.
const MAX_COUNT: u64 = 1_000_000_000_000;
/// The format of the file.
const FORMAT: FileFormat = FileFormat::new(1, 1);

/// What a pipeline saw and said when its baseline was made: by source, in the order in which the sources were given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    format: u32,
    /// How many samples it was made of.
    samples: u64,
    series: Vec<BaselineSeries>,
}

/// The baseline of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineSeries {
    /// What was measured.
    pub source: Source,
    /// The values.
    pub values: Series,
}

/// The values of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Series {
    /// Numbers.
    Numbers(Numbers),
    /// Labels.
    Labels(Labels),
    /// Vectors.
    Embeddings(Embeddings),
}

/// The numbers of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    /// How many there were.
    pub count: u64,
    /// Sorted: all of them, or [`MAX_VALUES`] of evenly spaced ranks.
    pub sorted: Vec<f64>,
}

/// The labels of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// How many samples had one.
    pub samples: u64,
    /// How often each was found.
    pub counts: BTreeMap<String, u64>,
    /// How often labels were found that are not told apart.
    pub other: u64,
}

/// The vectors of a source.
pub type Embeddings = Gaussian;

impl Baseline {
    pub(crate) fn new(samples: u64, series: Vec<BaselineSeries>) -> Result<Self, BaselineError> {
        let baseline = Self {
            format: FORMAT.written(),
            samples,
            series,
        };
        baseline.check()?;
        Ok(baseline)
    }

    /// Reads a file, and checks it.
    ///
    /// # Errors
    /// [`BaselineError`]
    pub fn parse(bytes: &[u8]) -> Result<Self, BaselineError> {
        FORMAT.check_json("the baseline", bytes)?;
        let baseline: Self =
            strict_json::parse(bytes, MAX_BASELINE_BYTES).map_err(BaselineError::Unreadable)?;
        baseline.check()?;
        Ok(baseline)
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        // All keys are texts and all numbers are finite, so that it cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// How many samples it was made of.
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// What it has of each source.
    pub fn series(&self) -> &[BaselineSeries] {
        &self.series
    }

    /// The source of each series.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.series.iter().map(|it| &it.source)
    }

    fn check(&self) -> Result<(), BaselineError> {
        let count = self.series.len();
        if count == 0 || count > MAX_SERIES {
            return Err(BaselineError::Sources { count });
        }
        let mut seen = BTreeSet::new();
        for series in &self.series {
            let source_text = || series.source.to_string();
            if !seen.insert(&series.source) {
                let source_text = source_text();
                return Err(BaselineError::Twice { source_text });
            }
            if let Err(problem) = series.check() {
                let source_text = source_text();
                return Err(BaselineError::Invalid {
                    source_text,
                    problem,
                });
            }
        }
        Ok(())
    }
}

impl BaselineSeries {
    /// How many samples had a value.
    pub fn count(&self) -> u64 {
        match &self.values {
            Series::Numbers(numbers) => numbers.count,
            Series::Labels(labels) => labels.samples,
            Series::Embeddings(embeddings) => embeddings.count,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let ensure = |is_so: bool, problem| if is_so { Ok(()) } else { Err(problem) };
        ensure(self.count() >= MIN_VALUES, "it has too few values")?;
        ensure(self.count() <= MAX_COUNT, "it counts too many values")?;
        match (&self.source, &self.values) {
            (Source::Number { .. } | Source::Tensor { .. }, Series::Numbers(numbers)) => {
                let (kept, sorted) = (numbers.sorted.len(), &numbers.sorted);
                let expected = usize::try_from(numbers.count).unwrap_or(usize::MAX);
                ensure(
                    kept == expected.min(MAX_VALUES),
                    "its values are not as many as it counts",
                )?;
                ensure(sorted.is_sorted(), "its values are not sorted")?;
                let is_bounded = |it: &f64| it.abs() <= MOST;
                ensure(sorted.iter().all(is_bounded), "a value is too large")
            }
            (Source::Label { .. }, Series::Labels(labels)) => {
                let fits = |label: &String| label.len() <= MAX_LABEL_BYTES;
                ensure(labels.counts.len() <= MAX_LABELS, "it has too many labels")?;
                ensure(labels.counts.keys().all(fits), "a label is too long")?;
                let counts = labels.counts.values().chain([&labels.other]);
                let sum = counts
                    .copied()
                    .try_fold(0_u64, u64::checked_add)
                    .filter(|sum| *sum >= labels.samples);
                ensure(sum.is_some(), "its counts do not add up")
            }
            (Source::Embedding { .. }, Series::Embeddings(gaussian)) => {
                let dimensions = gaussian.dimensions();
                ensure(
                    (1..=MAX_DIMENSIONS).contains(&dimensions),
                    "its dimensions are out of range",
                )?;
                ensure(gaussian.is_sound(), "its covariance does not fit its mean")?;
                ensure(
                    gaussian.count >= least_vectors(dimensions),
                    "it has too few vectors for its dimensions",
                )
            }
            _ => Err("its values are not of its kind"),
        }
    }
}

/// Fewest vectors of a baseline of embeddings: with fewer, the covariance says little.
pub(crate) fn least_vectors(dimensions: usize) -> u64 {
    (2 * dimensions as u64).max(MIN_VALUES)
}
