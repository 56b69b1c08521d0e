#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Large rows of one run are run one by one, and give what they give alone.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{file, node, on, value, weight};
use hotshoe_infer::{Backend, Model, ModelOptions, Models, Tensor};
use hotshoe_trust::Digest;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataType;

/// Elements of a large row: 80,000 bytes.
const LARGE: usize = 20_000;
/// Elements of a small row: 80 bytes.
const SMALL: usize = 20;
const ROWS: usize = 5;

/// `y = Relu(x - 1)` for rows of `width` elements.
fn arithmetic(width: usize) -> Vec<u8> {
    let width = i64::try_from(width).unwrap();
    file(GraphProto {
        name: "arithmetic".to_owned(),
        input: vec![value("x", DataType::Float, &[-1, width])],
        output: vec![value("y", DataType::Float, &[-1, width])],
        initializer: vec![weight("one", &[1], &[1.0])],
        node: vec![
            node("Sub", &["x", "one"], "less"),
            node("Relu", &["less"], "y"),
        ],
        ..GraphProto::default()
    })
}

/// On each backend, with one thread and with several.
fn loaded(bytes: &[u8], max_batch: usize) -> Vec<(String, Arc<Model>)> {
    let mut all = Vec::new();
    for backend in [Backend::Tract, Backend::Ort] {
        for threads in [1, 2, 3] {
            let Some((choice, options)) = on(backend) else {
                continue;
            };
            let how = ModelOptions {
                backend: choice,
                threads,
                max_batch,
                ..ModelOptions::default()
            };
            let model = Models::new(options).load(Digest::of(bytes), bytes, &how);
            all.push((format!("{backend}, {threads} threads"), model.unwrap()));
        }
    }
    all
}

fn row(number: usize, width: usize) -> Vec<f32> {
    (0..width)
        .map(|at| ((number * 31 + at) % 7) as f32)
        .collect()
}

/// The output of one run of [`ROWS`] rows.
fn together(model: &Model, width: usize) -> Tensor {
    let elements: Vec<f32> = (0..ROWS).flat_map(|number| row(number, width)).collect();
    let input = Tensor::from_f32(&[ROWS, width], elements).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut outputs = model.run_by(&[("x", &input)], Some(deadline)).unwrap();
    outputs.remove(0).1
}

fn expected(width: usize) -> Vec<f32> {
    let less = |value: f32| (value - 1.0).max(0.0);
    (0..ROWS)
        .flat_map(|number| row(number, width))
        .map(less)
        .collect()
}

#[test]
fn large_rows_give_what_they_give_alone_in_one_plan() {
    for (name, model) in loaded(&arithmetic(LARGE), 1) {
        let output = together(&model, LARGE);
        assert_eq!(output.shape(), [ROWS, LARGE], "{name}");
        assert_eq!(output.as_f32().unwrap(), expected(LARGE), "{name}");
        // A row alone has the plan already.
        let plans = model.stats().plans;
        let alone = Tensor::from_f32(&[1, LARGE], row(2, LARGE)).unwrap();
        let outputs = model.run(&[("x", &alone)]).unwrap();
        assert_eq!(
            outputs[0].1.as_f32().unwrap(),
            &expected(LARGE)[2 * LARGE..3 * LARGE],
            "{name}"
        );
        assert_eq!((plans, model.stats().plans), (1, 1), "{name}");
        assert_eq!(model.usage().runs, 2, "{name}: rows are not runs");
    }
}

#[test]
fn small_rows_and_rows_of_a_batched_model_stay_together() {
    for (width, max_batch) in [(SMALL, 1), (LARGE, ROWS)] {
        for (name, model) in loaded(&arithmetic(width), max_batch) {
            assert_eq!(together(&model, width).as_f32().unwrap(), expected(width));
            let alone = Tensor::from_f32(&[1, width], row(0, width)).unwrap();
            model.run(&[("x", &alone)]).unwrap();
            assert_eq!(model.stats().plans, 2, "{name}, {width} elements");
        }
    }
}
