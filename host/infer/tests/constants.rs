#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Inputs whose values tract needs to know before it can compile a plan.

mod common;

use std::sync::Arc;

use common::{file, node, on, value};
use hotshoe_infer::{Backend, Model, ModelOptions, Models, Tensor};
use hotshoe_trust::Digest;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto};

fn on_tract(graph: GraphProto) -> Arc<Model> {
    let bytes = file(graph);
    let (backend, options) = on(Backend::Tract).unwrap();
    let how = ModelOptions {
        backend,
        ..ModelOptions::default()
    };
    let model = Models::new(options).load(Digest::of(&bytes), &bytes, &how);
    model.unwrap()
}

#[test]
fn an_axis_may_be_an_input() {
    let mut squeeze = node("ReduceSum", &["x", "axes"], "sum");
    squeeze.attribute = vec![common::integer("keepdims", 0)];
    let model = on_tract(GraphProto {
        name: "sums".to_owned(),
        input: vec![
            value("x", DataType::Float, &[2, 2]),
            value("axes", DataType::Int64, &[1]),
        ],
        output: vec![value("sum", DataType::Float, &[-1])],
        node: vec![squeeze],
        ..GraphProto::default()
    });
    let x = Tensor::from_f32(&[2, 2], vec![1.0, 2.0, 10.0, 20.0]).unwrap();
    for _ in 0..2 {
        for (axis, want) in [(0, [11.0, 22.0]), (1, [3.0, 30.0])] {
            let axes = Tensor::from_i64(&[1], vec![axis]).unwrap();
            let outputs = model.run(&[("x", &x), ("axes", &axes)]).unwrap();
            assert_eq!(outputs[0].1.as_f32().unwrap(), want);
        }
    }
    assert_eq!(model.stats().plans, 2, "one for each axis");
    assert_eq!(model.stats().hits, 2);
}

fn branch(operator: &str, name: &str) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Graph as i32,
        g: Some(GraphProto {
            name: name.to_owned(),
            output: vec![value(name, DataType::Float, &[2])],
            node: vec![node(operator, &["x"], name)],
            ..GraphProto::default()
        }),
        ..AttributeProto::default()
    }
}

#[test]
fn a_branch_on_a_counter_does_not_compile_for_ever() {
    let mut choose = node("If", &["low"], "y");
    choose.attribute = vec![
        branch("Neg", "then_branch"),
        branch("Identity", "else_branch"),
    ];
    let model = on_tract(GraphProto {
        name: "counts".to_owned(),
        input: vec![
            value("x", DataType::Float, &[2]),
            value("counter", DataType::Int64, &[]),
            value("limit", DataType::Int64, &[]),
        ],
        output: vec![value("y", DataType::Float, &[2])],
        node: vec![node("Less", &["counter", "limit"], "low"), choose],
        ..GraphProto::default()
    });
    let x = Tensor::from_f32(&[2], vec![1.0, -2.0]).unwrap();
    let limit = Tensor::from_i64(&[], vec![10]).unwrap();
    for count in 0..30 {
        let counter = Tensor::from_i64(&[], vec![count]).unwrap();
        let inputs = [("x", &x), ("counter", &counter), ("limit", &limit)];
        let outputs = model.run(&inputs).unwrap();
        let want = if count < 10 { [-1.0, 2.0] } else { [1.0, -2.0] };
        assert_eq!(outputs[0].1.as_f32().unwrap(), want, "{count}");
    }
    assert_eq!(model.stats().misses, 9, "eight values, then any");
}
