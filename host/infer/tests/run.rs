#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Running a tiny model: results, plans, threads, and each error.

mod common;

use std::sync::{Arc, Barrier};

use common::{arithmetic, file, node, value};
use hotshoe_infer::{
    ElementType, ErrorKind, Model, ModelOptions, Models, Options, RunError, Stats, Tensor,
    TensorInfo,
};
use hotshoe_trust::Digest;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataType;

fn load(bytes: &[u8], options: Options) -> Arc<Model> {
    Models::new(options)
        .load(Digest::of(bytes), bytes, &ModelOptions::default())
        .unwrap()
}

fn model() -> Arc<Model> {
    load(&arithmetic(), Options::default())
}

fn f32s(shape: &[usize], elements: &[f32]) -> Tensor {
    Tensor::from_f32(shape, elements.to_vec()).unwrap()
}

fn rows(n: usize) -> Tensor {
    f32s(&[n, 2], &(0..2 * n).map(|i| i as f32).collect::<Vec<_>>())
}

#[test]
fn a_run_gives_every_output_by_name() {
    let (x, y) = (
        f32s(&[2, 2], &[0.0, 1.0, 2.0, 3.0]),
        f32s(&[2], &[10.0, 20.0]),
    );
    let outputs = model().run(&[("y", &y), ("x", &x)]).unwrap();
    let names: Vec<&str> = outputs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["sum", "positive"]);
    assert_eq!(outputs[0].1.as_f32().unwrap(), [10.0, 21.0, 12.0, 23.0]);
    assert_eq!(outputs[1].1.as_f32().unwrap(), [0.0, 0.0, 1.0, 2.0]);
    assert_eq!(outputs[1].1.shape(), [2, 2]);
    assert_eq!(
        x.as_f32().unwrap(),
        [0.0, 1.0, 2.0, 3.0],
        "inputs stay as they are"
    );
}

#[test]
fn a_model_describes_itself() {
    let model = model();
    let info = |name: &str, shape: &[Option<usize>]| TensorInfo {
        name: name.to_owned(),
        element_type: ElementType::F32,
        shape: shape.to_vec(),
    };
    assert_eq!(
        model.inputs(),
        [info("x", &[None, Some(2)]), info("y", &[Some(2)])]
    );
    assert_eq!(
        model.outputs(),
        [
            info("sum", &[None, Some(2)]),
            info("positive", &[None, Some(2)])
        ]
    );
    assert_eq!(model.metadata("labels"), Some("good\nbad"));
    assert_eq!(model.metadata("other"), None);
    assert_eq!(model.digest(), Digest::of(&arithmetic()));
}

#[test]
fn names_types_and_shapes_are_checked() {
    let model = model();
    let (x, y) = (rows(1), f32s(&[2], &[0.0; 2]));
    let error = model.run(&[("z", &x)]).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().contains("\"x\", \"y\"")),
        (ErrorKind::NotFound, true),
        "{error}"
    );
    assert!(matches!(model.run(&[("x", &x)]), Err(RunError::MissingInput { name }) if name == "y"));
    assert!(
        matches!(model.run(&[("x", &x), ("x", &x)]), Err(RunError::RepeatedInput { name }) if name == "x")
    );
    let bytes = Tensor::from_u8(&[1, 2], vec![0, 1]).unwrap();
    let error = model.run(&[("x", &bytes), ("y", &y)]).unwrap_err();
    assert!(matches!(
        error,
        RunError::WrongType {
            want: ElementType::F32,
            got: ElementType::U8,
            ..
        }
    ));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    for shape in [&[2][..], &[1, 1], &[1, 2, 1], &[0, 2]] {
        let wrong = f32s(shape, &vec![0.0; shape.iter().product()]);
        let error = model.run(&[("x", &wrong), ("y", &y)]).unwrap_err();
        assert!(
            matches!(error, RunError::WrongShape { .. }),
            "{shape:?}: {error}"
        );
        assert!(error.to_string().contains("[?, 2]"), "{error}");
    }
    assert_eq!(model.stats(), Stats::default(), "nothing was compiled");
}

#[test]
fn the_last_used_plans_are_kept() {
    let model = load(
        &arithmetic(),
        Options {
            plans: 2,
            ..Options::default()
        },
    );
    let y = f32s(&[2], &[0.0; 2]);
    let run = |n| drop(model.run(&[("x", &rows(n)), ("y", &y)]).unwrap());
    [1, 2, 1, 3, 1, 2].into_iter().for_each(run); // 3 drops 2, then 2 drops 3
    assert_eq!(
        model.stats(),
        Stats {
            hits: 2,
            misses: 4,
            evictions: 2,
            plans: 2
        }
    );
    model.prepare(&[("x", &[1, 2]), ("y", &[2])]).unwrap();
    assert_eq!(model.stats().hits, 3);
}

#[test]
fn plans_are_made_like_those_of_another_model() {
    let (old, new) = (model(), model());
    assert_eq!(new.prepare_like(&old), 0);
    let y = f32s(&[2], &[0.0; 2]);
    for n in [1, 3] {
        old.run(&[("x", &rows(n)), ("y", &y)]).unwrap();
    }
    assert_eq!(new.prepare_like(&old), 2);
    new.run(&[("x", &rows(3)), ("y", &y)]).unwrap();
    let stats = new.stats();
    assert_eq!((stats.hits, stats.misses, stats.plans), (1, 2, 2));
}

#[test]
fn threads_share_one_plan() {
    let (model, barrier) = (model(), Barrier::new(4));
    let y = f32s(&[2], &[1.0; 2]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..50 {
                    let outputs = model.run(&[("x", &rows(3)), ("y", &y)]).unwrap();
                    assert_eq!(
                        outputs[0].1.as_f32().unwrap(),
                        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
                    );
                }
            });
        }
    });
    assert_eq!(
        model.stats(),
        Stats {
            hits: 199,
            misses: 1,
            evictions: 0,
            plans: 1
        }
    );
}

#[test]
fn large_tensors_are_refused_before_they_exist() {
    let model = load(
        &arithmetic(),
        Options {
            max_tensor_bytes: 64,
            ..Options::default()
        },
    );
    let y = f32s(&[2], &[0.0; 2]);
    assert!(model.run(&[("x", &rows(8)), ("y", &y)]).is_ok());
    let error = model.run(&[("x", &rows(9)), ("y", &y)]).unwrap_err();
    assert!(
        matches!(
            error,
            RunError::TooLarge {
                bytes: 72,
                limit: 64,
                ..
            }
        ),
        "{error}"
    );

    // Here only a tensor inside is too large: 8 x 1 times 1 x 8.
    let outer = load(
        &file(GraphProto {
            name: "outer".to_owned(),
            input: vec![
                value("a", DataType::Float, &[-1, 1]),
                value("b", DataType::Float, &[1, -1]),
            ],
            output: vec![value("product", DataType::Float, &[-1, -1])],
            node: vec![node("MatMul", &["a", "b"], "product")],
            ..GraphProto::default()
        }),
        Options {
            max_tensor_bytes: 64,
            ..Options::default()
        },
    );
    let (a, b) = (f32s(&[8, 1], &[1.0; 8]), f32s(&[1, 8], &[1.0; 8]));
    let error = outer.run(&[("a", &a), ("b", &b)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert_eq!(outer.stats().plans, 0);
}

#[test]
fn shapes_that_the_layers_refuse_are_an_error_each_time() {
    let matmul = load(
        &file(GraphProto {
            name: "matmul".to_owned(),
            input: vec![
                value("a", DataType::Float, &[-1, -1]),
                value("b", DataType::Float, &[-1, -1]),
            ],
            output: vec![value("c", DataType::Float, &[-1, -1])],
            node: vec![node("MatMul", &["a", "b"], "c")],
            ..GraphProto::default()
        }),
        Options::default(),
    );
    let (a, b) = (f32s(&[2, 3], &[1.0; 6]), f32s(&[2, 2], &[1.0; 4]));
    for _ in 0..2 {
        let error = matmul.run(&[("a", &a), ("b", &b)]).unwrap_err();
        assert!(matches!(error, RunError::Plan { .. }), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(
        matmul.run(&[("a", &b), ("b", &a)]).unwrap()[0].1.shape(),
        [2, 3]
    );
}
