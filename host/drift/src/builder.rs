//! Makes a baseline of samples.

use std::collections::BTreeMap;

use super::baseline::{
    Baseline, BaselineSeries, Labels, MAX_LABELS, MIN_VALUES, Numbers, Series, least_vectors,
};
use super::embedding::Gaussian;
use super::error::BaselineError;
use super::limits::{MAX_SERIES, MAX_VALUES};
use super::measure::{Measured, Value, rounded};
use super::source::Source;

/// Collects the values of samples, and makes a [`Baseline`] of them. It keeps all of them in memory until then.
#[derive(Debug, Clone)]
pub struct BaselineBuilder {
    sources: Vec<Source>,
    collected: Vec<Collected>,
    samples: u64,
}

/// The values of one source so far.
#[derive(Debug, Clone, Default)]
struct Collected {
    numbers: Vec<f64>,
    /// How often each label was found.
    labels: BTreeMap<String, u64>,
    /// How many samples had one.
    labelled: u64,
    vectors: Vec<Vec<f64>>,
}

impl BaselineBuilder {
    /// Begins with no samples.
    ///
    /// # Errors
    /// No sources, too many, or one twice.
    pub fn new(sources: Vec<Source>) -> Result<Self, BaselineError> {
        let count = sources.len();
        if count == 0 || count > MAX_SERIES {
            return Err(BaselineError::Sources { count });
        }
        let twice = (1..).zip(&sources).find(|(next, source)| {
            let mut rest = sources.iter().skip(*next);
            rest.any(|other| other == *source)
        });
        if let Some((_, source)) = twice {
            let source_text = source.to_string();
            return Err(BaselineError::Twice { source_text });
        }
        Ok(Self {
            collected: vec![Collected::default(); count],
            sources,
            samples: 0,
        })
    }

    /// What it collects.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// How many samples it has.
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds a sample, as [`measure`](super::measure()) has it for [`Self::sources`].
    pub fn add(&mut self, measured: &Measured) {
        self.samples += 1;
        for (collected, value) in self.collected.iter_mut().zip(&measured.0) {
            match value {
                Some(Value::Number(number)) => collected.numbers.push(*number),
                Some(Value::Labels(labels)) => {
                    collected.labelled += 1;
                    for label in labels {
                        *collected.labels.entry(label.clone()).or_default() += 1;
                    }
                }
                Some(Value::Vector(vector)) => collected.vectors.push(vector.clone()),
                None => {}
            }
        }
    }

    /// The baseline.
    ///
    /// # Errors
    /// A source has too few values, or vectors of several lengths.
    pub fn finish(self) -> Result<Baseline, BaselineError> {
        let series = self.sources.into_iter().zip(self.collected);
        let series = series.map(|(source, collected)| {
            let values = collected.series(&source)?;
            Ok(BaselineSeries { source, values })
        });
        Baseline::new(self.samples, series.collect::<Result<_, BaselineError>>()?)
    }
}

impl Collected {
    fn series(self, source: &Source) -> Result<Series, BaselineError> {
        let enough = |found: u64, least: u64| {
            if found >= least {
                return Ok(());
            }
            Err(BaselineError::TooFew {
                source_text: source.to_string(),
                found,
                least,
            })
        };
        match source {
            Source::Number { .. } | Source::Tensor { .. } => {
                enough(self.numbers.len() as u64, MIN_VALUES)?;
                Ok(Series::Numbers(numbers(self.numbers)))
            }
            Source::Label { .. } => {
                enough(self.labelled, MIN_VALUES)?;
                Ok(Series::Labels(labels(self.labels, self.labelled)))
            }
            Source::Embedding { .. } => {
                let one = self.vectors.first().map_or(0, Vec::len);
                if let Some(other) = self.vectors.iter().find(|it| it.len() != one) {
                    return Err(BaselineError::Dimensions {
                        source_text: source.to_string(),
                        one,
                        other: other.len(),
                    });
                }
                enough(self.vectors.len() as u64, least_vectors(one))?;
                let gaussian = Gaussian::of(&self.vectors).ok_or(BaselineError::TooFew {
                    source_text: source.to_string(),
                    found: 0,
                    least: MIN_VALUES,
                })?;
                Ok(Series::Embeddings(rounded_gaussian(gaussian)))
            }
        }
    }
}

fn numbers(mut all: Vec<f64>) -> Numbers {
    all.sort_by(f64::total_cmp);
    let count = all.len();
    let kept = count.min(MAX_VALUES);
    // The middle of each of equally many ranks.
    let sorted = (0..kept).filter_map(|place| all.get((2 * place + 1) * count / (2 * kept)));
    Numbers {
        count: count as u64,
        sorted: sorted.copied().collect(),
    }
}

fn labels(all: BTreeMap<String, u64>, samples: u64) -> Labels {
    let mut by_count: Vec<(String, u64)> = all.into_iter().collect();
    by_count.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
    let rest = by_count.split_off(by_count.len().min(MAX_LABELS));
    Labels {
        samples,
        counts: by_count.into_iter().collect(),
        other: rest.iter().map(|(_, count)| count).sum(),
    }
}

/// Seven digits say enough, and take half the bytes.
fn rounded_gaussian(mut gaussian: Gaussian) -> Gaussian {
    let covariance = gaussian.covariance.iter_mut().flatten();
    for number in covariance.chain(&mut gaussian.mean) {
        *number = rounded(*number);
    }
    gaussian
}
