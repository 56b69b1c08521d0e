//! Quantiles that travel: logarithmic bins, as in DDSketch (Masson, Rim and Lee, 2019), mergeable and checked when read.
//!
//! The sketch of `senses` has the same accuracy. It stays on its device, because the crate behind it cannot check a foreign one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Ratio of two neighbouring bins, for a relative error of 2%: `(1 + 0.02) / (1 - 0.02)`.
const RATIO: f64 = 1.02 / 0.98;
/// The bin of 0.01 and of all that is less.
const LOWEST: i16 = -115;
/// The bin of 1,000,000,000 and of all that is more.
const HIGHEST: i16 = 519;
/// Most bins: 635.
pub const MAX_BINS: usize = 635;

/// Most samples that one figure stands for: 1,000. A busy device does not outweigh the others.
pub const MAX_WEIGHT: u64 = 1_000;

/// Numbers of values by bin: quantiles within 2% for values from 0.01 to 1,000,000,000.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantiles(BTreeMap<i16, u64>);

impl Quantiles {
    /// Adds a value. One that is negative or not a number is left out.
    pub fn add(&mut self, value: f64) {
        self.add_of(value, 1);
    }

    /// Adds a figure of so many samples, as so many values, at most [`MAX_WEIGHT`].
    pub fn add_of(&mut self, value: f64, samples: u64) {
        if value.is_nan() || value < 0.0 || samples == 0 {
            return;
        }
        let place = (value.ln() / RATIO.ln()).ceil();
        let bin = place.clamp(LOWEST.into(), HIGHEST.into()) as i16;
        let count = self.0.entry(bin).or_default();
        *count = count.saturating_add(samples.min(MAX_WEIGHT));
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        for (bin, more) in &other.0 {
            let count = self.0.entry(*bin).or_default();
            *count = count.saturating_add(*more);
        }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.0
            .values()
            .fold(0, |sum, more| sum.saturating_add(*more))
    }

    /// The value that the share `q` of all values does not exceed, from 0 to 1. `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.count();
        // A rank needs no more than the 53 bits of a number.
        let rank = (q.clamp(0.0, 1.0) * count.checked_sub(1)? as f64) as u64;
        let mut before = 0_u64;
        for (bin, more) in &self.0 {
            before = before.saturating_add(*more);
            if before > rank {
                return Some(2.0 * RATIO.powi((*bin).into()) / (RATIO + 1.0));
            }
        }
        None
    }

    /// Whether it can have been made by [`Quantiles::add`].
    pub(crate) fn is_valid(&self) -> bool {
        let is_bin = |(bin, count): (&i16, &u64)| (LOWEST..=HIGHEST).contains(bin) && *count > 0;
        self.0.iter().all(is_bin)
    }
}
