//! The population stability index.

use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::rank::probability;

/// Bins of a baseline of numbers: tenths of its values.
pub const BINS: usize = 10;

/// A population stability index, and how probable one of this size is without drift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Psi {
    /// The index: 0 for equal shares. Below 0.1 is usually called stable, above 0.25 shifted.
    pub index: f64,
    /// The probability of this index or a larger one if both come from one distribution.
    pub p_value: f64,
}

/// The population stability index of the counts of a window against those of a baseline, bin by bin.
///
/// `PSI = sum (p - q) ln(p / q)` over the shares `p` of the window and `q` of the baseline: N. Siddiqi, *Credit Risk Scorecards*, 2006; it is the
/// symmetric divergence of H. Jeffreys (1946) and S. Kullback (*Information Theory and Statistics*, 1959). Half an observation is added to each
/// count, so that an empty bin has a logarithm (Jeffreys' prior).
///
/// Without drift, `PSI / (1/n + 1/m)` is about chi-squared with one degree of freedom less than there are bins: B. Yurdakul, *Statistical
/// Properties of Population Stability Index*, 2018. `n` and `m` are the numbers of independent observations behind the counts.
pub fn psi(window: &[u64], baseline: &[u64], n: f64, m: f64) -> Psi {
    let bins = window.len().min(baseline.len());
    let total = |counts: &[u64]| {
        let counts = counts.iter().take(bins).map(|count| *count as f64 + 0.5);
        counts.sum::<f64>()
    };
    let (of_window, of_baseline) = (total(window), total(baseline));
    let index = window.iter().zip(baseline).map(|(found, expected)| {
        let p = (*found as f64 + 0.5) / of_window;
        let q = (*expected as f64 + 0.5) / of_baseline;
        (p - q) * (p / q).ln()
    });
    let index: f64 = index.sum();
    let freedom = bins.saturating_sub(1);
    let noise = 1.0 / n + 1.0 / m;
    // One bin, or no observations, cannot show a difference.
    let p_value = match ChiSquared::new(freedom as f64) {
        Ok(distribution) if noise.is_finite() => probability(distribution.sf(index / noise)),
        _ => 1.0,
    };
    Psi { index, p_value }
}

/// The limits between the bins of sorted values: at each tenth, without repeats. A bin has the values up to its limit, and above the one before;
/// the last bin has the rest.
pub fn cuts(sorted: &[f64]) -> Vec<f64> {
    let mut cuts: Vec<f64> = (1..BINS)
        .filter_map(|tenth| {
            let rank = (tenth * sorted.len()).div_ceil(BINS);
            sorted.get(rank.saturating_sub(1)).copied()
        })
        .collect();
    cuts.dedup();
    cuts
}

/// How many values each bin has.
pub(crate) fn counts(values: &[f64], cuts: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; cuts.len() + 1];
    for value in values {
        let bin = cuts.partition_point(|cut| cut < value);
        if let Some(count) = counts.get_mut(bin) {
            *count += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_are_bins_of_equal_counts_and_repeats_are_one_bin() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        let limits = cuts(&values);
        assert_eq!(
            limits,
            [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0]
        );
        assert_eq!(counts(&values, &limits), [10; BINS]);
        assert_eq!(cuts(&[5.0; 40]), [5.0]);
        assert_eq!(counts(&[4.0, 5.0, 6.0], &[5.0]), [2, 1]);
        assert!(cuts(&[]).is_empty());
    }

    #[test]
    fn equal_shares_have_index_0_and_one_bin_says_nothing() {
        let equal = psi(&[10, 10], &[10, 10], 20.0, 20.0);
        assert_eq!((equal.index, equal.p_value), (0.0, 1.0));
        let one = psi(&[7], &[90], 7.0, 90.0);
        assert_eq!((one.index, one.p_value), (0.0, 1.0));
        assert_eq!(psi(&[], &[], 0.0, 0.0).p_value, 1.0);
    }

    #[test]
    fn an_empty_bin_has_a_finite_index() {
        // Shares 0.5/11 and 10.5/11 against 10.5/11 and 0.5/11: 2 * 10/11 * ln 21.
        let found = psi(&[0, 10], &[10, 0], 10.0, 10.0);
        assert!((found.index - 20.0 / 11.0 * 21_f64.ln()).abs() < 1e-12);
    }
}
