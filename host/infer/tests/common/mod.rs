//! Tiny models, encoded in the test itself.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod choice;
pub(crate) mod refused;

use std::path::PathBuf;

use hotshoe_devkit::Extra;
use hotshoe_infer::{Backend, BackendChoice, Options};
use hotshoe_tests::extra;
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Size};
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

/// A named value; a negative size is open.
pub(crate) fn value(name: &str, element_type: DataType, shape: &[i64]) -> ValueInfoProto {
    let dim = shape.iter().enumerate().map(|(at, &size)| Dimension {
        value: Some(if size < 0 {
            Size::DimParam(format!("{name}_{at}"))
        } else {
            Size::DimValue(size)
        }),
        ..Dimension::default()
    });
    let shape = TensorShapeProto { dim: dim.collect() };
    let tensor = Tensor {
        elem_type: element_type as i32,
        shape: Some(shape),
    };
    let r#type = Some(TypeProto {
        value: Some(Value::TensorType(tensor)),
        ..TypeProto::default()
    });
    ValueInfoProto {
        name: name.to_owned(),
        r#type,
        ..ValueInfoProto::default()
    }
}

pub(crate) fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        name: format!("make_{output}"),
        op_type: operator.to_owned(),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

pub(crate) fn weight(name: &str, shape: &[i64], elements: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: shape.to_vec(),
        data_type: DataType::Float as i32,
        float_data: elements.to_vec(),
        ..TensorProto::default()
    }
}

pub(crate) fn file(graph: GraphProto) -> Vec<u8> {
    let model = ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: 13,
        }],
        metadata_props: vec![StringStringEntryProto {
            key: "labels".to_owned(),
            value: "good\nbad".to_owned(),
        }],
        graph: Some(graph),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// `sum = x + y`, `positive = Relu(x - 1)`; `x` is `[?, 2]`, `y` is `[2]` of f32.
pub(crate) fn arithmetic() -> Vec<u8> {
    file(GraphProto {
        name: "arithmetic".to_owned(),
        input: vec![
            value("x", DataType::Float, &[-1, 2]),
            value("y", DataType::Float, &[2]),
        ],
        output: vec![
            value("sum", DataType::Float, &[-1, 2]),
            value("positive", DataType::Float, &[-1, 2]),
        ],
        initializer: vec![weight("one", &[1], &[1.0])],
        node: vec![
            node("Add", &["x", "y"], "sum"),
            node("Sub", &["x", "one"], "less"),
            node("Relu", &["less"], "positive"),
        ],
        ..GraphProto::default()
    })
}

pub(crate) fn integer(name: &str, number: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: number,
        r#type: AttributeType::Int as i32,
        ..AttributeProto::default()
    }
}

/// ONNX Runtime's library, where there is one.
pub(crate) fn library() -> Option<PathBuf> {
    extra(Extra::OnnxRuntime)
}

/// How a model is loaded for this backend, if it is there.
pub(crate) fn on(backend: Backend) -> Option<(BackendChoice, Options)> {
    let mut options = Options::default();
    match backend {
        Backend::Tract => Some((BackendChoice::Tract, options)),
        Backend::Ort => {
            options.ort.library = Some(library()?);
            Some((BackendChoice::Ort, options))
        }
    }
}
