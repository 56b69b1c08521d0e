//! One source of a monitor: its baseline, and the values of the window.

use std::collections::BTreeMap;

use super::baseline::{BaselineSeries, Series};
use super::embedding::Distances;
use super::error::MonitorError;
use super::kolmogorov_smirnov::kolmogorov_smirnov;
use super::measure::Value;
use super::page_hinkley::PageHinkley;
use super::psi::{counts, cuts, psi};
use super::rank::{normal_score, share};
use super::verdict::{Finding, Test};

/// A test with a threshold and a p-value, which is not yet judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measurement {
    test: Test,
    value: f64,
    p_value: f64,
}

impl Measurement {
    pub(crate) const fn test(&self) -> Test {
        self.test
    }

    pub(crate) fn judge(self, threshold: f64, most: f64) -> Finding {
        Finding {
            test: self.test,
            value: self.value,
            threshold,
            p_value: Some(self.p_value),
            drifted: self.value >= threshold && self.p_value <= most,
        }
    }
}

/// One source of a monitor.
#[derive(Debug, Clone)]
pub(crate) enum Watched {
    Numbers(Numbers),
    Labels(Labels),
    Vectors(Vectors),
}

#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    sorted: Vec<f64>,
    cuts: Vec<f64>,
    /// The baseline's counts between the cuts.
    counts: Vec<u64>,
    window: Vec<f64>,
    page_hinkley: PageHinkley,
    /// The largest sum of the window.
    largest: f64,
}

#[derive(Debug, Clone)]
pub(crate) struct Labels {
    /// The baseline's labels with their counts.
    known: BTreeMap<String, u64>,
    other: u64,
    samples: u64,
    window: BTreeMap<String, u64>,
    window_other: u64,
    window_samples: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Vectors {
    distances: Distances,
    sums: Vec<f64>,
    count: usize,
}

impl Watched {
    pub(crate) fn new(series: &BaselineSeries) -> Result<Self, MonitorError> {
        Ok(match &series.values {
            Series::Numbers(numbers) => {
                let sorted = numbers.sorted.clone();
                let cuts = cuts(&sorted);
                Self::Numbers(Numbers {
                    counts: counts(&sorted, &cuts),
                    sorted,
                    cuts,
                    window: Vec::new(),
                    page_hinkley: PageHinkley::default(),
                    largest: 0.0,
                })
            }
            Series::Labels(labels) => Self::Labels(Labels {
                known: labels.counts.clone(),
                other: labels.other,
                samples: labels.samples,
                window: BTreeMap::new(),
                window_other: 0,
                window_samples: 0,
            }),
            Series::Embeddings(gaussian) => {
                let distances =
                    Distances::new(gaussian).ok_or_else(|| MonitorError::Covariance {
                        source_text: series.source.to_string(),
                    })?;
                Self::Vectors(Vectors {
                    sums: vec![0.0; distances.dimensions()],
                    distances,
                    count: 0,
                })
            }
        })
    }

    /// Adds the value of a sample. One of another kind, or of other dimensions, is left out.
    pub(crate) fn add(&mut self, value: &Value) {
        match (self, value) {
            (Self::Numbers(it), Value::Number(number)) => it.add(*number),
            (Self::Labels(it), Value::Labels(labels)) => it.add(labels),
            (Self::Vectors(it), Value::Vector(vector)) => it.add(vector),
            _ => {}
        }
    }

    /// How many samples of the window had a value.
    pub(crate) fn values(&self) -> usize {
        match self {
            Self::Numbers(it) => it.window.len(),
            Self::Labels(it) => it.window_samples,
            Self::Vectors(it) => it.count,
        }
    }

    /// The largest sum of Page and Hinkley in the window. `None` for what has none.
    pub(crate) const fn largest_sum(&self) -> Option<f64> {
        match self {
            Self::Numbers(it) => Some(it.largest),
            _ => None,
        }
    }

    /// The tests of the window.
    pub(crate) fn measurements(&self) -> Vec<Measurement> {
        match self {
            Self::Numbers(it) => it.measurements(),
            Self::Labels(it) => it.measurements(),
            Self::Vectors(it) => it.measurements(),
        }
    }

    /// Begins the next window. `restart` also forgets the sums of Page and Hinkley, which otherwise continue.
    pub(crate) fn clear(&mut self, restart: bool) {
        match self {
            Self::Numbers(it) => {
                it.window.clear();
                it.largest = 0.0;
                if restart {
                    it.page_hinkley = PageHinkley::default();
                }
            }
            Self::Labels(it) => {
                it.window.clear();
                (it.window_other, it.window_samples) = (0, 0);
            }
            Self::Vectors(it) => {
                it.sums.fill(0.0);
                it.count = 0;
            }
        }
    }

    /// How rare a value is in the baseline: 0 for the most usual one, near 1 for one beyond all of them. `None` for a value of another kind.
    pub(crate) fn rarity(&self, value: &Value) -> Option<f64> {
        match (self, value) {
            (Self::Numbers(it), Value::Number(number)) => {
                Some((2.0 * share(&it.sorted, *number) - 1.0).abs())
            }
            (Self::Labels(it), Value::Labels(labels)) => it.rarity(labels),
            (Self::Vectors(it), Value::Vector(vector)) => {
                let dimensions = it.distances.dimensions();
                // The mean of squared distances is the number of dimensions.
                let distance = (vector.len() == dimensions)
                    .then(|| it.distances.distance(vector).powi(2) / dimensions as f64)?;
                Some(distance / (1.0 + distance))
            }
            _ => None,
        }
    }
}

impl Numbers {
    fn add(&mut self, number: f64) {
        self.window.push(number);
        let sum = self.page_hinkley.add(normal_score(&self.sorted, number));
        self.largest = self.largest.max(sum);
    }

    fn measurements(&self) -> Vec<Measurement> {
        let mut sorted = self.window.clone();
        sorted.sort_by(f64::total_cmp);
        let (n, m) = (sorted.len() as f64, self.sorted.len() as f64);
        let index = psi(&counts(&sorted, &self.cuts), &self.counts, n, m);
        let index = Measurement {
            test: Test::Psi,
            value: index.index,
            p_value: index.p_value,
        };
        let distance = kolmogorov_smirnov(&sorted, &self.sorted).map(|it| Measurement {
            test: Test::Ks,
            value: it.distance,
            p_value: it.p_value,
        });
        [Some(index), distance].into_iter().flatten().collect()
    }
}

impl Labels {
    fn add(&mut self, labels: &[String]) {
        self.window_samples += 1;
        for label in labels {
            if self.known.contains_key(label) {
                *self.window.entry(label.clone()).or_default() += 1;
            } else {
                self.window_other += 1;
            }
        }
    }

    /// The labels of one sample are not independent: the numbers of observations are those of samples.
    fn measurements(&self) -> Vec<Measurement> {
        let window = self.known.keys().map(|it| self.window.get(it).copied());
        let window = window.map(Option::unwrap_or_default);
        let window: Vec<u64> = window.chain([self.window_other]).collect();
        let baseline: Vec<u64> = self.known.values().copied().chain([self.other]).collect();
        let (n, m) = (self.window_samples as f64, self.samples as f64);
        let index = psi(&window, &baseline, n, m);
        vec![Measurement {
            test: Test::Psi,
            value: index.index,
            p_value: index.p_value,
        }]
    }

    /// One less the share of the rarest of these labels.
    fn rarity(&self, labels: &[String]) -> Option<f64> {
        let total = self.known.values().sum::<u64>() + self.other;
        let counts = labels
            .iter()
            .map(|label| self.known.get(label).copied().unwrap_or(0));
        let rarest = counts.min()?;
        Some(1.0 - rarest as f64 / total.max(1) as f64)
    }
}

impl Vectors {
    fn add(&mut self, vector: &[f64]) {
        if vector.len() != self.sums.len() {
            return;
        }
        self.count += 1;
        for (sum, value) in self.sums.iter_mut().zip(vector) {
            *sum += value;
        }
    }

    fn measurements(&self) -> Vec<Measurement> {
        if self.count == 0 {
            return Vec::new();
        }
        let mean: Vec<f64> = self
            .sums
            .iter()
            .map(|sum| sum / self.count as f64)
            .collect();
        let found = self.distances.of_mean(&mean, self.count);
        vec![Measurement {
            test: Test::Embedding,
            value: found.distance,
            p_value: found.p_value,
        }]
    }
}
