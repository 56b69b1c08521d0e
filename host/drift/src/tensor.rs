//! Statistics of the elements of a tensor.

/// Statistics of the elements of a tensor: of a picture, its brightness, contrast and sharpness, in the units of its elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorStatistics {
    /// The mean.
    pub brightness: f64,
    /// The standard deviation.
    pub contrast: f64,
    /// The mean absolute difference of neighbours in a row, over the contrast. 0 without contrast.
    pub sharpness: f64,
}

impl TensorStatistics {
    /// The statistics of `elements` in rows of `row` elements: the last dimension of the tensor. `None` without elements, or if one of them
    /// is not finite.
    pub fn of(elements: impl Iterator<Item = f64>, row: usize) -> Option<Self> {
        let (mut count, mut mean, mut squares) = (0_u64, 0.0, 0.0);
        let (mut pairs, mut differences) = (0_u64, 0.0);
        let (mut last, mut column) = (None, 0_usize);
        for element in elements {
            if !element.is_finite() {
                return None;
            }
            count += 1;
            // Welford, Technometrics 4 (1962): no loss of digits where the mean is large.
            let from_mean = element - mean;
            mean += from_mean / count as f64;
            squares += from_mean * (element - mean);
            if let Some(last) = last.filter(|_| column > 0) {
                differences += f64::abs(element - last);
                pairs += 1;
            }
            last = Some(element);
            column = if column + 1 >= row { 0 } else { column + 1 };
        }
        if count == 0 {
            return None;
        }
        let contrast = (squares / count as f64).sqrt();
        let sharpness = if contrast > 0.0 && pairs > 0 {
            differences / pairs as f64 / contrast
        } else {
            0.0
        };
        Some(Self {
            brightness: mean,
            contrast,
            sharpness,
        })
        .filter(|it| it.brightness.is_finite() && contrast.is_finite() && sharpness.is_finite())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(elements: &[f64], row: usize) -> Option<TensorStatistics> {
        TensorStatistics::of(elements.iter().copied(), row)
    }

    #[test]
    fn two_rows_are_not_neighbours() {
        // Rows 0 2 and 4 6: mean 3, variance (9 + 1 + 1 + 9) / 4 = 5, differences 2 and 2.
        let found = of(&[0.0, 2.0, 4.0, 6.0], 2).unwrap();
        assert_eq!((found.brightness, found.contrast), (3.0, 5_f64.sqrt()));
        assert!((found.sharpness - 2.0 / 5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_grey_picture_has_no_contrast_and_no_sharpness() {
        let found = of(&[0.5; 12], 4).unwrap();
        assert_eq!(
            (found.brightness, found.contrast, found.sharpness),
            (0.5, 0.0, 0.0)
        );
    }

    #[test]
    fn no_elements_and_elements_that_are_not_numbers_have_no_statistics() {
        assert_eq!(of(&[], 1), None);
        assert_eq!(of(&[1.0, f64::NAN], 2), None);
        assert_eq!(of(&[f64::INFINITY], 0), None);
        assert_eq!(of(&[f64::MAX, -f64::MAX], 2), None);
    }
}
