#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Each caller has its own rows, however many callers there are and whatever their rows are.

mod common;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use common::{file, integer, node, on, value, weight};
use hotshoe_infer::{Backend, Batching, Model, ModelOptions, Models, Tensor};
use hotshoe_trust::Digest;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

/// Callers at once, as many as a batch has rows at most.
const CALLERS: usize = 8;

fn load(bytes: &[u8], backend: Backend) -> Option<Arc<Model>> {
    let (backend, options) = on(backend)?;
    let how = ModelOptions {
        backend,
        max_batch: CALLERS,
        max_wait: Duration::from_millis(20),
        ..ModelOptions::default()
    };
    let model = Models::new(options).load(Digest::of(bytes), bytes, &how);
    Some(model.unwrap())
}

fn on_each(bytes: &[u8]) -> impl Iterator<Item = Arc<Model>> {
    let backends = [Backend::Tract, Backend::Ort];
    backends
        .into_iter()
        .filter_map(|backend| load(bytes, backend))
}

/// What each caller gets where all call at once.
fn at_once(model: &Model, inputs: &[Tensor]) -> Vec<Tensor> {
    let (together, deadline) = (
        Barrier::new(inputs.len()),
        Instant::now() + Duration::from_secs(120),
    );
    thread::scope(|scope| {
        let callers = inputs.iter().map(|x| {
            scope.spawn(|| {
                together.wait();
                let mut outputs = model.run_by(&[("x", x)], Some(deadline)).unwrap();
                outputs.remove(0).1
            })
        });
        let callers: Vec<_> = callers.collect();
        callers.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

fn list(name: &str, numbers: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![numbers.len() as i64],
        data_type: DataType::Int64 as i32,
        int64_data: numbers.to_vec(),
        ..TensorProto::default()
    }
}

fn with(mut node: NodeProto, name: &str, number: i64) -> NodeProto {
    node.attribute.push(integer(name, number));
    node
}

/// Three places with a box, a score and a class each; those of a score above one half, one below the other.
fn detector() -> Vec<u8> {
    file(GraphProto {
        name: "detector".to_owned(),
        input: vec![value("x", DataType::Float, &[-1, 3, 6])],
        output: vec![value("y", DataType::Float, &[-1, 6])],
        initializer: vec![
            weight("half", &[], &[0.5]),
            TensorProto {
                name: "score".to_owned(),
                data_type: DataType::Int64 as i32,
                int64_data: vec![4],
                ..TensorProto::default()
            },
        ],
        node: vec![
            with(node("Gather", &["x", "score"], "scores"), "axis", 2),
            node("Greater", &["scores", "half"], "high"),
            node("NonZero", &["high"], "places"),
            node("Transpose", &["places"], "indices"),
            node("GatherND", &["x", "indices"], "y"),
        ],
        ..GraphProto::default()
    })
}

/// A picture with these scores, all of its numbers its own; and its detections.
fn picture(number: usize, scores: [f32; 3]) -> (Tensor, Vec<f32>) {
    let rows = scores.iter().enumerate().map(|(place, &score)| {
        let own = (100 * number + 10 * place) as f32;
        [own, own + 1.0, own + 2.0, own + 3.0, score, own + 4.0]
    });
    let rows: Vec<[f32; 6]> = rows.collect();
    let seen: Vec<f32> = rows
        .iter()
        .filter(|row| row[4] > 0.5)
        .flatten()
        .copied()
        .collect();
    (Tensor::from_f32(&[1, 3, 6], rows.concat()).unwrap(), seen)
}

#[test]
fn a_detectors_callers_get_their_own_detections() {
    let one = |number: usize| {
        let mut scores = [0.1; 3];
        scores[number % 3] = 0.9;
        picture(number, scores)
    };
    let some = |number: usize| {
        let high = |place: usize| if number >> place & 1 == 1 { 0.9 } else { 0.1 };
        picture(number, [high(0), high(1), high(2)])
    };
    for model in on_each(&detector()) {
        // As many detections as pictures prove nothing.
        for pictures in [
            &one as &dyn Fn(usize) -> (Tensor, Vec<f32>),
            &some,
            &one,
            &some,
        ] {
            let (inputs, want): (Vec<_>, Vec<_>) = (0..CALLERS).map(pictures).unzip();
            for (got, want) in at_once(&model, &inputs).iter().zip(&want) {
                assert_eq!(got.shape(), [want.len() / 6, 6], "{}", model.backend());
                assert_eq!(got.as_f32().unwrap(), want, "{}", model.backend());
            }
        }
        let Batching::Refused(reason) = model.batching() else {
            panic!("{:?}", model.batching());
        };
        assert!(reason.contains("NonZero"), "{reason}");
        assert_eq!(model.usage().batches, 0);
    }
}

/// One output `y` of as many rows as `x`, `[N, 3]`.
fn single(weights: Vec<TensorProto>, nodes: Vec<NodeProto>) -> Vec<u8> {
    file(GraphProto {
        name: "single".to_owned(),
        input: vec![value("x", DataType::Float, &[-1, 3])],
        output: vec![value("y", DataType::Float, &[-1, -1])],
        initializer: weights,
        node: nodes,
        ..GraphProto::default()
    })
}

#[test]
fn rows_that_influence_each_other_are_not_joined() {
    let softmax = vec![with(node("Softmax", &["x"], "y"), "axis", 0)];
    let products = vec![
        node("Transpose", &["x"], "t"),
        node("MatMul", &["x", "t"], "y"),
    ];
    let sums = vec![node("CumSum", &["x", "first"], "y")];
    let best = vec![
        with(node("ReduceMax", &["x"], "m"), "keepdims", 0),
        node("Sub", &["x", "m"], "y"),
    ];
    let counted = vec![
        node("Shape", &["x"], "s"),
        with(node("Gather", &["s", "zero"], "n"), "axis", 0),
        with(node("Cast", &["n"], "f"), "to", 1),
        node("Mul", &["x", "f"], "y"),
    ];
    for nodes in [softmax, products, sums, best, counted] {
        let first = TensorProto {
            dims: Vec::new(),
            ..list("first", &[0])
        };
        let bytes = single(vec![list("zero", &[0]), first], nodes.clone());
        for model in on_each(&bytes) {
            let what = format!("{} on {}", nodes[0].op_type, model.backend());
            let of = |number: usize| {
                let own = (number + 1) as f32;
                Tensor::from_f32(&[1, 3], vec![own, -own, own * 0.5]).unwrap()
            };
            let inputs: Vec<_> = (0..CALLERS).map(of).collect();
            let alone = load(&bytes, model.backend()).unwrap();
            for (got, x) in at_once(&model, &inputs).iter().zip(&inputs) {
                let want = alone.run(&[("x", x)]).unwrap().remove(0).1;
                assert_eq!(got.shape(), want.shape(), "{what}");
                assert_eq!(got.as_f32().unwrap(), want.as_f32().unwrap(), "{what}");
            }
            assert!(matches!(model.batching(), Batching::Refused(_)), "{what}");
        }
    }
}

#[test]
fn rows_that_keep_to_themselves_are_joined() {
    let nodes = vec![
        node("MatMul", &["x", "w"], "a"),
        with(node("Softmax", &["a"], "b"), "axis", -1),
        node("Add", &["b", "one"], "y"),
    ];
    let weights = vec![
        weight("w", &[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]),
        weight("one", &[1], &[1.0]),
    ];
    for model in on_each(&single(weights, nodes)) {
        for _ in 0..3 {
            let of = |number: usize| {
                let own = number as f32;
                Tensor::from_f32(&[1, 3], vec![own, 0.0, 0.0]).unwrap()
            };
            let inputs: Vec<_> = (0..CALLERS).map(of).collect();
            for (number, got) in at_once(&model, &inputs).iter().enumerate() {
                let first = 1.0 + 1.0 / (1.0 + (-(number as f32)).exp());
                let got = got.as_f32().unwrap();
                assert!((got[0] - first).abs() < 1e-5, "{got:?} of {number}");
                assert!((got[1] - (3.0 - first)).abs() < 1e-5, "{got:?} of {number}");
            }
        }
        assert_eq!(model.batching(), Batching::On, "{}", model.backend());
        assert!(model.usage().batches > 0, "{:?}", model.usage());
    }
}
