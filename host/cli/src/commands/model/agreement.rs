//! How well the outputs of two models agree.

use std::collections::BTreeSet;

use hotshoe_infer::inspect::{Similarity, cosine_similarity, similarity, values};
use hotshoe_infer::{ElementType, Tensor};
use serde::Serialize;

/// The highest rank of an output that may be classes: batch, position, class. Of more, the last axis is a picture's.
const MAX_CLASS_RANK: usize = 3;
/// How far the probabilities of one row may be from adding up to 1: f16's and INT8's rounding.
const SUM_TOLERANCE: f64 = 0.02;

/// Columns up to which each is compared by itself, over all rows and samples: numbers that mean different things, such as a box,
/// its score and its class, whose larger ones would hide the others.
const MAX_COLUMNS: usize = 16;

/// What an output's agreement is measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The share of rows in which both have the same class first.
    #[serde(rename = "top-1")]
    Top1,
    /// The share of elements that are equal: for outputs that are not floating point.
    Equal,
    /// The least of the cosine between both, of how their magnitudes compare, and of how far their means are apart
    /// ([`hotshoe_infer::inspect::Similarity`]): the least column's over all samples, where there are few columns; or else the
    /// mean over samples.
    Cosine,
}

impl Measure {
    /// As tables show it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Top1 => "top-1",
            Self::Equal => "equal",
            Self::Cosine => "cosine",
        }
    }
}

/// How well one output agrees, over all samples.
#[derive(Debug, Clone, Serialize)]
pub struct Agreement {
    /// The output.
    pub output: String,
    /// What `agreement` is.
    pub measure: Measure,
    /// From 0 to 1.
    pub agreement: f64,
    /// The mean over samples of the cosine between both; 1 where they differ nowhere by more than
    /// [`hotshoe_infer::inspect::NEGLIGIBLE`].
    pub cosine_mean: f64,
    /// The least of them.
    pub cosine_min: f64,
    /// The largest difference of two elements.
    pub max_error: f64,
    /// The largest magnitude of a difference as a part of the larger magnitude, of a column over all samples or of a sample.
    pub relative_error: f64,
    /// Pairs of elements of which one is not a number, or one is infinite and the other is not the same.
    pub not_finite: u64,
    /// Elements that were compared.
    pub elements: u64,
}

/// Collects an output's samples.
pub struct Tally {
    output: String,
    /// The user said that its last axis is classes.
    is_classes: bool,
    measure: Option<Measure>,
    same: u64,
    compared: u64,
    cosines: Vec<f64>,
    /// Of floating point numbers, each sample as a whole.
    samples: Vec<Similarity>,
    /// And, where there are few, column by column: what the first gave, and the second.
    columns: Vec<Vec<(f64, f64)>>,
    /// There are many columns, or not always as many.
    is_wide: bool,
    max_error: f64,
    not_finite: u64,
    elements: u64,
}

impl Tally {
    /// Nothing is compared yet.
    pub fn new(output: &str, classes: &BTreeSet<String>) -> Self {
        Self {
            output: output.to_owned(),
            is_classes: classes.contains(output),
            measure: None,
            same: 0,
            compared: 0,
            cosines: Vec::new(),
            samples: Vec::new(),
            columns: Vec::new(),
            is_wide: false,
            max_error: 0.0,
            not_finite: 0,
            elements: 0,
        }
    }

    /// Adds what both gave for one sample. The error says how they differ in kind.
    pub fn add(&mut self, a: &Tensor, b: &Tensor) -> Result<(), (String, String)> {
        if a.shape() != b.shape() || a.element_type() != b.element_type() {
            let kind = |it: &Tensor| format!("{} {:?}", it.element_type(), it.shape());
            return Err((kind(a), kind(b)));
        }
        let (first, second) = (values(a), values(b));
        let width = a.shape().last().copied().unwrap_or(1).max(1);
        // What the first sample's output looks like holds for all: of classes, no row ever adds up to anything else.
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
            if self.columns.is_empty() {
                self.columns.resize(width.min(MAX_COLUMNS + 1), Vec::new());
            }
            self.is_wide |= width > MAX_COLUMNS || self.columns.len() != width;
            if !self.is_wide {
                for (at, pair) in pairs().enumerate() {
                    if let Some(column) = self.columns.get_mut(at % width) {
                        column.push(pair);
                    }
                }
            }
        }
        let errors = first.iter().zip(&second).map(|(a, b)| error(*a, *b));
        self.max_error = errors.fold(self.max_error, f64::max);
        Ok(())
    }

    fn start_over(&mut self) {
        (self.same, self.compared) = (0, 0);
    }

    /// The figures.
    pub fn finish(self) -> Agreement {
        let count = self.cosines.len().max(1) as f64;
        let cosine_mean = self.cosines.iter().sum::<f64>() / count;
        let measure = self.measure.unwrap_or(Measure::Cosine);
        let (judged, close) = if self.is_wide {
            let all = self.samples.iter().map(Similarity::agreement).sum::<f64>();
            let mean = all / self.samples.len().max(1) as f64;
            (self.samples, mean)
        } else {
            let columns: Vec<Similarity> = self.columns.into_iter().map(similarity).collect();
            let least = columns
                .iter()
                .map(Similarity::agreement)
                .fold(1.0, f64::min);
            (columns, least)
        };
        let relative_error = judged.iter().map(|it| it.relative_error);
        Agreement {
            output: self.output,
            measure,
            agreement: match measure {
                Measure::Cosine => close,
                // No elements at all are all equal.
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

/// Rows of probabilities: none is negative, and each row adds up to 1.
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

/// The position of the highest value, the first of equals; none where one is not a number, which agrees with nothing.
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
    fn probabilities_are_compared_by_their_first_class() {
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
    fn anything_else_is_compared_by_its_angle_unless_it_is_said_to_be_classes() {
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
    fn what_is_next_to_nothing_in_both_agrees_whatever_its_direction() {
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

    /// What a model gave for some samples, and another: numbers of one column.
    fn column(a: &[f32], b: &[f32]) -> Agreement {
        let pairs: Vec<_> = a.iter().zip(b).map(|(a, b)| (vec![*a], vec![*b])).collect();
        tally(&[1, 1], &pairs, &[])
    }

    #[test]
    fn a_number_agrees_only_with_what_it_is_near_to() {
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
        // Small ones, too.
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
    fn a_number_is_no_class_whatever_it_is_called() {
        let pairs = [(vec![1.0], vec![3.0])];
        let agreement = tally(&[1, 1], &pairs, &["y"]);
        assert_eq!(agreement.measure, Measure::Cosine);
        assert!(agreement.agreement < 0.4);
    }

    #[test]
    fn classes_that_are_no_numbers_agree_with_nothing() {
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
