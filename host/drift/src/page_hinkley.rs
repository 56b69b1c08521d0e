//! Sudden change, value by value.

/// The Page-Hinkley test for a change of the mean in either direction, by cumulative sums.
///
/// `U(t) = max(0, U(t-1) + z(t) - delta)`, and likewise downwards, of values of mean 0 and variance 1; a change is found when one of them exceeds
/// `lambda`: E. S. Page, *Biometrika* 41 (1954); D. V. Hinkley, *Biometrika* 58 (1971). With the mean known in advance this is the CUSUM chart.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PageHinkley {
    up: f64,
    down: f64,
}

impl PageHinkley {
    /// Half of the shift that is found the fastest, in standard deviations: 0.5, for a shift of one.
    pub const DELTA: f64 = 0.5;

    /// Adds a value of mean 0 and variance 1. Returns the larger of the two sums.
    pub fn add(&mut self, value: f64) -> f64 {
        self.up = (self.up + value - Self::DELTA).max(0.0);
        self.down = (self.down - value - Self::DELTA).max(0.0);
        self.up.max(self.down)
    }

    /// The mean number of values until a change is found in values that have none: D. Siegmund, *Sequential Analysis*, 1985, equation 2.56, for
    /// both directions.
    pub fn mean_values_to_false_alarm(lambda: f64) -> f64 {
        let (delta, b) = (Self::DELTA, lambda + 1.166);
        let one_sided = ((2.0 * delta * b).exp() - 2.0 * delta * b - 1.0) / (2.0 * delta * delta);
        one_sided / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_adds_up_and_values_around_the_mean_do_not() {
        let mut test = PageHinkley::default();
        let quiet = (0..1_000).map(|sample| if sample % 2 == 0 { 0.4 } else { -0.4 });
        for value in quiet {
            assert_eq!(test.add(value), 0.0);
        }
        // 2 - 0.5 for each value.
        let sums: Vec<f64> = (0..3).map(|_| test.add(2.0)).collect();
        assert_eq!(sums, [1.5, 3.0, 4.5]);
        let mut down = PageHinkley::default();
        assert_eq!(down.add(-2.0), 1.5);
    }

    #[test]
    fn siegmund_gives_the_published_run_length() {
        // Montgomery, Introduction to Statistical Quality Control, table 9.3: 465 for h = 5 and k = 1/2, both sides.
        let found = PageHinkley::mean_values_to_false_alarm(5.0);
        assert!((found - 465.0).abs() < 5.0, "{found}");
    }
}
