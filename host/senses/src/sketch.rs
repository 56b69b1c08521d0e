//! A sketch of the values of one series: its quantiles within 2%, in bounded memory, and mergeable with others.

use std::fmt;

use serde::Serialize;
use sketches_ddsketch::{Config, DDSketch};

/// Relative error of a quantile.
const ERROR: f64 = 0.02;
/// Magnitudes from this down count as zero.
const LEAST: f64 = 0.01;
/// Magnitudes beyond this count as this.
const MOST: f64 = 1e9;
/// Most bins for each sign. `LEAST` to `MOST` take 634, and the crate adds 128 at a time. It never collapses bins within these limits, which
/// matters: its version 0.3 panics in some merges of collapsed ones.
const BINS: u32 = 640;

/// What a series was over a window, in the unit of its values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// Number of values.
    pub count: usize,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest value.
    pub max: f64,
    /// Mean.
    pub mean: f64,
}

/// Quantiles of numbers, within 2% for magnitudes from 0.01 to 1,000,000,000.
#[derive(Clone)]
pub struct Sketch(DDSketch);

impl Default for Sketch {
    fn default() -> Self {
        Self(DDSketch::new(Config::new(ERROR, BINS, LEAST)))
    }
}

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = (self.0.min(), self.0.max());
        write!(f, "Sketch({} values, {range:?})", self.count())
    }
}

impl Sketch {
    /// Most memory of one sketch, in bytes, without what its vectors reserve, which is at most as much again.
    pub const MAX_BYTES: usize = size_of::<Self>() + 2 * BINS as usize * size_of::<u64>();

    /// Adds a value. One that is not a number is left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_nan() {
            self.0.add(value.clamp(-MOST, MOST));
        }
    }

    /// Adds the values of another sketch.
    pub fn merge(&mut self, other: &Self) {
        // It fails for other settings alone, and all sketches have the same.
        let _ = self.0.merge(&other.0);
    }

    /// Number of values.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// The value that the share `q` of all values does not exceed, from 0 to 1. `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let value = self.0.quantile(q).ok()??;
        Some(value.clamp(self.0.min()?, self.0.max()?))
    }

    /// The smallest value.
    pub fn min(&self) -> Option<f64> {
        self.0.min()
    }

    /// The largest value.
    pub fn max(&self) -> Option<f64> {
        self.0.max()
    }

    /// The sum of all values.
    pub fn sum(&self) -> Option<f64> {
        self.0.sum()
    }

    /// Its quantiles, its largest value and its mean. `None` without values.
    pub fn summary(&self) -> Option<Summary> {
        #[expect(clippy::cast_precision_loss, reason = "a count of less than 2^53")]
        let count = self.count() as f64;
        Some(Summary {
            count: self.count(),
            p50: self.quantile(0.5)?,
            p95: self.quantile(0.95)?,
            p99: self.quantile(0.99)?,
            max: self.max()?,
            mean: self.sum()? / count,
        })
    }

    /// Its memory, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.0.length() * size_of::<u64>()
    }
}
