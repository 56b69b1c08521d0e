//! Tensors as components hand them over: any element type, shape and bytes.
#![no_main]

use arbitrary::Arbitrary;
use hotshoe_infer::{ElementType, Tensor};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Given<'a> {
    element_type: u8,
    shape: Vec<u32>,
    bytes: &'a [u8],
}

const TYPES: [ElementType; 8] = [
    ElementType::Bool,
    ElementType::U8,
    ElementType::I8,
    ElementType::I32,
    ElementType::I64,
    ElementType::F16,
    ElementType::F32,
    ElementType::F64,
];

fuzz_target!(|given: Given| {
    let element_type = TYPES[usize::from(given.element_type) % TYPES.len()];
    let shape: Vec<usize> = given.shape.iter().map(|&length| length as usize).collect();
    if let Ok(tensor) = Tensor::from_bytes(element_type, &shape, given.bytes) {
        assert_eq!(tensor.bytes(), given.bytes);
        assert_eq!(tensor.shape(), shape);
        assert_eq!(tensor.byte_len(), tensor.len() * element_type.size());
    }
    let elements: Vec<f32> = given.bytes.iter().map(|&byte| f32::from(byte)).collect();
    if let Ok(tensor) = Tensor::from_f32(&shape, elements.clone()) {
        assert_eq!(tensor.as_f32().expect("f32"), elements);
    }
});
