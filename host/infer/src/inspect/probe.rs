//! A test whether a backend runs on this machine, with the configured execution providers.

use hotshoe_trust::Digest;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{self, Value};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};

use super::backends::{causes, choice};
use super::to_proto;
use crate::{Backend, ModelOptions, Models, Options, OrtOptions, Tensor, TensorError};

/// Rows and columns of the matrix.
const SIZE: usize = 4;
/// Versions of the file format and of the operators that every ONNX Runtime since 2020 accepts.
const IR_VERSION: i64 = 7;
const OPSET: i64 = 12;

/// Result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// The execution provider in use; `cpu` if none of the configured ones works.
    pub provider: String,
    /// Why configured execution providers are not in use.
    pub notes: Vec<String>,
}

/// Runs one matrix product on a backend, which also loads everything that the backend shares between models.
///
/// # Errors
/// Why it cannot be run.
pub fn probe(backend: Backend, ort: &OrtOptions) -> Result<ProbeResult, String> {
    let models = Models::new(Options {
        ort: ort.clone(),
        ..Options::default()
    });
    let options = ModelOptions {
        backend: choice(backend),
        ..ModelOptions::default()
    };
    let bytes = product().map_err(|error| causes(&error))?;
    let model = models
        .load(Digest::of(&bytes), &bytes, &options)
        .map_err(|error| causes(&error))?;
    let ones = Tensor::from_f32(&[SIZE, SIZE], vec![1.0; SIZE * SIZE]);
    let ones = ones.map_err(|error| causes(&error))?;
    model.run(&[("x", &ones)]).map_err(|error| causes(&error))?;
    Ok(ProbeResult {
        provider: model.provider(),
        notes: model.provider_notes(),
    })
}

/// An ONNX file that multiplies its input by a matrix of ones.
fn product() -> Result<Vec<u8>, TensorError> {
    let port = |name: &str| {
        let size = Dimension {
            value: Some(dimension::Value::DimValue(SIZE as i64)),
            ..Dimension::default()
        };
        let tensor = type_proto::Tensor {
            elem_type: DataType::Float as i32,
            shape: Some(TensorShapeProto {
                dim: vec![size.clone(), size],
            }),
        };
        ValueInfoProto {
            name: name.to_owned(),
            r#type: Some(TypeProto {
                value: Some(Value::TensorType(tensor)),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        }
    };
    let ones = Tensor::from_f32(&[SIZE, SIZE], vec![1.0; SIZE * SIZE])?;
    let graph = GraphProto {
        name: "probe".to_owned(),
        node: vec![NodeProto {
            op_type: "MatMul".to_owned(),
            input: vec!["x".to_owned(), "ones".to_owned()],
            output: vec!["y".to_owned()],
            ..NodeProto::default()
        }],
        initializer: vec![to_proto("ones", &ones)],
        input: vec![port("x")],
        output: vec![port("y")],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto {
            version: OPSET,
            ..OperatorSetIdProto::default()
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}
