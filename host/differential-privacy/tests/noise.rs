//! The noise has the distribution that the promise is computed from.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "tests"
)]

mod common;

use std::collections::BTreeMap;
use std::io;

use hotshoe_differential_privacy::{Epsilon, Noise, Scale};

use common::seeded;

const SAMPLES: u32 = 100_000;
/// With random seeds, a right sampler would exceed the critical value once in a million runs: the normal quantile of 1 - 10^-6.
const Z: f64 = 4.753;

fn scale(millionths: u64, sensitivity: u64) -> Scale {
    Scale::new(Epsilon::from_millionths(millionths).unwrap(), sensitivity).unwrap()
}

/// Pearson's statistic of samples against discrete Laplace with this exponent, and its critical value (Wilson and Hilferty 1931). Values whose
/// expected count is below 10 are put together, on each side.
fn chi_squared(counts: &BTreeMap<i128, u32>, exponent: f64) -> (f64, f64) {
    let ratio = (-exponent).exp();
    let probability = |y: i128| (1.0 - ratio) / (1.0 + ratio) * ratio.powf(y.unsigned_abs() as f64);
    let total = f64::from(SAMPLES);
    let mut last = 0;
    while total * probability(last + 1) >= 10.0 {
        last += 1;
    }
    let tail = total * probability(last + 1) / (1.0 - ratio);
    let count =
        |from: i128, to: i128| -> f64 { counts.range(from..=to).map(|(_, n)| f64::from(*n)).sum() };
    let mut cells: Vec<(f64, f64)> = (-last..=last)
        .map(|y| (count(y, y), total * probability(y)))
        .collect();
    cells.push((count(i128::MIN, -last - 1), tail));
    cells.push((count(last + 1, i128::MAX), tail));
    let used: Vec<_> = cells.into_iter().filter(|cell| cell.1 >= 1.0).collect();
    let statistic = used.iter().map(|(n, e)| (n - e) * (n - e) / e).sum();
    let freedom = (used.len() - 1) as f64;
    let spread = 2.0 / (9.0 * freedom);
    (
        statistic,
        freedom * (1.0 - spread + Z * spread.sqrt()).powi(3),
    )
}

fn sampled(seed: u64, scale: Scale) -> BTreeMap<i128, u32> {
    let mut noise = seeded(seed);
    let mut counts = BTreeMap::new();
    for _ in 0..SAMPLES {
        *counts.entry(noise.laplace(scale).unwrap()).or_default() += 1;
    }
    counts
}

#[test]
fn samples_have_the_discrete_laplace_distribution() {
    for (seed, millionths, sensitivity) in [
        (1, 1_000_000, 1),
        (2, 100_000, 1),
        (3, 2_500_000, 1),
        (4, 300_000, 7),
        (5, 10_000_000, 3),
    ] {
        let counts = sampled(seed, scale(millionths, sensitivity));
        let exponent = millionths as f64 / 1e6 / sensitivity as f64;
        let (statistic, critical) = chi_squared(&counts, exponent);
        assert!(
            statistic < critical,
            "epsilon {millionths} millionths, sensitivity {sensitivity}: {statistic} >= {critical}"
        );
    }
}

#[test]
fn the_test_finds_a_scale_that_is_a_tenth_too_small() {
    let counts = sampled(6, scale(550_000, 1));
    let (statistic, critical) = chi_squared(&counts, 0.5);
    assert!(statistic > critical, "{statistic} <= {critical}");
}

#[test]
fn the_deviation_is_that_of_the_distribution() {
    // sqrt(2 e^-1) / (1 - e^-1)
    assert!((scale(1_000_000, 1).deviation() - 1.356_962_5).abs() < 1e-6);
    // For small exponents, that of the continuous distribution: sqrt(2) / exponent.
    let small = scale(1, 1_000);
    assert!((small.deviation() / (2.0_f64.sqrt() * 1e9) - 1.0).abs() < 1e-6);
}

#[test]
fn the_largest_scale_has_noise_and_a_larger_one_does_not_exist() {
    let epsilon = Epsilon::from_millionths(1).unwrap();
    assert_eq!(Scale::new(epsilon, 0), None);
    assert_eq!(Scale::new(epsilon, (1 << 63) / 1_000_000 + 1), None);
    let largest = Scale::new(epsilon, (1 << 63) / 1_000_000).unwrap();
    let mut noise = seeded(7);
    let values: Vec<i128> = (0..20).map(|_| noise.laplace(largest).unwrap()).collect();
    // The chance that 20 values are all below a thousandth of the deviation is below 10^-50.
    let far = |value: &i128| value.unsigned_abs() > 9_000_000_000_000_000;
    assert!(values.iter().any(far), "{values:?}");
}

#[test]
fn noise_of_the_operating_system_differs_and_an_error_of_the_source_is_reported() {
    let wide = scale(1, 1_000_000);
    let mut noise = Noise::system();
    let values: Vec<i128> = (0..4).map(|_| noise.laplace(wide).unwrap()).collect();
    assert!(values.windows(2).any(|pair| pair[0] != pair[1]));
    let mut broken = Noise::from_source(|_| Err(io::ErrorKind::Unsupported.into()));
    let error = broken.laplace(wide).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
}
