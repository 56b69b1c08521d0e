//! The comparison of two arms by a test that stays valid however often one looks.
//!
//! Each arm has a confidence sequence: an interval that contains the mean at all times at once with a given probability. It is the
//! two-sided normal mixture of Howard, Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
//! sequences" (2021), for values from 0 to 1, which are sub-Gaussian with variance 1/4 (Hoeffding).

use serde::{Deserialize, Serialize};

use crate::checks::WHOLE_PPM;

/// The variance bound of values from 0 to 1.
const VARIANCE: f64 = 0.25;
/// The mixture's parameter. The intervals are tightest at some 1,000 samples, at an alpha of 5%.
const TIGHTEST: f64 = 30.0;
/// Samples beyond which no number is given.
const MAX_NEEDED: u64 = 1 << 40;

/// The values of a metric in one arm, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ArmFigures {
    /// Number of values.
    pub samples: u64,
    /// Their sum, in millionths.
    pub sum_ppm: u64,
}

impl ArmFigures {
    /// Adds a value; one beyond 0 to 1 is left out.
    pub fn add(&mut self, value: f64) {
        if (0.0..=1.0).contains(&value) {
            let ppm = (value * f64::from(WHOLE_PPM)) as u64;
            self.merge(&Self {
                samples: 1,
                sum_ppm: ppm,
            });
        }
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        self.samples = self.samples.saturating_add(other.samples);
        self.sum_ppm = self.sum_ppm.saturating_add(other.sum_ppm);
    }

    /// Whether the sum is possible.
    pub(crate) fn is_valid(&self) -> bool {
        u128::from(self.sum_ppm) <= u128::from(self.samples) * u128::from(WHOLE_PPM)
    }

    fn mean(&self) -> f64 {
        self.sum_ppm as f64 / f64::from(WHOLE_PPM) / self.samples as f64
    }
}

/// What a comparison says of the new release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its mean is higher.
    Better,
    /// Its mean is lower.
    Worse,
    /// Not known yet.
    NotKnown {
        /// Samples of each arm that the difference seen so far would need. `None` if both are alike.
        needed: Option<u64>,
    },
}

/// Compares the arms. Wrong with a probability of at most `alpha_ppm` millionths for all looks together, if both have the same mean.
pub fn compare(new: &ArmFigures, kept: &ArmFigures, alpha_ppm: u32) -> Verdict {
    if new.samples == 0 || kept.samples == 0 {
        return Verdict::NotKnown { needed: None };
    }
    // Half of it for each arm.
    let alpha = f64::from(alpha_ppm) / f64::from(WHOLE_PPM) / 2.0;
    let difference = new.mean() - kept.mean();
    let reach = radius(new.samples, alpha) + radius(kept.samples, alpha);
    if difference > reach {
        return Verdict::Better;
    }
    if -difference > reach {
        return Verdict::Worse;
    }
    Verdict::NotKnown {
        needed: needed(difference.abs(), alpha),
    }
}

/// The half width of the interval of a mean: the boundary of the sum, by the number of samples.
fn radius(samples: u64, alpha: f64) -> f64 {
    let variance = samples as f64 * VARIANCE;
    let mixed = variance + TIGHTEST;
    (mixed * (mixed / (TIGHTEST * alpha * alpha)).ln()).sqrt() / samples as f64
}

/// The least number of samples of each arm at which two intervals are apart by `difference`.
fn needed(difference: f64, alpha: f64) -> Option<u64> {
    let is_enough = |samples: u64| 2.0 * radius(samples, alpha) < difference;
    let mut most = 1_u64;
    while !is_enough(most) {
        most = most.checked_mul(2).filter(|most| *most <= MAX_NEEDED)?;
    }
    let mut least = most / 2;
    while least + 1 < most {
        let middle = least + (most - least) / 2;
        if is_enough(middle) {
            most = middle;
        } else {
            least = middle;
        }
    }
    Some(most)
}
