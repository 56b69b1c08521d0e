//! Whether two backends make the same of the same inputs.

use hotshoe_infer::{Backend, ElementType, Model, Tensor};

use super::Inputs;
use super::race::outputs;

/// Outputs whose directions agree less than this are not the same: the cosine of the angle between them.
const LEAST_COSINE: f64 = 0.999;
/// Outputs that differ nowhere by more than this are the same, whatever their direction: that of values near zero is noise.
const NEGLIGIBLE: f64 = 1e-3;

/// Runs both backends on the same inputs.
///
/// # Errors
/// In which output they differ, and how much; or that one of them fails.
pub(super) fn compare(model: &Model, runs: &[Inputs]) -> Result<(), String> {
    for inputs in runs {
        let of = |backend| {
            model.use_backend(backend);
            outputs(model, inputs).map_err(|error| format!("{backend} fails: {error}"))
        };
        for ((name, ours), (_, theirs)) in of(Backend::Tract)?.iter().zip(&of(Backend::Ort)?) {
            let alike = likeness(ours, theirs);
            if alike < LEAST_COSINE {
                return Err(format!(
                    "tract and ort disagree in output `{name}`: cosine {alike:.4}"
                ));
            }
        }
    }
    Ok(())
}

/// The cosine of the angle between two tensors; 1 where they are the same, 0 where they cannot be compared.
fn likeness(one: &Tensor, other: &Tensor) -> f64 {
    if one.shape() != other.shape() || one.element_type() != other.element_type() {
        return 0.0;
    }
    if one.bytes() == other.bytes() {
        return 1.0;
    }
    let (mut product, mut first, mut second, mut negligible) = (0.0, 0.0, 0.0, true);
    for (a, b) in values(one).zip(values(other)) {
        product += a * b;
        first += a * a;
        second += b * b;
        negligible &= (a - b).abs() <= NEGLIGIBLE;
    }
    if negligible {
        return 1.0;
    }
    let cosine = product / (first.sqrt() * second.sqrt());
    if cosine.is_finite() { cosine } else { 0.0 }
}

/// The elements, as numbers.
fn values(tensor: &Tensor) -> Box<dyn Iterator<Item = f64> + '_> {
    fn each<const N: usize>(bytes: &[u8], read: fn([u8; N]) -> f64) -> impl Iterator<Item = f64> {
        bytes.as_chunks().0.iter().map(move |chunk| read(*chunk))
    }
    let bytes = tensor.bytes();
    match tensor.element_type() {
        ElementType::F32 => Box::new(each(bytes, |b: [u8; 4]| f32::from_le_bytes(b).into())),
        ElementType::F64 => Box::new(each(bytes, f64::from_le_bytes)),
        ElementType::F16 => Box::new(each(bytes, |b: [u8; 2]| half::f16::from_le_bytes(b).into())),
        ElementType::I32 => Box::new(each(bytes, |b: [u8; 4]| i32::from_le_bytes(b).into())),
        #[expect(clippy::cast_precision_loss, reason = "a likeness needs no last digit")]
        ElementType::I64 => Box::new(each(bytes, |b: [u8; 8]| i64::from_le_bytes(b) as f64)),
        ElementType::I8 => Box::new(each(bytes, |b: [u8; 1]| i8::from_le_bytes(b).into())),
        ElementType::U8 | ElementType::Bool => Box::new(bytes.iter().map(|b| f64::from(*b))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn f32s(values: &[f32]) -> Tensor {
        Tensor::from_f32(&[values.len()], values.to_vec()).unwrap()
    }

    #[test]
    fn likeness_is_the_cosine() {
        let of = |a: &[f32], b: &[f32]| likeness(&f32s(a), &f32s(b));
        assert!((of(&[1.0, 2.0], &[2.0, 4.0]) - 1.0).abs() < 1e-9);
        assert!(of(&[1.0, 0.0], &[0.0, 1.0]).abs() < 1e-9);
        assert!((of(&[1.0, 2.0], &[-1.0, -2.0]) + 1.0).abs() < 1e-9);
    }

    #[test]
    fn values_near_zero_are_the_same_whatever_their_direction() {
        assert_eq!(likeness(&f32s(&[0.0, 1e-4]), &f32s(&[1e-4, 0.0])), 1.0);
        assert_eq!(likeness(&f32s(&[0.0, 0.0]), &f32s(&[0.0, 1.0])), 0.0);
    }

    #[test]
    fn what_is_no_number_is_not_the_same() {
        assert_eq!(likeness(&f32s(&[f32::NAN]), &f32s(&[1.0])), 0.0);
        assert_eq!(likeness(&f32s(&[f32::NAN, 1.0]), &f32s(&[1.0, 1.0])), 0.0);
        let same = f32s(&[f32::NAN]);
        assert_eq!(likeness(&same, &same), 1.0);
        assert_eq!(likeness(&f32s(&[1.0]), &f32s(&[1.0, 1.0])), 0.0);
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
            assert_eq!(values(&tensor).collect::<Vec<_>>(), [0.0, 0.0]);
        }
    }
}
