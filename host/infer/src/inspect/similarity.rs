//! Numeric similarity of values that should be equal.

use super::tensors::numbers;
use crate::{ElementType, Tensor};

/// Values that differ by at most this are equal, whatever their direction and scale: 32-bit floating point and the approximations of
/// backends (for example of a sigmoid) leave residues of this size instead of 0.
pub const NOISE: f64 = 1e-6;

/// Similarity of two lists of numbers.
///
/// A cosine alone ignores scale and offset, and of a single number it shows only the sign. So scale and offset are reported as well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity {
    /// Cosine of the angle between both; 0 if one is all zeros.
    pub cosine: f64,
    /// Ratio of the smaller to the larger magnitude (root of the sum of squares).
    pub scale: f64,
    /// Mean difference relative to the larger root mean square.
    pub offset: f64,
    /// Magnitude of the difference relative to the larger magnitude.
    pub relative_error: f64,
    /// Largest absolute difference.
    pub largest_error: f64,
    /// Pairs with a NaN, or with an infinity that the other does not equal.
    pub odd: u64,
}

impl Similarity {
    /// Agreement from 0 to 1, the worst of cosine, scale and offset: 1 if no difference exceeds [`NOISE`], 0 if any pair is odd.
    pub fn agreement(&self) -> f64 {
        if self.odd > 0 {
            0.0
        } else if self.largest_error <= NOISE {
            1.0
        } else {
            let least = self.cosine.min(self.scale).min(1.0 - self.offset);
            least.clamp(0.0, 1.0)
        }
    }
}

/// The sums over pairs of numbers that a [`Similarity`] is made of, in constant memory.
#[derive(Debug, Clone, Default)]
pub struct SimilaritySums {
    count: u64,
    odd: u64,
    largest_error: f64,
    product: f64,
    ours: f64,
    theirs: f64,
    sum: f64,
    squares: f64,
}

impl SimilaritySums {
    /// Adds a pair.
    pub fn add(&mut self, a: f64, b: f64) {
        self.count += 1;
        if a == b && a.is_infinite() {
            return;
        }
        if !(a.is_finite() && b.is_finite()) {
            self.odd += 1;
            return;
        }
        let difference: f64 = a - b;
        self.product += a * b;
        self.ours += a * a;
        self.theirs += b * b;
        self.sum += difference;
        self.squares += difference * difference;
        self.largest_error = self.largest_error.max(difference.abs());
    }

    /// Pairs so far.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The similarity of all pairs so far.
    pub fn finish(&self) -> Similarity {
        let larger = f64::max(self.ours, self.theirs);
        let count = self.count as f64;
        let part = |of: f64, whole: f64| if whole > 0.0 { of / whole } else { 0.0 };
        Similarity {
            cosine: finite(part(self.product, self.ours.sqrt() * self.theirs.sqrt())).min(1.0),
            scale: finite(part(f64::min(self.ours, self.theirs), larger)).sqrt(),
            offset: part(self.sum.abs() / count, (larger / count).sqrt()),
            relative_error: part(self.squares, larger).sqrt(),
            largest_error: if self.odd > 0 {
                f64::INFINITY
            } else {
                self.largest_error
            },
            odd: self.odd,
        }
    }
}

/// Compares pairs of numbers.
pub fn similarity(pairs: impl IntoIterator<Item = (f64, f64)>) -> Similarity {
    let mut sums = SimilaritySums::default();
    for (a, b) in pairs {
        sums.add(a, b);
    }
    sums.finish()
}

/// Replaces overflows of squares by 0.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Comparison of one output of two runs of the same model on the same inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputComparison {
    /// Equal except for rounding.
    Yes,
    /// Different, with a short description.
    No(String),
    /// Both have only NaN.
    NoNumbers,
}

/// Least cosine of equal outputs of two backends.
const LEAST_COSINE: f64 = 0.999;
/// Least agreement of equal outputs: of magnitudes and means, and the share of equal integers.
const LEAST_AGREEMENT: f64 = 0.99;

/// Whether the outputs of two backends are equal.
pub fn compare_outputs(one: &Tensor, other: &Tensor) -> OutputComparison {
    if one.element_type() != other.element_type() {
        let (one, other) = (one.element_type(), other.element_type());
        return OutputComparison::No(format!("{one} against {other}"));
    }
    if one.shape() != other.shape() {
        let (one, other) = (one.shape(), other.shape());
        return OutputComparison::No(format!("shape {one:?} against {other:?}"));
    }
    let is_float = matches!(
        one.element_type(),
        ElementType::F16 | ElementType::F32 | ElementType::F64
    );
    if !is_float {
        let equal = numbers(one)
            .zip(numbers(other))
            .filter(|(a, b)| a == b)
            .count();
        let share = equal as f64 / one.len().max(1) as f64;
        return match one.is_empty() || share >= LEAST_AGREEMENT {
            true => OutputComparison::Yes,
            false => {
                OutputComparison::No(format!("{:.1} % of its elements are equal", share * 100.0))
            }
        };
    }
    let neither = |(a, b): (f64, f64)| a.is_nan() && b.is_nan();
    if !one.is_empty() && numbers(one).zip(numbers(other)).all(neither) {
        return OutputComparison::NoNumbers;
    }
    // NaN in both counts as equal.
    let pairs = numbers(one).zip(numbers(other));
    let found = similarity(pairs.filter(|pair| !neither(*pair)));
    let agreement = found.agreement();
    if agreement >= LEAST_AGREEMENT && (found.cosine >= LEAST_COSINE || agreement == 1.0) {
        return OutputComparison::Yes;
    }
    OutputComparison::No(format!(
        "cosine {:.4}, magnitudes {:.4}, mean off by {:.4}, largest difference {:.3e}",
        found.cosine, found.scale, found.offset, found.largest_error
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn of(a: &[f64], b: &[f64]) -> f64 {
        similarity(a.iter().copied().zip(b.iter().copied())).agreement()
    }

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9, "{found}, not {wanted}");
    }

    #[test]
    fn what_a_cosine_does_not_see_is_seen() {
        near(of(&[0.7], &[0.7]), 1.0);
        near(of(&[0.7], &[2.1]), 1.0 / 3.0);
        near(of(&[0.7], &[100.7]), 0.7 / 100.7);
        near(of(&[1e-4], &[-1e-4]), 0.0);
        near(of(&[1e-4], &[2e-4]), 0.5);
        // Along a vector, too.
        near(of(&[1.0, 2.0, 3.0], &[3.0, 6.0, 9.0]), 1.0 / 3.0);
        assert!(of(&[1.0, 2.0, 3.0], &[1.1, 2.1, 3.1]) < 0.96);
        assert!(of(&[1.0, 2.0, 3.0], &[-1.0, -2.0, -3.0]) < 1e-9);
    }

    #[test]
    fn rounding_is_not_a_difference() {
        near(of(&[0.0, 4.5e-7], &[0.0, 0.0]), 1.0);
        assert!(of(&[1.0, 2.0, 3.0], &[1.000_1, 1.999_9, 3.000_1]) > 0.999_9);
        near(of(&[], &[]), 1.0);
        near(of(&[0.0], &[0.0]), 1.0);
        near(of(&[0.0], &[1.0]), 0.0);
    }

    #[test]
    fn what_is_no_number_agrees_with_nothing() {
        near(of(&[f64::NAN], &[f64::NAN]), 0.0);
        near(of(&[1.0, f64::NAN], &[1.0, 1.0]), 0.0);
        near(of(&[1.0], &[f64::INFINITY]), 0.0);
        near(of(&[f64::INFINITY], &[f64::NEG_INFINITY]), 0.0);
        near(
            of(&[f64::NEG_INFINITY, 1.0], &[f64::NEG_INFINITY, 1.0]),
            1.0,
        );
        near(of(&[1e200, 1.0], &[1e200, 2.0]), 0.0);
    }

    #[test]
    fn two_backends_are_alike_or_not() {
        let f32s = |values: &[f32]| Tensor::from_f32(&[values.len()], values.to_vec()).unwrap();
        let i64s = |values: &[i64]| Tensor::from_i64(&[values.len()], values.to_vec()).unwrap();
        assert_eq!(
            compare_outputs(&f32s(&[1.0]), &f32s(&[1.000_01])),
            OutputComparison::Yes
        );
        assert_eq!(
            compare_outputs(&f32s(&[]), &f32s(&[])),
            OutputComparison::Yes
        );
        assert_eq!(
            compare_outputs(&i64s(&[3, 4]), &i64s(&[3, 4])),
            OutputComparison::Yes
        );
        let nan = f32::NAN;
        assert_eq!(
            compare_outputs(&f32s(&[nan]), &f32s(&[nan])),
            OutputComparison::NoNumbers
        );
        assert_eq!(
            compare_outputs(&f32s(&[nan, 1.0]), &f32s(&[nan, 1.0])),
            OutputComparison::Yes
        );
        for (one, other) in [
            (f32s(&[1.0]), f32s(&[3.0])),
            (f32s(&[1.0]), f32s(&[-1.0])),
            (f32s(&[1e-4]), f32s(&[-1e-4])),
            (f32s(&[1.0]), f32s(&[1.0, 1.0])),
            (f32s(&[1.0]), f32s(&[nan])),
            (f32s(&[nan, 1.0]), f32s(&[1.0, nan])),
            (f32s(&[1.0]), i64s(&[1])),
            (i64s(&[3, 4]), i64s(&[3, 5])),
        ] {
            assert!(
                matches!(compare_outputs(&one, &other), OutputComparison::No(_)),
                "{one:?} {other:?}"
            );
        }
    }
}
