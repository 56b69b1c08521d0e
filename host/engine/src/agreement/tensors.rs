//! Agreement of tensors.

use hotshoe_infer::Tensor;
use hotshoe_infer::npz::{self, Limits};

use super::{distance, share};

/// Largest relative difference of equal elements.
const RELATIVE: f64 = 1e-3;
/// Largest absolute difference of equal elements: noise near zero.
const ABSOLUTE: f64 = 1e-5;

/// Agreement of two `.npz` archives: the least share, over all tensors, of elements that are equal to a thousandth. 0 if names, shapes
/// or types differ, or one cannot be read. The sample within an archive is not compared.
pub(super) fn tensors(a: &[u8], b: &[u8]) -> f64 {
    if a == b {
        return 1.0;
    }
    let (Some(a), Some(b)) = (sorted(a), sorted(b)) else {
        return 0.0;
    };
    if a.len() != b.len() {
        return 0.0;
    }
    let each = a.iter().zip(&b).map(|((name_a, a), (name_b, b))| {
        let alike = name_a == name_b && a.shape() == b.shape();
        if alike && a.element_type() == b.element_type() {
            elements(a, b)
        } else {
            0.0
        }
    });
    each.fold(1.0, f64::min)
}

fn sorted(bytes: &[u8]) -> Option<Vec<(String, Tensor)>> {
    let mut arrays = npz::without_sample(npz::read(bytes, Limits::SAMPLE).ok()?);
    arrays.sort_by(|a, b| a.0.cmp(&b.0));
    Some(arrays)
}

fn elements(a: &Tensor, b: &Tensor) -> f64 {
    if a.bytes() == b.bytes() {
        return 1.0;
    }
    let near =
        |(a, b): &(f64, f64)| distance(*a, *b) <= ABSOLUTE.max(RELATIVE * a.abs().max(b.abs()));
    let equal = a.numbers().zip(b.numbers()).filter(near).count();
    share(equal, a.len())
}
