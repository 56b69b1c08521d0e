//! The agreement of the outputs of two models.

use std::collections::BTreeSet;

use hotshoe_infer::inspect::{Similarity, SliceSums, cosine_similarity, similarity, values};
use hotshoe_infer::{ElementType, Tensor};
use serde::Serialize;

/// The highest rank of an output of classes: batch, position, class. With more, the last axis belongs to an image.
const MAX_CLASS_RANK: usize = 3;
/// The most by which the sum of one row of probabilities may differ from 1, because of f16 and INT8 rounding.
const SUM_TOLERANCE: f64 = 0.02;

/// The metric of an output's agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Measure {
    /// The share of rows with the same top class.
    #[serde(rename = "top-1")]
    Top1,
    /// The share of equal elements, for outputs that are not floating point.
    Equal,
    /// The minimum of the cosine similarity, the ratio of the magnitudes and the closeness of the means
    /// ([`hotshoe_infer::inspect::Similarity`]): of the worst slice along a channel axis over all samples if there is such an axis
    /// ([`SliceSums`]), otherwise the mean over samples.
    Cosine,
}

impl Measure {
    /// The name in tables.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Top1 => "top-1",
            Self::Equal => "equal",
            Self::Cosine => "cosine",
        }
    }
}

/// The agreement of one output over all samples.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Agreement {
    /// The name of the output.
    pub output: String,
    /// The metric of `agreement`.
    pub measure: Measure,
    /// From 0 to 1.
    pub agreement: f64,
    /// The mean cosine similarity over samples; 1 where no element differs by more than
    /// [`hotshoe_infer::inspect::NEGLIGIBLE`].
    pub cosine_mean: f64,
    /// The minimum cosine similarity over samples.
    pub cosine_min: f64,
    /// The largest difference of two elements.
    pub max_error: f64,
    /// The largest magnitude of a difference relative to the larger magnitude, of a slice over all samples or of a sample.
    pub relative_error: f64,
    /// Pairs of elements of which one is not a number, or one is infinite and the other differs.
    pub not_finite: u64,
    /// Elements that were compared.
    pub elements: u64,
}

/// Accumulates the agreement of one output over samples.
pub(super) struct Tally {
    output: String,
    /// Whether `--classes` names the output.
    is_classes: bool,
    measure: Option<Measure>,
    same: u64,
    compared: u64,
    cosines: Vec<f64>,
    /// The closeness of each sample as a whole, for floating point outputs.
    samples: Vec<Similarity>,
    /// The same slice by slice along channel axes, over all samples.
    slices: SliceSums,
    max_error: f64,
    not_finite: u64,
    elements: u64,
}

impl Tally {
    /// An empty tally of the output.
    pub(super) fn new(output: &str, classes: &BTreeSet<String>) -> Self {
        Self {
            output: output.to_owned(),
            is_classes: classes.contains(output),
            measure: None,
            same: 0,
            compared: 0,
            cosines: Vec::new(),
            samples: Vec::new(),
            slices: SliceSums::default(),
            max_error: 0.0,
            not_finite: 0,
            elements: 0,
        }
    }

    /// Adds the outputs of both models for one sample.
    ///
    /// # Errors
    /// The two types and shapes, if they differ.
    pub(super) fn add(&mut self, a: &Tensor, b: &Tensor) -> Result<(), (String, String)> {
        if a.shape() != b.shape() || a.element_type() != b.element_type() {
            let kind = |it: &Tensor| format!("{} {:?}", it.element_type(), it.shape());
            return Err((kind(a), kind(b)));
        }
        let (first, second) = (values(a), values(b));
        let width = a.shape().last().copied().unwrap_or(1).max(1);
        // One row that does not add up to 1 is enough to know that an output is not classes.
        let looks = || width > 1 && (self.is_classes || are_classes(a, &first, width));
        let measure = match self.measure {
            Some(Measure::Top1) if looks() => Measure::Top1,
            Some(Measure::Top1) => {
                self.start_over();
                Measure::Cosine
            }
            Some(measure) => measure,
            None if !is_float(a) => Measure::Equal,
            None if looks() => Measure::Top1,
            None => Measure::Cosine,
        };
        self.measure = Some(measure);
        match measure {
            Measure::Top1 => {
                for (first, second) in first.chunks(width).zip(second.chunks(width)) {
                    let (first, second) = (top(first), top(second));
                    self.same += u64::from(first.is_some() && first == second);
                    self.compared += 1;
                }
            }
            Measure::Equal => {
                let equal = first.iter().zip(&second).filter(|(a, b)| a == b).count();
                self.same += equal as u64;
                self.compared += first.len() as u64;
            }
            Measure::Cosine => {}
        }
        self.elements += first.len() as u64;
        self.cosines.push(cosine_similarity(a, b));
        if is_float(a) {
            let pairs = || first.iter().copied().zip(second.iter().copied());
            let whole = similarity(pairs());
            self.not_finite += whole.odd;
            self.samples.push(whole);
            self.slices.add(a.shape(), pairs());
        }
        let errors = first.iter().zip(&second).map(|(a, b)| error(*a, *b));
        self.max_error = errors.fold(self.max_error, f64::max);
        Ok(())
    }

    fn start_over(&mut self) {
        (self.same, self.compared) = (0, 0);
    }

    /// The agreement of all samples.
    pub(super) fn finish(self) -> Agreement {
        let count = self.cosines.len().max(1) as f64;
        let cosine_mean = self.cosines.iter().sum::<f64>() / count;
        let measure = self.measure.unwrap_or(Measure::Cosine);
        let slices = self.slices.finish();
        let (judged, close) = if slices.is_empty() {
            let all = self.samples.iter().map(Similarity::agreement).sum::<f64>();
            let mean = all / self.samples.len().max(1) as f64;
            (self.samples, mean)
        } else {
            let worst = slices.iter().map(Similarity::agreement);
            let worst = worst.fold(1.0, f64::min);
            (slices, worst)
        };
        let relative_error = judged.iter().map(|it| it.relative_error);
        Agreement {
            output: self.output,
            measure,
            agreement: match measure {
                Measure::Cosine => close,
                // Empty outputs are equal.
                _ if self.compared == 0 => 1.0,
                _ => self.same as f64 / self.compared as f64,
            },
            cosine_mean,
            cosine_min: self.cosines.iter().copied().fold(1.0, f64::min),
            max_error: self.max_error,
            relative_error: relative_error.fold(0.0, f64::max),
            not_finite: self.not_finite,
            elements: self.elements,
        }
    }
}

fn is_float(tensor: &Tensor) -> bool {
    matches!(
        tensor.element_type(),
        ElementType::F16 | ElementType::F32 | ElementType::F64
    )
}

/// Whether the rows are probabilities: not negative, with a sum of 1.
fn are_classes(tensor: &Tensor, values: &[f64], width: usize) -> bool {
    let is_row = |row: &[f64]| {
        row.iter().all(|it| *it >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() <= SUM_TOLERANCE
    };
    let rank = tensor.shape().len();
    width > 1
        && (1..=MAX_CLASS_RANK).contains(&rank)
        && !values.is_empty()
        && values.chunks(width).all(is_row)
}

/// The index of the highest value, the first of equal ones; none if a value is not a number, which agrees with nothing.
fn top(row: &[f64]) -> Option<usize> {
    if row.iter().any(|value| value.is_nan()) {
        return None;
    }
    let mut best: Option<(usize, f64)> = None;
    for (position, &value) in row.iter().enumerate() {
        if best.is_none_or(|(_, highest)| value > highest) {
            best = Some((position, value));
        }
    }
    best.map(|(position, _)| position)
}

fn error(a: f64, b: f64) -> f64 {
    if a == b {
        0.0
    } else {
        let error = (a - b).abs();
        if error.is_nan() { f64::INFINITY } else { error }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn tally(shape: &[usize], pairs: &[(Vec<f32>, Vec<f32>)], classes: &[&str]) -> Agreement {
        let classes = classes.iter().map(|it| (*it).to_owned()).collect();
        let mut tally = Tally::new("y", &classes);
        for (a, b) in pairs {
            let a = Tensor::from_f32(shape, a.clone()).unwrap();
            let b = Tensor::from_f32(shape, b.clone()).unwrap();
            tally.add(&a, &b).unwrap();
        }
        tally.finish()
    }

    #[test]
    fn probabilities_are_compared_by_their_top_class() {
        let pairs = [
            (vec![0.9, 0.1], vec![0.6, 0.4]),
            (vec![0.9, 0.1], vec![0.4, 0.6]),
        ];
        let agreement = tally(&[1, 2], &pairs, &[]);
        assert_eq!(agreement.measure, Measure::Top1);
        assert!((agreement.agreement - 0.5).abs() < 1e-9);
        assert!((agreement.max_error - 0.5).abs() < 1e-6);
    }

    #[test]
    fn other_outputs_are_compared_by_cosine_unless_classes_is_given() {
        let pairs = [(vec![3.0, -1.0], vec![6.0, -2.0])];
        let agreement = tally(&[1, 2], &pairs, &[]);
        assert_eq!(agreement.measure, Measure::Cosine);
        assert!((agreement.cosine_min - 1.0).abs() < 1e-9);
        assert_eq!(tally(&[1, 2], &pairs, &["y"]).measure, Measure::Top1);
    }

    #[test]
    fn what_is_not_a_number_agrees_with_nothing() {
        let agreement = tally(&[2], &[(vec![1.0, 2.0], vec![f32::NAN, 2.0])], &[]);
        assert_eq!(agreement.agreement, 0.0);
        assert_eq!(agreement.max_error, f64::INFINITY);
    }

    #[test]
    fn negligible_values_agree_whatever_their_direction() {
        let agreement = tally(&[2], &[(vec![1e-7, 0.0], vec![0.0, 1e-7])], &[]);
        assert_eq!(agreement.measure, Measure::Cosine);
        assert_eq!((agreement.agreement, agreement.cosine_min), (1.0, 1.0));
        let far = tally(&[2], &[(vec![1e-1, 0.0], vec![0.0, 1e-1])], &[]);
        assert_eq!(far.agreement, 0.0);
    }

    #[test]
    fn nothing_agrees_with_nothing() {
        let agreement = tally(&[2], &[(vec![0.0; 2], vec![0.0; 2])], &[]);
        assert_eq!(agreement.agreement, 1.0);
        assert_eq!(
            tally(&[2], &[(vec![0.0; 2], vec![1.0; 2])], &[]).agreement,
            0.0
        );
    }

    /// The agreement of two models on one column of numbers.
    fn column(a: &[f32], b: &[f32]) -> Agreement {
        let pairs: Vec<_> = a.iter().zip(b).map(|(a, b)| (vec![*a], vec![*b])).collect();
        tally(&[1, 1], &pairs, &[])
    }

    #[test]
    fn a_number_agrees_only_with_numbers_near_it() {
        let a = [0.5, 1.0, 2.0, 4.0];
        let of = |change: fn(f32) -> f32| column(&a, &a.map(change)).agreement;
        assert_eq!(of(|a| a), 1.0);
        assert!(of(|a| a * 1.001) > 0.998);
        let wrong: [fn(f32) -> f32; 9] = [
            |a| 3.0 * a,
            |a| a + 100.0,
            |_| 1.0,
            |a| -a,
            |a| 1.1 * a,
            |a| a + 0.2,
            |_| 0.0,
            |_| f32::NAN,
            |_| f32::INFINITY,
        ];
        for change in wrong {
            assert!(of(change) < 0.98, "{}", of(change));
        }
        // The same applies to small numbers.
        let small = a.map(|a| a * 1e-4);
        let of = |change: fn(f32) -> f32| column(&small, &small.map(change)).agreement;
        assert!(of(|a| -a) < 0.01);
        assert!(of(|a| 3.0 * a) < 0.4);
    }

    #[test]
    fn a_large_column_does_not_hide_a_small_one() {
        let pairs = [
            (vec![300.0, 200.0, 0.9], vec![300.0, 200.0, 0.1]),
            (vec![310.0, 190.0, 0.8], vec![310.0, 190.0, 0.2]),
        ];
        let agreement = tally(&[1, 3], &pairs, &[]);
        assert!(agreement.cosine_min > 0.999_99);
        assert!(agreement.agreement < 0.3, "{agreement:?}");
        assert!(agreement.relative_error > 0.8, "{agreement:?}");
    }

    #[test]
    fn a_single_number_is_not_classes_even_if_it_is_named_so() {
        let pairs = [(vec![1.0], vec![3.0])];
        let agreement = tally(&[1, 1], &pairs, &["y"]);
        assert_eq!(agreement.measure, Measure::Cosine);
        assert!(agreement.agreement < 0.4);
    }

    #[test]
    fn classes_that_are_not_numbers_agree_with_nothing() {
        let nan = f32::NAN;
        let agreement = tally(&[1, 2], &[(vec![0.9, 0.1], vec![nan, nan])], &[]);
        assert_eq!(agreement.measure, Measure::Top1);
        assert_eq!((agreement.agreement, agreement.not_finite), (0.0, 2));
        let both = tally(&[1, 2], &[(vec![nan, nan], vec![nan, nan])], &["y"]);
        assert_eq!((both.agreement, both.not_finite), (0.0, 2));
    }

    #[test]
    fn other_types_are_another_kind() {
        let mut tally = Tally::new("y", &BTreeSet::new());
        let a = Tensor::from_f32(&[2], vec![1.0; 2]).unwrap();
        let b = Tensor::from_i64(&[2], vec![1; 2]).unwrap();
        assert!(tally.add(&a, &b).is_err());
    }

    #[test]
    fn other_shapes_are_another_kind() {
        let mut tally = Tally::new("y", &BTreeSet::new());
        let a = Tensor::from_f32(&[2], vec![0.0; 2]).unwrap();
        let b = Tensor::from_f32(&[3], vec![0.0; 3]).unwrap();
        assert!(tally.add(&a, &b).is_err());
    }
}
