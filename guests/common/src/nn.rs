//! `wasi:nn`, unmodified, with models by their names in the release.

mod bindings;

use hotshoe_sdk::prelude::*;

pub use bindings::wasi::nn::{errors, graph, inference, tensor};

/// Runs a model with the one input `x` and the one output that all models here have; the output's shape and its f32 elements.
pub fn run(model: &str, input: tensor::Tensor) -> Result<(Vec<usize>, Vec<f32>)> {
    let graph = graph::load_by_name(model).map_err(from_nn)?;
    let context = graph.init_execution_context().map_err(from_nn)?;
    let outputs = context
        .compute(vec![("x".into(), input)])
        .map_err(from_nn)?;
    let [(_, output)] = outputs.as_slice() else {
        return Err(Error::internal(format_args!(
            "one tensor is expected, not {}",
            outputs.len()
        )));
    };
    let shape = output.dimensions();
    let bytes = output.data();
    let elements = bytes.as_chunks().0.iter();
    Ok((
        shape.into_iter().map(|length| length as usize).collect(),
        elements.map(|bytes| f32::from_le_bytes(*bytes)).collect(),
    ))
}

/// An error of `wasi:nn` with the closest code of Hotshoe.
pub fn from_nn(error: errors::Error) -> Error {
    use errors::ErrorCode as Nn;
    let code = match error.code() {
        Nn::InvalidArgument => ErrorCode::InvalidInput,
        Nn::InvalidEncoding | Nn::UnsupportedOperation => ErrorCode::Unsupported,
        Nn::NotFound => ErrorCode::NotFound,
        Nn::TooLarge => ErrorCode::LimitExceeded,
        Nn::Security => ErrorCode::Denied,
        Nn::Timeout | Nn::RuntimeError | Nn::Unknown => ErrorCode::Internal,
    };
    Error::new(code, format!("wasi:nn: {}", error.data()))
}
