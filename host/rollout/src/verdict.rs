//! The comparison of two arms by a test that stays valid however often one looks.
//!
//! A device is drawn into its arm, so a device is what counts: it gives one value, the mean of its first samples. Samples of one device are
//! alike, and a test that counts them as independent finds differences between devices. The test multiplies the mixture likelihood ratios
//! of both arms (Robbins, "Statistical methods related to the law of the iterated logarithm", 1970; for values from 0 to 1: Howard, Ramdas,
//! McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", 2021) and takes the common mean that explains
//! them best. If both arms have one mean, the product ever exceeds `1 / alpha` with a probability of at most `alpha` (Ville 1939).

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use crate::checks::WHOLE_PPM;

/// The parameter of the mixture, Jeffreys' prior of a share.
const PRIOR: f64 = 0.5;
/// Values beyond which no number is given.
const MAX_NEEDED: u64 = 1 << 40;

/// The values of a metric in one arm, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ArmFigures {
    /// Number of values: one for each device that has had enough samples.
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

    /// The values without those of a part.
    pub(crate) const fn without(&self, part: &Self) -> Self {
        Self {
            samples: self.samples.saturating_sub(part.samples),
            sum_ppm: self.sum_ppm.saturating_sub(part.sum_ppm),
        }
    }

    /// Whether the sum is possible.
    pub(crate) fn is_valid(&self) -> bool {
        u128::from(self.sum_ppm) <= u128::from(self.samples) * u128::from(WHOLE_PPM)
    }

    fn sum(&self) -> f64 {
        self.sum_ppm as f64 / f64::from(WHOLE_PPM)
    }

    /// The mean. `None` without values.
    pub(crate) fn mean(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum() / self.samples as f64)
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
        /// Values of each arm that the difference seen so far would need. `None` if both are alike.
        needed: Option<u64>,
    },
}

/// Compares the arms. Wrong with a probability of at most `alpha_ppm` millionths for all looks together, if both have the same mean.
pub fn compare(new: &ArmFigures, kept: &ArmFigures, alpha_ppm: u32) -> Verdict {
    let (Some(mean), Some(other)) = (new.mean(), kept.mean()) else {
        return Verdict::NotKnown { needed: None };
    };
    let limit = (f64::from(WHOLE_PPM) / f64::from(alpha_ppm)).ln();
    let arms = [new, kept].map(|arm| (arm.samples as f64, arm.sum()));
    if evidence(arms) < limit {
        return Verdict::NotKnown {
            needed: needed([mean, other], limit),
        };
    }
    if mean > other {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

/// The logarithm of the product of both ratios at the common mean that makes it least. Each arm is a number of values and their sum.
fn evidence(arms: [(f64, f64); 2]) -> f64 {
    let mixed = |(count, sum): (f64, f64)| {
        ln_beta(PRIOR + sum, PRIOR + count - sum) - ln_beta(PRIOR, PRIOR)
    };
    let (count, sum) = (arms[0].0 + arms[1].0, arms[0].1 + arms[1].1);
    let part = |part: f64| {
        if part > 0.0 {
            part * (part / count).ln()
        } else {
            0.0
        }
    };
    arms.into_iter().map(mixed).sum::<f64>() - part(sum) - part(count - sum)
}

fn ln_beta(a: f64, b: f64) -> f64 {
    ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b)
}

/// The least number of values of each arm at which arms with these means differ.
fn needed(means: [f64; 2], limit: f64) -> Option<u64> {
    let is_enough = |count: u64| {
        let count = count as f64;
        evidence(means.map(|mean| (count, count * mean))) >= limit
    };
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
