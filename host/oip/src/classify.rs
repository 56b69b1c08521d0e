//! The classification extension: an output as its highest values, each with its position.

use hotshoe_infer::{ElementType, Tensor};

use crate::error::TensorFault;
use crate::request::Output;

/// The `most` highest values of each row of an output as BYTES, `VALUE:POSITION`, highest first. The rows are those of the first of several
/// dimensions. Equal values keep their order, and what is not a number comes last.
///
/// # Errors
///
/// [`TensorFault::NoClasses`]: the output does not have numbers.
pub(crate) fn classify(output: &Output, most: usize) -> Result<Output, TensorFault> {
    let Output::Tensor(tensor) = output else {
        return Err(TensorFault::NoClasses);
    };
    let rows = match tensor.shape() {
        [rows, _, ..] => Some(*rows),
        _ => None,
    };
    let width = tensor.len().checked_div(rows.unwrap_or(1)).unwrap_or(0);
    let classes = most.min(width);
    let numbers: Vec<f64> = tensor.numbers().collect();
    let mut elements = Vec::with_capacity(rows.unwrap_or(1).saturating_mul(classes));
    // Of width 0 there are no rows to list.
    for row in numbers.chunks(width.max(1)) {
        let mut order: Vec<(usize, f64)> = row.iter().copied().enumerate().collect();
        order.sort_by(|(_, one), (_, other)| {
            let nan = one.is_nan().cmp(&other.is_nan());
            nan.then_with(|| other.partial_cmp(one).unwrap_or(std::cmp::Ordering::Equal))
        });
        let highest = order.into_iter().take(classes);
        elements.extend(highest.map(|(position, value)| text(tensor, value, position)));
    }
    Ok(Output::Bytes {
        shape: rows.into_iter().chain([classes]).collect(),
        elements,
    })
}

/// One class in the extension's form: floats have six decimals.
fn text(tensor: &Tensor, value: f64, position: usize) -> String {
    match tensor.element_type() {
        ElementType::F16 | ElementType::F32 | ElementType::F64 => format!("{value:.6}:{position}"),
        _ => format!("{value}:{position}"),
    }
}
