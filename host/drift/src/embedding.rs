//! Embeddings as a multivariate normal distribution.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, FisherSnedecor};

use super::limits::MOST;
use super::rank::probability;

/// Distances beyond this count as this. Its square is finite.
const MOST_DISTANCE: f64 = 1e100;
/// The least variance that a direction is taken to have.
const LEAST_VARIANCE: f64 = 1e-12;

/// Mean and covariance of a number of vectors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gaussian {
    /// How many vectors there were.
    pub count: u64,
    /// Their mean.
    pub mean: Vec<f64>,
    /// Their covariance, with `count` in the denominator: the lower triangle, row by row, the diagonal last in each.
    pub covariance: Vec<Vec<f64>>,
}

impl Gaussian {
    /// Mean and covariance of vectors of one length. `None` without vectors.
    pub fn of(vectors: &[Vec<f64>]) -> Option<Self> {
        let dimensions = vectors.first()?.len();
        let count = vectors.len() as f64;
        let mut mean = vec![0.0; dimensions];
        for vector in vectors {
            for (sum, value) in mean.iter_mut().zip(vector) {
                *sum += value / count;
            }
        }
        let mut covariance: Vec<Vec<f64>> = (1..=dimensions).map(|row| vec![0.0; row]).collect();
        for vector in vectors {
            let centred: Vec<f64> = vector.iter().zip(&mean).map(|(x, m)| x - m).collect();
            for (row, a) in covariance.iter_mut().zip(&centred) {
                for (cell, b) in row.iter_mut().zip(&centred) {
                    *cell += a * b / count;
                }
            }
        }
        Some(Self {
            count: vectors.len() as u64,
            mean,
            covariance,
        })
    }

    /// How many dimensions it has.
    pub fn dimensions(&self) -> usize {
        self.mean.len()
    }

    /// The share by which the covariance is shrunk towards a multiple of the identity, 0 to 1: the oracle approximating estimate of Y. Chen,
    /// A. Wiesel, Y. C. Eldar and A. O. Hero, *IEEE Trans. Signal Process.* 58 (2010), equation 23.
    pub fn shrinkage(&self) -> f64 {
        let (n, p) = (self.count as f64, self.dimensions() as f64);
        let trace = self.trace();
        let squares = self.covariance.iter().map(|row| {
            let (own, rest) = row
                .split_last()
                .map_or((0.0, &[][..]), |(own, rest)| (*own, rest));
            // What is below the diagonal is above it, too.
            own * own + 2.0 * rest.iter().map(|it| it * it).sum::<f64>()
        });
        let squares: f64 = squares.sum();
        let above = (1.0 - 2.0 / p) * squares + trace * trace;
        let below = (n + 1.0 - 2.0 / p) * (squares - trace * trace / p);
        if below > 0.0 {
            (above / below).clamp(0.0, 1.0)
        } else {
            1.0
        }
    }

    fn trace(&self) -> f64 {
        self.covariance.iter().filter_map(|row| row.last()).sum()
    }

    /// Whether rows and columns fit, and all numbers are bounded.
    pub(crate) fn is_sound(&self) -> bool {
        let is_bounded = |it: &f64| it.abs() <= MOST * MOST;
        let mut numbers = self.covariance.iter().flatten().chain(&self.mean);
        self.covariance.len() == self.dimensions()
            && (1..).zip(&self.covariance).all(|(row, it)| it.len() == row)
            && numbers.all(is_bounded)
    }
}

/// Distances from a [`Gaussian`].
#[derive(Debug, Clone)]
pub(crate) struct Distances {
    count: f64,
    mean: Vec<f64>,
    /// The Cholesky factor of the shrunk covariance: the lower triangle, row by row.
    factor: Vec<Vec<f64>>,
}

/// The distance of the mean of some vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MeanDistance {
    /// In standard deviations of single vectors.
    pub(crate) distance: f64,
    /// The probability of this distance or a larger one if the vectors come from the same distribution.
    pub(crate) p_value: f64,
}

impl Distances {
    /// `None` if the covariance is not one: shrunk, it is not positive definite.
    pub(crate) fn new(of: &Gaussian) -> Option<Self> {
        let shrinkage = of.shrinkage();
        let variance = (of.trace() / of.dimensions() as f64).max(LEAST_VARIANCE);
        let rows = of.covariance.iter().map(|row| {
            let last = row.len().saturating_sub(1);
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let target = if column == last { variance } else { 0.0 };
                (1.0 - shrinkage) * cell + shrinkage * target
            });
            let mut row: Vec<f64> = cells.collect();
            if let Some(own) = row.last_mut() {
                *own += LEAST_VARIANCE;
            }
            row
        });
        Some(Self {
            count: of.count as f64,
            mean: of.mean.clone(),
            factor: cholesky(rows)?,
        })
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.mean.len()
    }

    /// The Mahalanobis distance of a vector from the mean: P. C. Mahalanobis, 1936.
    pub(crate) fn distance(&self, vector: &[f64]) -> f64 {
        let mut solved: Vec<f64> = Vec::with_capacity(self.factor.len());
        for (row, (value, mean)) in self.factor.iter().zip(vector.iter().zip(&self.mean)) {
            let known: f64 = row.iter().zip(&solved).map(|(a, b)| a * b).sum();
            let own = row.last().copied().unwrap_or(1.0);
            solved.push((value - mean - known) / own);
        }
        let distance = solved.iter().map(|it| it * it).sum::<f64>().sqrt();
        // A file can hold covariances that no vectors have.
        if distance.is_finite() {
            distance.min(MOST_DISTANCE)
        } else {
            MOST_DISTANCE
        }
    }

    /// The distance of the mean of `count` vectors, and its p-value by H. Hotelling's T-squared (*Ann. Math. Statist.* 2, 1931), with the covariance
    /// of the baseline. Shrinking makes the p-value an approximation.
    pub(crate) fn of_mean(&self, mean: &[f64], count: usize) -> MeanDistance {
        let distance = self.distance(mean);
        let (n, m, p) = (count as f64, self.count, self.dimensions() as f64);
        let squared = n * m / (n + m) * distance * distance;
        let ratio = squared * (m - p) / (p * (m - 1.0));
        let p_value = match FisherSnedecor::new(p, m - p) {
            Ok(distribution) if ratio.is_finite() => probability(distribution.sf(ratio)),
            _ => 1.0,
        };
        MeanDistance { distance, p_value }
    }
}

/// The Cholesky factor of a symmetric matrix, both as lower triangles. `None` if it is not positive definite.
fn cholesky(rows: impl Iterator<Item = Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let mut factor: Vec<Vec<f64>> = Vec::new();
    for row in rows {
        let mut next: Vec<f64> = Vec::with_capacity(row.len());
        for (above, cell) in factor.iter().zip(&row) {
            let known: f64 = next.iter().zip(above).map(|(a, b)| a * b).sum();
            next.push((cell - known) / above.last()?);
        }
        let own = row.last()? - next.iter().map(|it| it * it).sum::<f64>();
        if !(own.is_finite() && own > 0.0) {
            return None;
        }
        next.push(own.sqrt());
        factor.push(next);
    }
    Some(factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn mean_and_covariance_are_those_of_the_vectors() {
        let vectors = [[0.0, 0.0], [2.0, 0.0], [0.0, 4.0], [2.0, 4.0]].map(Vec::from);
        let found = Gaussian::of(&vectors).unwrap();
        assert_eq!(found.mean, [1.0, 2.0]);
        assert_eq!(found.covariance, [vec![1.0], vec![0.0, 4.0]]);
        assert!(found.is_sound());
        assert_eq!(Gaussian::of(&[]), None);
    }

    #[test]
    fn the_factor_times_itself_is_the_matrix() {
        let rows = [vec![4.0], vec![2.0, 5.0], vec![2.0, 3.0, 6.0]];
        let factor = cholesky(rows.into_iter()).unwrap();
        assert_eq!(factor, [vec![2.0], vec![1.0, 2.0], vec![1.0, 1.0, 2.0]]);
        assert_eq!(cholesky([vec![1.0], vec![2.0, 1.0]].into_iter()), None);
    }

    #[test]
    fn a_distance_is_in_standard_deviations() {
        let gaussian = Gaussian {
            count: 1_000_000,
            mean: vec![1.0, 2.0],
            covariance: vec![vec![1.0], vec![0.0, 4.0]],
        };
        let distances = Distances::new(&gaussian).unwrap();
        assert!((distances.distance(&[4.0, 2.0]) - 3.0).abs() < 1e-4);
        assert!((distances.distance(&[1.0, 8.0]) - 3.0).abs() < 1e-4);
        assert!(distances.of_mean(&[4.0, 2.0], 100).p_value < 1e-12);
        assert_eq!(distances.of_mean(&[1.0, 2.0], 100).p_value, 1.0);
    }

    #[test]
    fn a_constant_embedding_has_distances() {
        let constant = Gaussian::of(&vec![vec![1.0, 1.0]; 8]).unwrap();
        let distances = Distances::new(&constant).unwrap();
        assert_eq!(distances.distance(&[1.0, 1.0]), 0.0);
        assert!(distances.distance(&[1.1, 1.0]) > 1e4);
    }
}
