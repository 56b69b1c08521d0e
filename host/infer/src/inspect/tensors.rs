//! ONNX tensors: weights, and the test data of models (`input_0.pb`).

use half::f16;
use prost::Message;
use thiserror::Error;
use tract_onnx::pb::TensorProto;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::prelude::IntoTValue;

use crate::guard::guard;
use crate::onnx::type_name;
use crate::{ElementType, Tensor, describe};

/// Why a file is not a tensor.
#[derive(Debug, Error)]
pub enum TensorFileError {
    /// It is truncated or another kind of file.
    #[error("this is not a complete ONNX tensor")]
    Malformed {
        /// The error of the parser.
        #[source]
        source: prost::DecodeError,
    },
    /// An unsupported element type.
    #[error("its element type {element_type} is not supported")]
    ElementType {
        /// The type in the file.
        element_type: String,
    },
    /// The elements do not fit the shape.
    #[error("its elements cannot be read: {reason}")]
    Elements {
        /// The error of the backend.
        reason: String,
    },
}

/// Reads a serialised ONNX `TensorProto`. Returns its name, which may be empty, and the tensor.
///
/// # Errors
/// [`TensorFileError`].
pub fn onnx_tensor(bytes: &[u8]) -> Result<(String, Tensor), TensorFileError> {
    let proto =
        TensorProto::decode(bytes).map_err(|source| TensorFileError::Malformed { source })?;
    let tensor = read_tensor(&proto)?;
    Ok((proto.name, tensor))
}

/// The elements of a weight or another tensor of a file.
pub(crate) fn read_tensor(proto: &TensorProto) -> Result<Tensor, TensorFileError> {
    let kind = DataType::try_from(proto.data_type)
        .ok()
        .and_then(describe::of);
    if kind.is_none() {
        let element_type = type_name(proto.data_type);
        return Err(TensorFileError::ElementType { element_type });
    }
    let elements = |reason: String| TensorFileError::Elements { reason };
    let framework = tract_onnx::onnx();
    let read = guard(|| tract_onnx::tensor::load_tensor(&*framework.provider, proto, None));
    let raw = read
        .map_err(elements)?
        .map_err(|error| elements(format!("{error:#}")))?;
    Tensor::from_raw(raw.into_tvalue()).map_err(elements)
}

/// Converts a tensor to a weight of a file.
pub(crate) fn to_proto(name: &str, tensor: &Tensor) -> TensorProto {
    let data_type = match tensor.element_type() {
        ElementType::Bool => DataType::Bool,
        ElementType::U8 => DataType::Uint8,
        ElementType::I8 => DataType::Int8,
        ElementType::I32 => DataType::Int32,
        ElementType::I64 => DataType::Int64,
        ElementType::F16 => DataType::Float16,
        ElementType::F32 => DataType::Float,
        ElementType::F64 => DataType::Double,
    };
    TensorProto {
        name: name.to_owned(),
        data_type: data_type as i32,
        // A dimension is far below 2^63: the elements are in memory.
        dims: tensor.shape().iter().map(|&size| size as i64).collect(),
        raw_data: tensor.bytes().to_vec(),
        ..TensorProto::default()
    }
}

/// The elements of a tensor of any type as `f64`; large `i64` are rounded.
pub fn values(tensor: &Tensor) -> Vec<f64> {
    numbers(tensor).collect()
}

/// As [`values`], as an iterator.
pub(crate) fn numbers(tensor: &Tensor) -> Box<dyn Iterator<Item = f64> + '_> {
    let bytes = tensor.bytes();
    match tensor.element_type() {
        ElementType::Bool | ElementType::U8 => Box::new(bytes.iter().map(|&it| it.into())),
        ElementType::I8 => each(bytes, |it| i8::from_le_bytes(it).into()),
        ElementType::I32 => each(bytes, |it| i32::from_le_bytes(it).into()),
        ElementType::I64 => each(bytes, |it| i64::from_le_bytes(it) as f64),
        ElementType::F16 => each(bytes, |it| f16::from_le_bytes(it).into()),
        ElementType::F32 => each(bytes, |it| f32::from_le_bytes(it).into()),
        ElementType::F64 => each(bytes, f64::from_le_bytes),
    }
}

fn each<const N: usize>(
    bytes: &[u8],
    read: fn([u8; N]) -> f64,
) -> Box<dyn Iterator<Item = f64> + '_> {
    Box::new(bytes.as_chunks().0.iter().map(move |&it| read(it)))
}
