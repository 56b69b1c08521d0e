//! Ratios of pairs of measurements.

/// Quantile of Student's distribution for a two-sided 95% bound, with 20 degrees of freedom or more.
pub const T: f64 = 2.09;

/// The geometric mean of ratios, and its upper 95% bound: infinite for fewer than two, and too low for fewer than 21.
pub fn ratio_bound(ratios: &[f64]) -> (f64, f64) {
    let logs: Vec<f64> = ratios.iter().map(|it| it.ln()).collect();
    let count = logs.len() as f64;
    if count < 2.0 {
        return (f64::NAN, f64::INFINITY);
    }
    let mean = logs.iter().sum::<f64>() / count;
    let variance = logs.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let error = (variance / count).sqrt();
    (mean.exp(), (mean + T * error).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_ratios_covers_their_noise() {
        let (mean, bound) = ratio_bound(&[1.0; 40]);
        assert_eq!((mean, bound), (1.0, 1.0));
        let ratios: Vec<f64> = (0..40)
            .map(|it| if it % 2 == 0 { 1.1 } else { 1.0 / 1.1 })
            .collect();
        let (mean, bound) = ratio_bound(&ratios);
        // ln 1.1 = 0.0953; its standard error over 40 pairs is 0.0153, and 2.09 of them are 0.0319.
        assert!(
            (mean - 1.0).abs() < 1e-9 && (bound - 1.0324).abs() < 2e-3,
            "{bound}"
        );
        assert!(ratio_bound(&[1.0]).1.is_infinite());
    }
}
