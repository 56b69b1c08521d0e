//! The two-sample Kolmogorov-Smirnov test.

use std::f64::consts::PI;

/// The result of a two-sample Kolmogorov-Smirnov test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KolmogorovSmirnov {
    /// The largest difference of the two distribution functions, 0 to 1.
    pub distance: f64,
    /// The probability of this distance or a larger one if both samples come from one distribution.
    pub p_value: f64,
}

/// Compares two sorted samples. Samples with repeated values have a p-value that is too large rather than too small. `None` if one is empty.
///
/// The distance is that of N. Smirnov, *Ann. Math. Statist.* 19 (1948). The p-value is A. Kolmogorov's limit, with the correction for finite
/// samples of M. A. Stephens, *J. R. Statist. Soc. B* 32 (1970).
pub fn kolmogorov_smirnov(one: &[f64], other: &[f64]) -> Option<KolmogorovSmirnov> {
    if one.is_empty() || other.is_empty() {
        return None;
    }
    let (n, m) = (one.len() as f64, other.len() as f64);
    let (mut i, mut j, mut distance) = (0_usize, 0_usize, 0.0_f64);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        let at = a.min(*b);
        // Both functions step over all values equal to this one before they are compared.
        i += equal_to(one, i, at);
        j += equal_to(other, j, at);
        distance = distance.max((i as f64 / n - j as f64 / m).abs());
    }
    let root = (n * m / (n + m)).sqrt();
    let p_value = tail((root + 0.12 + 0.11 / root) * distance);
    Some(KolmogorovSmirnov { distance, p_value })
}

fn equal_to(sorted: &[f64], from: usize, value: f64) -> usize {
    let rest = sorted.get(from..).unwrap_or_default();
    rest.iter().take_while(|it| **it <= value).count()
}

/// The probability that Kolmogorov's variable exceeds `x`.
fn tail(x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    // Two forms of one theta function: each converges where the other does not.
    let odd = |k: i32| f64::from(2 * k - 1);
    let p_value = if x < 1.18 {
        let terms = (1..=4).map(|k| (-odd(k).powi(2) * PI * PI / (8.0 * x * x)).exp());
        1.0 - (2.0 * PI).sqrt() / x * terms.sum::<f64>()
    } else {
        let sign = |k: i32| if k % 2 == 1 { 1.0 } else { -1.0 };
        let terms = (1..=4).map(|k| sign(k) * (-2.0 * f64::from(k * k) * x * x).exp());
        2.0 * terms.sum::<f64>()
    };
    p_value.clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_distance_is_taken_after_all_equal_values() {
        // After 1: 1/2 against 0; after 2: 1 against 2/3.
        let found = kolmogorov_smirnov(&[1.0, 2.0], &[2.0, 2.0, 3.0]).unwrap();
        assert_eq!(found.distance, 0.5);
        let equal = kolmogorov_smirnov(&[1.0, 1.0, 2.0], &[1.0, 1.0, 2.0]).unwrap();
        assert_eq!((equal.distance, equal.p_value), (0.0, 1.0));
        let apart = kolmogorov_smirnov(&[1.0; 50], &[2.0; 50]).unwrap();
        assert_eq!(apart.distance, 1.0);
        assert!(apart.p_value < 1e-20);
        assert_eq!(kolmogorov_smirnov(&[], &[1.0]), None);
    }

    #[test]
    fn both_forms_of_the_tail_meet_and_have_the_published_quantiles() {
        // Critical values of Kolmogorov's distribution: 1.358 for 5 %, 1.628 for 1 %, 0.828 for 50 %.
        for (x, expected) in [(1.358_1, 0.05), (1.627_6, 0.01), (0.827_57, 0.5)] {
            assert!((tail(x) - expected).abs() < 2e-5, "{x}: {}", tail(x));
        }
        assert!((tail(1.18 - 1e-9) - tail(1.18)).abs() < 1e-7);
        assert_eq!((tail(0.0), tail(0.05)), (1.0, 1.0));
    }
}
