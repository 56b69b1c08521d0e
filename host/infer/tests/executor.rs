#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Models that share the pool: one is slow.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{arithmetic, file, node, value, weight};
use hotshoe_infer::{
    BackendChoice, Batching, ErrorKind, Model, ModelOptions, Models, Options, RunError, Tensor,
};
use hotshoe_trust::Digest;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataType;

const SIZE: usize = 256;

/// `y` is `x` times a matrix of `SIZE` x `SIZE`, so many times over.
fn products(times: usize) -> Vec<u8> {
    let names: Vec<String> = (1..times).map(|at| format!("x{at}")).collect();
    let from = std::iter::once("x").chain(names.iter().map(String::as_str));
    let to = names.iter().map(String::as_str).chain(["y"]);
    let size = SIZE as i64;
    file(GraphProto {
        name: "products".to_owned(),
        input: vec![value("x", DataType::Float, &[-1, size])],
        output: vec![value("y", DataType::Float, &[-1, size])],
        initializer: vec![weight("w", &[size, size], &vec![1e-3; SIZE * SIZE])],
        node: from
            .zip(to)
            .map(|(from, to)| node("MatMul", &[from, "w"], to))
            .collect(),
        ..GraphProto::default()
    })
}

fn load(models: &Models, bytes: &[u8]) -> Arc<Model> {
    let options = ModelOptions {
        backend: BackendChoice::Tract,
        ..ModelOptions::default()
    };
    models.load(Digest::of(bytes), bytes, &options).unwrap()
}

fn pool(pool: usize) -> Models {
    Models::new(Options {
        pool,
        ..Options::default()
    })
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[track_caller]
fn until(mut event: impl FnMut() -> bool) {
    let limit = far();
    while !event() {
        assert!(Instant::now() < limit, "it never happened");
        thread::yield_now();
    }
}

#[test]
fn a_slow_model_leaves_the_other_able_to_run() {
    let models = pool(2);
    let (slow, fast) = (load(&models, &products(50)), load(&models, &arithmetic()));
    let x = Tensor::from_f32(&[64, SIZE], vec![1.0; 64 * SIZE]).unwrap();
    let (rows, y) = (
        Tensor::from_f32(&[1, 2], vec![1.0, 2.0]).unwrap(),
        Tensor::from_f32(&[2], vec![10.0, 20.0]).unwrap(),
    );
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::SeqCst) {
                    slow.run_by(&[("x", &x)], Some(far())).unwrap();
                }
            });
        }
        until(|| slow.usage().waiting == 3);
        for deadline in [None, Some(far())].into_iter().cycle().take(100) {
            let outputs = fast.run_by(&[("x", &rows), ("y", &y)], deadline).unwrap();
            assert_eq!(outputs[0].1.as_f32().unwrap(), [11.0, 22.0]);
            assert!(slow.usage().in_flight <= 1, "{:?}", slow.usage());
        }
        enough.store(true, Ordering::SeqCst);
    });
    let usage = slow.usage();
    assert_eq!((usage.in_flight, usage.waiting, usage.failed), (0, 0, 0));
    assert_eq!((fast.usage().runs, fast.batching()), (100, Batching::Off));
}

#[test]
fn a_run_past_its_deadline_ends_soon_and_is_counted() {
    let models = pool(1);
    let slow = load(&models, &products(800));
    let x = Tensor::from_f32(&[1024, SIZE], vec![1.0; 1024 * SIZE]).unwrap();
    slow.prepare(&[("x", &[1024, SIZE])]).unwrap();
    // 100 billion operations: no core does that in this time.
    let soon = Instant::now() + Duration::from_millis(200);
    let error = slow.run_by(&[("x", &x)], Some(soon)).unwrap_err();
    assert!(matches!(error, RunError::Deadline), "{error}");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let usage = slow.usage();
    assert_eq!(usage.abandoned + usage.expired, 1, "{usage:?}");
    until(|| slow.usage().in_flight == 0);
    let late = slow.run_by(&[("x", &x)], Some(Instant::now()));
    assert!(matches!(late, Err(RunError::Deadline)));
    assert_eq!(slow.usage().expired, usage.expired + 1, "never begun");
}
