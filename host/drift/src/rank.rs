//! Where a value stands among those of a baseline, and probabilities.

use statrs::distribution::{ContinuousCDF, Normal};

/// A probability that was computed with rounding. What is not a number says nothing, as 1 does.
pub(crate) const fn probability(computed: f64) -> f64 {
    if computed.is_nan() {
        1.0
    } else {
        computed.clamp(0.0, 1.0)
    }
}

/// The share of `sorted` below `value`, with half of those that equal it, strictly between 0 and 1.
pub(crate) fn share(sorted: &[f64], value: f64) -> f64 {
    let below = sorted.partition_point(|it| *it < value);
    let up_to = sorted.partition_point(|it| *it <= value);
    let rank = f64::midpoint(below as f64, up_to as f64);
    (rank + 0.5) / (sorted.len() as f64 + 1.0)
}

/// The normal score of a value: what a standard normal variable of that rank is (B. L. van der Waerden, 1952). Values of the baseline's own
/// distribution have scores of mean 0 and variance 1, whatever that distribution is, and an outlier has a bounded one.
pub(crate) fn normal_score(sorted: &[f64], value: f64) -> f64 {
    Normal::standard().inverse_cdf(share(sorted, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_has_score_0_and_outliers_have_bounded_ones() {
        let sorted: Vec<f64> = (0..99).map(f64::from).collect();
        assert!(normal_score(&sorted, 49.0).abs() < 1e-9);
        // The 0.995 quantile of the standard normal distribution.
        assert!((normal_score(&sorted, 1e300) - 2.575_829_3).abs() < 1e-4);
        assert!((normal_score(&sorted, -1e300) + 2.575_829_3).abs() < 1e-4);
        let constant = [1.0; 99];
        assert!(normal_score(&constant, 1.0).abs() < 1e-9);
        assert!(normal_score(&constant, 1.1) > 2.5);
    }
}
