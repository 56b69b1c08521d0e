//! Files that tract must not load on any path.

use hotshoe_infer::inspect::{InputShapes, inspect};
use hotshoe_infer::{Backend, BackendChoice, LoadError, Options, OrtOptions, Tensor};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

use super::choice::{load, with_library};
use super::{file, integer, library, node, value};

/// What is found of a file that tract must not get.
pub(crate) struct Found {
    pub error: String,
    /// What ONNX Runtime makes of the input, where it is there and takes the file.
    pub ort: Option<Vec<f32>>,
}

pub(crate) fn x() -> Tensor {
    Tensor::from_f32(&[2, 2], vec![0.0, 1.0, 2.0, 4.0]).unwrap()
}

/// Nothing that goes through tract takes the file: neither a load for it, nor an inspection, nor the automatic choice.
#[track_caller]
pub(crate) fn refused(bytes: &[u8]) -> Found {
    let error = load(bytes, BackendChoice::Tract, Options::default()).unwrap_err();
    assert!(
        matches!(
            error,
            LoadError::Operators { .. } | LoadError::Misread { .. } | LoadError::External { .. }
        ),
        "{error:?}"
    );
    let error = error.to_string();
    let seen = inspect(bytes, &InputShapes::new(), &OrtOptions::default());
    if let Ok(seen) = seen {
        let tract = &seen.backends[0];
        assert_eq!(
            (tract.backend, tract.runs),
            (Backend::Tract, false),
            "{error}"
        );
    }
    let Some(library) = library() else {
        return Found { error, ort: None };
    };
    let auto = load(bytes, BackendChoice::Auto, with_library(library.clone()));
    let alone = load(bytes, BackendChoice::Ort, with_library(library));
    assert_eq!(auto.is_ok(), alone.is_ok(), "{error}");
    let ort = auto.ok().map(|model| {
        assert_eq!(model.backends(), [Backend::Ort], "{error}");
        let given = x();
        let outputs = model.run(&[("x", &given)]).unwrap();
        outputs[0].1.as_f32().unwrap().to_vec()
    });
    Found { error, ort }
}

#[track_caller]
pub(crate) fn near(found: &Found, want: &[f32]) {
    let Some(got) = &found.ort else { return };
    assert_eq!(got.len(), want.len(), "{got:?}");
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-5, "{got} instead of {want}");
    }
}

pub(crate) fn graph(nodes: Vec<NodeProto>) -> GraphProto {
    GraphProto {
        name: "graph".to_owned(),
        input: vec![value("x", DataType::Float, &[2, 2])],
        output: vec![value("y", DataType::Float, &[2, 2])],
        node: nodes,
        ..GraphProto::default()
    }
}

pub(crate) fn changed(graph: GraphProto, change: impl FnOnce(&mut ModelProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(file(graph).as_slice()).unwrap();
    change(&mut model);
    model.encode_to_vec()
}

pub(crate) fn set(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: domain.to_owned(),
        version,
    }
}

pub(crate) fn of(domain: &str, mut node: NodeProto) -> NodeProto {
    node.domain = domain.to_owned();
    node
}

pub(crate) fn with(mut node: NodeProto, attributes: Vec<AttributeProto>) -> NodeProto {
    node.attribute = attributes;
    node
}

pub(crate) fn text(name: &str, text: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        s: text.as_bytes().to_vec(),
        r#type: AttributeType::String as i32,
        ..AttributeProto::default()
    }
}

pub(crate) fn number(name: &str, number: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        f: number,
        r#type: AttributeType::Float as i32,
        ..AttributeProto::default()
    }
}

pub(crate) fn numbers(name: &str, numbers: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        ints: numbers.to_vec(),
        r#type: AttributeType::Ints as i32,
        ..AttributeProto::default()
    }
}

pub(crate) fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        g: Some(graph),
        r#type: AttributeType::Graph as i32,
        ..AttributeProto::default()
    }
}

pub(crate) fn softmax(axis: i64) -> NodeProto {
    with(node("Softmax", &["x"], "y"), vec![integer("axis", axis)])
}
