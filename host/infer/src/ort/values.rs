//! Conversion between tensors and values of ONNX Runtime.

use std::fmt::Debug;

use half::f16;
use ort::session::SessionInputValue;
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};
use tract_onnx::prelude::Datum;

use crate::{ElementType, Tensor, TensorError};

/// Why a value cannot be converted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error(transparent)]
    Runtime(#[from] ort::Error),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("it is {0}, which is not supported")]
    Unsupported(String),
    #[error("it takes {bytes} bytes, over the limit of {limit} for one tensor")]
    TooLarge { bytes: usize, limit: usize },
}

/// A view of the tensor's elements, without a copy.
pub(super) fn input(tensor: &Tensor) -> Result<SessionInputValue<'_>, ValueError> {
    match tensor.element_type() {
        ElementType::Bool => view::<bool>(tensor),
        ElementType::U8 => view::<u8>(tensor),
        ElementType::I8 => view::<i8>(tensor),
        ElementType::I32 => view::<i32>(tensor),
        ElementType::I64 => view::<i64>(tensor),
        ElementType::F16 => view::<f16>(tensor),
        ElementType::F32 => view::<f32>(tensor),
        ElementType::F64 => view::<f64>(tensor),
    }
}

fn view<T>(tensor: &Tensor) -> Result<SessionInputValue<'_>, ValueError>
where
    T: PrimitiveTensorElementType + Datum + Debug + Clone + 'static,
{
    let elements: &[T] = tensor.elements(tensor.element_type())?;
    Ok(TensorRef::from_array_view((tensor.shape(), elements))?.into())
}

/// A copy of an output, if it has at most `limit` bytes.
pub(super) fn output(value: &DynValue, limit: usize) -> Result<Tensor, ValueError> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(ValueError::Unsupported(value.dtype().to_string()));
    };
    match ty {
        TensorElementType::Bool => copy::<bool>(value, ElementType::Bool, limit),
        TensorElementType::Uint8 => copy::<u8>(value, ElementType::U8, limit),
        TensorElementType::Int8 => copy::<i8>(value, ElementType::I8, limit),
        TensorElementType::Int32 => copy::<i32>(value, ElementType::I32, limit),
        TensorElementType::Int64 => copy::<i64>(value, ElementType::I64, limit),
        TensorElementType::Float16 => copy::<f16>(value, ElementType::F16, limit),
        TensorElementType::Float32 => copy::<f32>(value, ElementType::F32, limit),
        TensorElementType::Float64 => copy::<f64>(value, ElementType::F64, limit),
        other => Err(ValueError::Unsupported(format!("a tensor of {other}"))),
    }
}

fn copy<T>(value: &DynValue, element_type: ElementType, limit: usize) -> Result<Tensor, ValueError>
where
    T: PrimitiveTensorElementType + Datum + Copy,
{
    let (shape, elements) = value.try_extract_tensor::<T>()?;
    let bytes = size_of_val(elements);
    if bytes > limit {
        return Err(ValueError::TooLarge { bytes, limit });
    }
    let sizes = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0));
    let sizes: Vec<usize> = sizes.collect();
    Ok(Tensor::from_elements(element_type, &sizes, elements)?)
}
