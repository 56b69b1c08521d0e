#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Making and reading tensors.

use hotshoe_infer::{ElementType, ErrorKind, Tensor, TensorError};
use proptest::prelude::*;

#[test]
fn elements_and_bytes_are_the_same_memory() {
    let tensor = Tensor::from_f32(&[1, 2], vec![1.0, -2.5]).unwrap();
    assert_eq!(
        tensor.bytes(),
        [1.0_f32.to_le_bytes(), (-2.5_f32).to_le_bytes()].concat()
    );
    assert_eq!(
        (tensor.len(), tensor.byte_len(), tensor.element_type()),
        (2, 8, ElementType::F32)
    );
    let copy = tensor.clone();
    assert_eq!(
        copy.as_f32().unwrap().as_ptr(),
        tensor.as_f32().unwrap().as_ptr()
    );
    let long = Tensor::from_i64(&[2], vec![-1, i64::MAX]).unwrap();
    assert_eq!(long.as_i64().unwrap(), [-1, i64::MAX]);
}

#[test]
fn a_scalar_and_an_empty_tensor_are_tensors() {
    let scalar = Tensor::from_f32(&[], vec![3.0]).unwrap();
    assert_eq!(
        (scalar.shape().len(), scalar.as_f32().unwrap()),
        (0, &[3.0][..])
    );
    let empty = Tensor::from_u8(&[0, 7], vec![]).unwrap();
    assert!(empty.is_empty() && empty.bytes().is_empty() && empty.as_u8().unwrap().is_empty());
    assert!(
        Tensor::from_bytes(ElementType::F64, &[3, 0], &[])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let count = Tensor::from_f32(&[2, 2], vec![0.0; 3]).unwrap_err();
    assert!(matches!(
        count,
        TensorError::Count {
            want: 4,
            got: 3,
            ..
        }
    ));
    let bytes = Tensor::from_bytes(ElementType::I32, &[2], &[0; 7]).unwrap_err();
    assert!(matches!(
        bytes,
        TensorError::Bytes {
            want: 8,
            got: 7,
            ..
        }
    ));
    let overflow = Tensor::from_u8(&[usize::MAX, 2], vec![]).unwrap_err();
    assert_eq!(
        (
            overflow.kind(),
            matches!(overflow, TensorError::Overflow { .. })
        ),
        (ErrorKind::LimitExceeded, true)
    );
    // Found by fuzzing: no element, and strides that nothing can count.
    let wide = u32::MAX as usize;
    assert!(matches!(
        Tensor::from_u8(&[0, wide, wide, wide], vec![]),
        Err(TensorError::Overflow { .. })
    ));
    assert!(matches!(
        Tensor::from_bytes(ElementType::F64, &[usize::MAX], &[]),
        Err(TensorError::Overflow { .. })
    ));
    assert!(matches!(
        Tensor::from_bytes(ElementType::Bool, &[2], &[1, 2]),
        Err(TensorError::NotBool { position: 1 })
    ));
    let wrong = Tensor::from_u8(&[1], vec![0])
        .unwrap()
        .as_f32()
        .unwrap_err();
    assert!(matches!(
        wrong,
        TensorError::WrongType {
            want: ElementType::F32,
            got: ElementType::U8
        }
    ));
}

proptest! {
    #[test]
    fn bytes_come_back(shape in prop::collection::vec(0..5_usize, 0..4), seed: u8) {
        use ElementType::*;
        let count: usize = shape.iter().product();
        for element_type in [U8, I8, I32, I64, F16, F32, F64] {
            let bytes: Vec<u8> = (0..count * element_type.size()).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
            let tensor = Tensor::from_bytes(element_type, &shape, &bytes).unwrap();
            prop_assert_eq!(tensor.bytes(), &bytes);
            prop_assert_eq!((tensor.shape(), tensor.element_type()), (&shape[..], element_type));
        }
    }
}
