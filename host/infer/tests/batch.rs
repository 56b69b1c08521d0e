#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Runs in batches give what they give alone.

mod common;

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{file, node, value, weight};
use hotshoe_infer::{BackendChoice, Batching, Model, ModelOptions, Models, Tensor};
use hotshoe_tests::{Need, root, skip};
use hotshoe_trust::Digest;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataType;

fn load(bytes: &[u8], max_batch: usize) -> Arc<Model> {
    let options = ModelOptions {
        backend: BackendChoice::Tract,
        max_batch,
        max_wait: Duration::from_millis(20),
        ..ModelOptions::default()
    };
    Models::default()
        .load(Digest::of(bytes), bytes, &options)
        .unwrap()
}

/// `sum = x + y`, `positive = Relu(x - 1)`; both inputs are `[?, 3]` of f32.
fn arithmetic() -> Vec<u8> {
    file(GraphProto {
        name: "arithmetic".to_owned(),
        input: vec![
            value("x", DataType::Float, &[-1, 3]),
            value("y", DataType::Float, &[-1, 3]),
        ],
        output: vec![
            value("sum", DataType::Float, &[-1, 3]),
            value("positive", DataType::Float, &[-1, 3]),
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

/// Runs all at once, each from a thread of its own.
fn at_once(model: &Model, runs: &[Vec<(&str, Tensor)>]) -> Vec<Vec<(String, Tensor)>> {
    let deadline = Some(Instant::now() + Duration::from_secs(120));
    thread::scope(|scope| {
        let callers: Vec<_> = runs
            .iter()
            .map(|run| scope.spawn(move || model.run_by(&by_reference(run), deadline).unwrap()))
            .collect();
        callers.into_iter().map(|c| c.join().unwrap()).collect()
    })
}

fn by_reference<'a>(run: &'a [(&'a str, Tensor)]) -> Vec<(&'a str, &'a Tensor)> {
    run.iter().map(|(name, tensor)| (*name, tensor)).collect()
}

#[track_caller]
fn assert_same(got: &[(String, Tensor)], want: &[(String, Tensor)]) {
    assert_eq!(got.len(), want.len());
    for ((name, got), (wanted, want)) in got.iter().zip(want) {
        assert_eq!((name, got.shape()), (wanted, want.shape()));
        let pairs = got.as_f32().unwrap().iter().zip(want.as_f32().unwrap());
        for (got, want) in pairs {
            assert!(
                (got - want).abs() <= 1e-5 * want.abs().max(1.0),
                "{got} {want}"
            );
        }
    }
}

/// The rows of `x` and `y` of some runs.
fn runs() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let row = (1..4_usize).prop_flat_map(|rows| prop::collection::vec(-9.0..9.0_f32, rows * 6));
    prop::collection::vec(row, 1..12)
}

#[test]
fn batches_of_arithmetic_give_what_single_runs_give() {
    let (batched, single) = (load(&arithmetic(), 5), load(&arithmetic(), 1));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&runs(), |runs| {
        let runs: Vec<Vec<(&str, Tensor)>> = runs
            .iter()
            .map(|values| {
                let (x, y) = values.split_at(values.len() / 2);
                let tensor = |v: &[f32]| Tensor::from_f32(&[v.len() / 3, 3], v.to_vec()).unwrap();
                vec![("x", tensor(x)), ("y", tensor(y))]
            })
            .collect();
        for (run, got) in runs.iter().zip(at_once(&batched, &runs)) {
            assert_same(&got, &single.run(&by_reference(run)).unwrap());
        }
        Ok(())
    });
    outcome.unwrap();
    let usage = batched.usage();
    assert_eq!(batched.batching(), Batching::On);
    assert_eq!((usage.failed, usage.in_flight, usage.waiting), (0, 0, 0));
    assert!(
        usage.batches > 0 && usage.runs == single.usage().runs,
        "{usage:?}"
    );
    assert_eq!(single.usage().batches, 0);
}

#[test]
fn batches_of_the_angle_classifier_give_what_single_runs_give() {
    let path = root().join("target/fixtures/models/classify-angle.onnx");
    let Ok(bytes) = std::fs::read(&path) else {
        let reason = format!("there is no {}; `cargo demo` fetches it", path.display());
        return skip(Need::Fixtures, &reason);
    };
    let (batched, single) = (load(&bytes, 4), load(&bytes, 1));
    let runs: Vec<Vec<(&str, Tensor)>> = (0..8)
        .map(|seed| {
            let value = |i: usize| ((i * (seed + 7) + i / 192 * 13) % 101) as f32 / 50.0 - 1.0;
            let picture = (0..3 * 48 * 192).map(value).collect();
            vec![("x", Tensor::from_f32(&[1, 3, 48, 192], picture).unwrap())]
        })
        .collect();
    for _ in 0..3 {
        for (run, got) in runs.iter().zip(at_once(&batched, &runs)) {
            assert_same(&got, &single.run(&by_reference(run)).unwrap());
        }
    }
    assert_eq!(batched.batching(), Batching::On);
    assert!(batched.usage().batches > 0, "{:?}", batched.usage());
}
