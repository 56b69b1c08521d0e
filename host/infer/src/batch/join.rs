//! Concatenating, splitting and comparing tensors along their first dimension.

use thiserror::Error;

use super::BatchKey;
use crate::{ElementType, RunError, Tensor, TensorError};

/// Largest difference between a separate run and the same run in a batch, relative to the output's largest magnitude. The order of
/// summation differs in a batch, which affects only the last digits; dependent rows affect the first.
const TOLERANCE: f64 = 1e-3;

/// The first dimension that all inputs have in common.
pub(crate) fn rows(inputs: &[Tensor]) -> Option<usize> {
    let first = *inputs.first()?.shape().first()?;
    let same = inputs
        .iter()
        .all(|tensor| tensor.shape().first() == Some(&first));
    same.then_some(first)
}

/// The key of the batches that a run can join.
pub(super) fn batch_key(inputs: &[Tensor]) -> BatchKey {
    let of = |tensor: &Tensor| {
        let shape = tensor.shape().get(1..).unwrap_or_default().to_vec();
        (tensor.element_type(), shape)
    };
    inputs.iter().map(of).collect()
}

/// Concatenates the inputs of several runs with one key.
pub(crate) fn join(runs: &[&[Tensor]]) -> Result<Vec<Tensor>, RunError> {
    let inputs = runs.first().map_or(0, |run| run.len());
    let one = |position: usize| {
        let parts: Vec<&Tensor> = runs.iter().filter_map(|run| run.get(position)).collect();
        let mut shape = parts.first().map_or(&[][..], |part| part.shape()).to_vec();
        let rows = parts.iter().filter_map(|part| part.shape().first()).sum();
        if let Some(first) = shape.first_mut() {
            *first = rows;
        }
        let bytes: Vec<&[u8]> = parts.iter().map(|part| part.bytes()).collect();
        let element_type = parts.first().map_or(ElementType::U8, |p| p.element_type());
        Tensor::from_bytes(element_type, &shape, &bytes.concat()).map_err(failed)
    };
    (0..inputs).map(one).collect()
}

/// Why a batch has no outputs.
#[derive(Debug, Error)]
pub(crate) enum BatchError {
    /// Without the cause, which may quote elements of the tensors: log and status show this.
    #[error("it fails on a batch, but not on single runs")]
    Run,
    /// The outputs cannot be split.
    #[error(
        "it fails on a batch, but not on single runs: {rows} rows gave an output of shape {shape:?}; its first dimension does not follow the input's"
    )]
    Rows { rows: usize, shape: Vec<usize> },
}

impl From<RunError> for BatchError {
    fn from(_: RunError) -> Self {
        Self::Run
    }
}

/// Splits the outputs of a run into those of several, with these numbers of rows.
pub(super) fn part(outputs: &[Tensor], rows: &[usize]) -> Result<Vec<Vec<Tensor>>, BatchError> {
    let total: usize = rows.iter().sum();
    let mut at = 0;
    let mut parts = Vec::with_capacity(rows.len());
    for &count in rows {
        let cut = |output: &Tensor| cut(output, at, count, total);
        parts.push(outputs.iter().map(cut).collect::<Result<_, _>>()?);
        at += count;
    }
    Ok(parts)
}

/// The `count` rows from row `at` on, of `total` rows.
pub(crate) fn cut(
    output: &Tensor,
    at: usize,
    count: usize,
    total: usize,
) -> Result<Tensor, BatchError> {
    let mut shape = output.shape().to_vec();
    match shape.first_mut() {
        Some(first) if *first == total => *first = count,
        _ => {
            return Err(BatchError::Rows {
                rows: total,
                shape: output.shape().to_vec(),
            });
        }
    }
    let row = output.byte_len().checked_div(total).unwrap_or_default();
    let bytes = output
        .bytes()
        .get(at * row..(at + count) * row)
        .unwrap_or_default();
    Ok(Tensor::from_bytes(output.element_type(), &shape, bytes).map_err(failed)?)
}

fn failed(error: TensorError) -> RunError {
    RunError::Failed {
        source: error.into(),
    }
}

/// How the outputs of a separate run and of the same run in a batch differ, if they do.
pub(super) fn disagreement(alone: &[Tensor], batched: &[Tensor]) -> Option<String> {
    alone
        .iter()
        .zip(batched)
        .enumerate()
        .find_map(|(position, (alone, batched))| {
            let problem = if alone.shape() != batched.shape() {
                let (alone, batched) = (alone.shape(), batched.shape());
                format!("the shape {batched:?} instead of {alone:?}")
            } else {
                let difference = difference(alone, batched);
                if difference <= TOLERANCE {
                    return None;
                }
                format!("values that differ by {difference:.2e} of the largest")
            };
            let name = position + 1;
            Some(format!("output {name} of a run in a batch has {problem}"))
        })
}

/// The largest difference relative to the largest magnitude; infinite for different integers, and if only one side is NaN.
fn difference(alone: &Tensor, batched: &Tensor) -> f64 {
    let (Some(alone), Some(batched)) = (floats(alone), floats(batched)) else {
        let same = alone.bytes() == batched.bytes();
        return if same { 0.0 } else { f64::INFINITY };
    };
    let largest = alone
        .iter()
        .map(|value| value.abs())
        .filter(|value| value.is_finite())
        .fold(f64::MIN_POSITIVE, f64::max);
    let pairs = alone.iter().zip(&batched);
    pairs
        .map(|(a, b)| {
            if a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() {
                0.0
            } else if a.is_finite() && b.is_finite() {
                (a - b).abs() / largest
            } else {
                f64::INFINITY
            }
        })
        .fold(0.0, f64::max)
}

/// `None` if the elements are not floating-point numbers.
fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    let bytes = tensor.bytes();
    Some(match tensor.element_type() {
        ElementType::F16 => {
            let each = bytes.as_chunks().0.iter();
            each.map(|&bytes| half::f16::from_le_bytes(bytes).to_f64())
                .collect()
        }
        ElementType::F32 => {
            let each = bytes.as_chunks().0.iter();
            each.map(|&bytes| f32::from_le_bytes(bytes).into())
                .collect()
        }
        ElementType::F64 => {
            let each = bytes.as_chunks().0.iter();
            each.map(|&bytes| f64::from_le_bytes(bytes)).collect()
        }
        _ => return None,
    })
}
