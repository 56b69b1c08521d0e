//! Cosine similarity of tensors.

use super::tensors::numbers;
use crate::Tensor;

/// Outputs whose elements differ by at most this are equal, since the direction of values near zero is noise.
pub const NEGLIGIBLE: f64 = 1e-3;

/// The cosine of the angle between two tensors; 1 if they differ by at most [`NEGLIGIBLE`], 0 if they cannot be compared: different
/// shapes or types, or a NaN in only one of them.
pub fn cosine_similarity(one: &Tensor, other: &Tensor) -> f64 {
    if one.shape() != other.shape() || one.element_type() != other.element_type() {
        return 0.0;
    }
    if one.bytes() == other.bytes() {
        return 1.0;
    }
    let (mut product, mut first, mut second, mut negligible) = (0.0, 0.0, 0.0, true);
    for (a, b) in numbers(one).zip(numbers(other)) {
        product += a * b;
        first += a * a;
        second += b * b;
        negligible &= (a - b).abs() <= NEGLIGIBLE;
    }
    if negligible {
        return 1.0;
    }
    let cosine = product / (first.sqrt() * second.sqrt());
    if cosine.is_finite() {
        cosine.min(1.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::ElementType;

    fn f32s(values: &[f32]) -> Tensor {
        Tensor::from_f32(&[values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn the_similarity_is_the_cosine() {
        let of = |a: &[f32], b: &[f32]| cosine_similarity(&f32s(a), &f32s(b));
        assert!((of(&[1.0, 2.0], &[2.0, 4.0]) - 1.0).abs() < 1e-9);
        assert!(of(&[1.0, 0.0], &[0.0, 1.0]).abs() < 1e-9);
        assert!((of(&[1.0, 2.0], &[-1.0, -2.0]) + 1.0).abs() < 1e-9);
    }

    #[test]
    fn values_near_zero_are_the_same_whatever_their_direction() {
        assert_eq!(
            cosine_similarity(&f32s(&[0.0, 1e-4]), &f32s(&[1e-4, 0.0])),
            1.0
        );
        assert_eq!(
            cosine_similarity(&f32s(&[0.0, 0.0]), &f32s(&[0.0, 1.0])),
            0.0
        );
    }

    #[test]
    fn what_is_no_number_is_not_the_same() {
        assert_eq!(cosine_similarity(&f32s(&[f32::NAN]), &f32s(&[1.0])), 0.0);
        assert_eq!(
            cosine_similarity(&f32s(&[f32::NAN, 1.0]), &f32s(&[1.0, 1.0])),
            0.0
        );
        let same = f32s(&[f32::NAN]);
        assert_eq!(cosine_similarity(&same, &same), 1.0);
        assert_eq!(cosine_similarity(&f32s(&[1.0]), &f32s(&[1.0, 1.0])), 0.0);
    }

    #[test]
    fn every_element_type_is_read() {
        let types = [
            ElementType::F16,
            ElementType::F32,
            ElementType::F64,
            ElementType::I8,
            ElementType::U8,
            ElementType::I32,
            ElementType::I64,
            ElementType::Bool,
        ];
        for element_type in types {
            let bytes = vec![0; 2 * element_type.size()];
            let tensor = Tensor::from_bytes(element_type, &[2], &bytes).unwrap();
            assert_eq!(numbers(&tensor).collect::<Vec<_>>(), [0.0, 0.0]);
        }
    }
}
