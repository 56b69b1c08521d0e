#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Names that stand for two tensors, weights that tract leaves out, and files beside the model.

mod common;

use std::path::Path;

use common::choice::{load, with_library};
use common::refused::{body, changed, graph, near, of, refused, set, text, with, x};
use common::{file, integer, library, node, value, weight};
use hotshoe_infer::fold::fold;
use hotshoe_infer::inspect::InputShapes;
use hotshoe_infer::{BackendChoice, LoadError, Options, RunError};
use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, SparseTensorProto, StringStringEntryProto, TensorProto,
};

#[test]
fn a_name_stands_for_one_tensor() {
    let twice = graph(vec![
        node("Neg", &["x"], "t"),
        node("Relu", &["t"], "y"),
        node("Abs", &["x"], "t"),
    ]);
    assert!(refused(&file(twice)).error.contains("\"t\""));
    // Over an input, over a weight, and over what is outside a branch.
    refused(&file(graph(vec![
        node("Neg", &["x"], "x"),
        node("Relu", &["x"], "y"),
    ])));
    let mut over_weight = graph(vec![
        node("Neg", &["x"], "w"),
        node("Add", &["x", "w"], "y"),
    ]);
    over_weight.initializer = vec![weight("w", &[1], &[10.0])];
    refused(&file(over_weight));
    let mut weights = graph(vec![node("Add", &["x", "w"], "y")]);
    weights.initializer = vec![weight("w", &[1], &[10.0]), weight("w", &[1], &[20.0])];
    refused(&file(weights));
    let mut inputs = graph(vec![node("Neg", &["x"], "y")]);
    inputs.input.push(value("x", DataType::Float, &[2, 2]));
    refused(&file(inputs));
    let branch = |name: &str| {
        body(
            name,
            GraphProto {
                name: name.to_owned(),
                output: vec![value("z", DataType::Float, &[2, 2])],
                node: vec![node("Neg", &["t"], "z"), node("Abs", &["x"], "t")],
                ..GraphProto::default()
            },
        )
    };
    let mut shadows = graph(vec![
        node("Neg", &["x"], "t"),
        with(
            node("If", &["yes"], "y"),
            vec![branch("then_branch"), branch("else_branch")],
        ),
    ]);
    shadows.initializer = vec![TensorProto {
        name: "yes".to_owned(),
        data_type: DataType::Bool as i32,
        int32_data: vec![1],
        ..TensorProto::default()
    }];
    refused(&file(shadows));
}

#[test]
fn weights_that_tract_leaves_out_are_not_left_out() {
    let mut sparse = graph(vec![node("Add", &["x", "w"], "y")]);
    sparse.sparse_initializer = vec![SparseTensorProto {
        values: Some(weight("w", &[1], &[10.0])),
        indices: Some(TensorProto {
            dims: vec![1],
            data_type: DataType::Int64 as i32,
            int64_data: vec![1],
            ..TensorProto::default()
        }),
        dims: vec![2],
    }];
    near(&refused(&file(sparse)), &[0.0, 11.0, 2.0, 14.0]);
}

#[test]
fn an_input_that_is_left_out_does_not_move_the_others() {
    let left_out = graph(vec![node("Where", &["", "x", "x", "x"], "y")]);
    let error = refused(&file(left_out)).error;
    assert!(error.contains("omitted"), "{error}");
}

#[test]
fn other_files_are_not_read_whatever_names_them() {
    let outside = |location: &str| TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: vec![StringStringEntryProto {
            key: "location".to_owned(),
            value: location.to_owned(),
        }],
        ..weight("w", &[1], &[])
    };
    for location in ["weights.bin", "../weights.bin", "/etc/hostname"] {
        let mut plain = graph(vec![node("Add", &["x", "w"], "y")]);
        plain.initializer = vec![outside(location)];
        let constant = AttributeProto {
            name: "sparse_value".to_owned(),
            r#type: AttributeType::SparseTensor as i32,
            sparse_tensor: Some(SparseTensorProto {
                values: Some(outside(location)),
                ..SparseTensorProto::default()
            }),
            ..AttributeProto::default()
        };
        let sparse = graph(vec![
            with(node("Constant", &[], "w"), vec![constant]),
            node("Add", &["x", "w"], "y"),
        ]);
        let context = with(
            of("com.microsoft", node("EPContext", &["x"], "y")),
            vec![integer("embed_mode", 0), text("ep_cache_context", location)],
        );
        for graph in [plain, sparse, graph(vec![context])] {
            let bytes = file(graph);
            for choice in [
                BackendChoice::Tract,
                BackendChoice::Ort,
                BackendChoice::Auto,
            ] {
                let options = library().map_or_else(Options::default, with_library);
                let error = load(&bytes, choice, options).unwrap_err();
                assert!(matches!(error, LoadError::External { .. }), "{error:?}");
            }
        }
    }
}

/// An output of another type than the file says would be read as that.
#[test]
fn an_output_is_of_the_type_that_the_file_says() {
    let bytes = file(GraphProto {
        output: vec![value("y", DataType::Int64, &[2, 2])],
        ..graph(vec![node("Neg", &["x"], "y")])
    });
    let given = x();
    match load(&bytes, BackendChoice::Tract, Options::default()) {
        Ok(model) => {
            let error = model.run(&[("x", &given)]).unwrap_err();
            assert!(matches!(error, RunError::Failed { .. }), "{error:?}");
        }
        Err(error) => assert!(matches!(error, LoadError::Tract { .. }), "{error}"),
    }
}

/// What is computed once and for all must not be what tract took for an operator of its own.
#[test]
fn nothing_is_computed_by_an_operator_of_that_name() {
    let mut graph = graph(vec![
        of("com.acme", node("Neg", &["w"], "t")),
        of("com.acme", node("Identity", &["t"], "u")),
        node("Add", &["x", "u"], "y"),
    ]);
    graph.initializer = vec![weight("w", &[1], &[10.0])];
    let bytes = changed(graph, |model| model.opset_import.push(set("com.acme", 1)));
    let folded = fold(&bytes, &InputShapes::new()).unwrap();
    assert_eq!((folded.computed, folded.passed_through), (0, 0));
    let after = ModelProto::decode(folded.bytes.as_slice()).unwrap();
    let after = after.graph.unwrap();
    let kept: Vec<_> = after.node.iter().map(|it| it.op_type.as_str()).collect();
    assert_eq!(kept, ["Neg", "Identity", "Add"]);
}

/// There is one way to tract for whole files, and it looks at them first.
#[test]
fn nothing_else_hands_files_to_tract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut users) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let (code, _) = source.split_once("#[cfg(test)]").unwrap_or((&source, ""));
            if code.contains("tract_onnx::onnx()") {
                users.push(path.strip_prefix(&root).unwrap().display().to_string());
            }
        }
    }
    users.sort();
    // The second reads single tensors, which have no operators.
    assert_eq!(users, ["inspect/tensors.rs", "tract/semantics.rs"]);
}
