#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! What every backend does alike.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use hotshoe_infer::{
    Backend, BackendChoice, ElementType, ErrorKind, LoadError, Model, ModelOptions, Models,
    Options, RunError, Tensor,
};
use hotshoe_trust::Digest;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, TensorProto};

use common::{arithmetic, file, node, on, value, weight};

fn load(bytes: &[u8], backend: BackendChoice, options: Options) -> Result<Arc<Model>, LoadError> {
    let how = ModelOptions {
        backend,
        ..ModelOptions::default()
    };
    Models::new(options).load(Digest::of(bytes), bytes, &how)
}

/// The model on each backend that is there.
fn on_each(bytes: &[u8]) -> Vec<Arc<Model>> {
    let loaded = [Backend::Tract, Backend::Ort].into_iter().filter_map(on);
    loaded
        .map(|(choice, options)| load(bytes, choice, options).unwrap())
        .collect()
}

fn single(operator: &str, from: DataType, to: DataType) -> Vec<u8> {
    let mut only = node(operator, &["x"], "y");
    if operator == "Cast" {
        only.attribute = vec![common::integer("to", to as i64)];
    }
    file(GraphProto {
        name: "single".to_owned(),
        input: vec![value("x", from, &[-1, 2])],
        output: vec![value("y", to, &[-1, 2])],
        node: vec![only],
        ..GraphProto::default()
    })
}

const TYPES: [(DataType, ElementType); 8] = [
    (DataType::Bool, ElementType::Bool),
    (DataType::Uint8, ElementType::U8),
    (DataType::Int8, ElementType::I8),
    (DataType::Int32, ElementType::I32),
    (DataType::Int64, ElementType::I64),
    (DataType::Float16, ElementType::F16),
    (DataType::Float, ElementType::F32),
    (DataType::Double, ElementType::F64),
];

#[test]
fn every_element_type_passes_unchanged() {
    for (named, element_type) in TYPES {
        let bytes: Vec<u8> = (0..8 * element_type.size())
            .map(|i| (i % 2) as u8)
            .collect();
        let x = Tensor::from_bytes(element_type, &[4, 2], &bytes).unwrap();
        for model in on_each(&single("Identity", named, named)) {
            let y = model.run(&[("x", &x)]).unwrap().remove(0).1;
            let backend = model.backend();
            assert_eq!(y.element_type(), element_type, "{backend}");
            assert_eq!(y.shape(), [4, 2], "{element_type} on {backend}");
            assert_eq!(y.bytes(), bytes, "{element_type} on {backend}");
        }
    }
}

#[test]
fn every_element_type_is_cast_alike() {
    let x = Tensor::from_f32(&[1, 2], vec![0.0, 1.0]).unwrap();
    for (named, element_type) in TYPES {
        let bits: &[u8] = match element_type {
            ElementType::Bool | ElementType::U8 | ElementType::I8 => &[0, 1],
            ElementType::I32 => &[0, 0, 0, 0, 1, 0, 0, 0],
            ElementType::I64 => &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            ElementType::F16 => &[0, 0, 0x00, 0x3c],
            ElementType::F32 => &[0, 0, 0, 0, 0, 0, 0x80, 0x3f],
            ElementType::F64 => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
        };
        for model in on_each(&single("Cast", DataType::Float, named)) {
            let y = model.run(&[("x", &x)]).unwrap().remove(0).1;
            assert_eq!(y.element_type(), element_type, "{}", model.backend());
            assert_eq!(y.bytes(), bits, "{element_type} on {}", model.backend());
        }
    }
}

#[test]
fn other_element_types_are_refused() {
    let strings = single("Identity", DataType::String, DataType::String);
    let long = single("Cast", DataType::Float, DataType::Uint64);
    for (bytes, word) in [(strings, "STRING"), (long, "UINT64")] {
        for (choice, options) in [Backend::Tract, Backend::Ort].into_iter().filter_map(on) {
            let error = load(&bytes, choice, options).unwrap_err();
            assert!(matches!(error, LoadError::Tensor { .. }), "{error}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}

#[test]
fn scalars_and_empty_batches_of_rows_pass() {
    let bytes = file(GraphProto {
        name: "scalar".to_owned(),
        input: vec![value("x", DataType::Float, &[])],
        output: vec![value("y", DataType::Float, &[])],
        node: vec![node("Neg", &["x"], "y")],
        ..GraphProto::default()
    });
    let x = Tensor::from_f32(&[], vec![2.0]).unwrap();
    for model in on_each(&bytes) {
        let y = model.run(&[("x", &x)]).unwrap().remove(0).1;
        assert_eq!(y.shape(), [0_usize; 0], "{}", model.backend());
        assert_eq!(y.as_f32().unwrap(), [-2.0], "{}", model.backend());
    }
}

fn bytes_weight(name: &str, kind: DataType, shape: &[i64], elements: &[i32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: shape.to_vec(),
        data_type: kind as i32,
        int32_data: elements.to_vec(),
        ..TensorProto::default()
    }
}

/// `x` to 8 bits, times an 8-bit matrix, and back, as a quantiser writes it in its two styles.
#[test]
fn quantised_models_run_alike() {
    let x = Tensor::from_f32(&[1, 4], vec![-1.0, -0.25, 0.5, 1.0]).unwrap();
    let x8 = ("x_scale", [0.01_f32], "x_zero", 128);
    let initializer = |style: &str| {
        let mut all = vec![
            weight(x8.0, &[], &x8.1),
            bytes_weight(x8.2, DataType::Uint8, &[], &[x8.3]),
            weight("w_scale", &[], &[0.02]),
            bytes_weight("w_zero", DataType::Int8, &[], &[0]),
            bytes_weight(
                "w8",
                DataType::Int8,
                &[4, 2],
                &[50, -50, 25, 10, -100, 0, 5, 100],
            ),
        ];
        if style == "QLinear" {
            all.push(weight("y_scale", &[], &[0.04]));
            all.push(bytes_weight("y_zero", DataType::Uint8, &[], &[128]));
        }
        all
    };
    let quantise = node("QuantizeLinear", &["x", "x_scale", "x_zero"], "x8");
    let styles = [
        (
            "QDQ",
            vec![
                quantise.clone(),
                node("DequantizeLinear", &["x8", "x_scale", "x_zero"], "xf"),
                node("DequantizeLinear", &["w8", "w_scale", "w_zero"], "wf"),
                node("MatMul", &["xf", "wf"], "y"),
            ],
        ),
        (
            "QLinear",
            vec![
                quantise.clone(),
                node(
                    "QLinearMatMul",
                    &[
                        "x8", "x_scale", "x_zero", "w8", "w_scale", "w_zero", "y_scale", "y_zero",
                    ],
                    "y8",
                ),
                node("DequantizeLinear", &["y8", "y_scale", "y_zero"], "y"),
            ],
        ),
        (
            "Integer",
            vec![
                quantise,
                node("MatMulInteger", &["x8", "w8", "x_zero", "w_zero"], "y32"),
                node("Mul", &["x_scale", "w_scale"], "scale"),
                {
                    let mut cast = node("Cast", &["y32"], "yf");
                    cast.attribute = vec![common::integer("to", DataType::Float as i64)];
                    cast
                },
                node("Mul", &["yf", "scale"], "y"),
            ],
        ),
    ];
    // -1.0 * 1.0 - 0.25 * 0.5 + 0.5 * -2.0 + 1.0 * 0.1, and the other column.
    let want = [-2.025, 1.0 - 0.05 + 2.0];
    for (style, nodes) in styles {
        let bytes = file(GraphProto {
            name: style.to_owned(),
            input: vec![value("x", DataType::Float, &[-1, 4])],
            output: vec![value("y", DataType::Float, &[-1, 2])],
            initializer: initializer(style),
            node: nodes,
            ..GraphProto::default()
        });
        for model in on_each(&bytes) {
            let y = model.run(&[("x", &x)]).unwrap().remove(0).1;
            for (got, want) in y.as_f32().unwrap().iter().zip(want) {
                // One step of the coarsest scale.
                let near = (got - want).abs() <= 0.04;
                assert!(near, "{style} on {}: {got}, not {want}", model.backend());
            }
        }
    }
}

#[test]
fn quantised_convolutions_run_alike() {
    let bytes = file(GraphProto {
        name: "convolution".to_owned(),
        input: vec![value("x", DataType::Uint8, &[1, 1, -1, -1])],
        output: vec![value("y", DataType::Int32, &[1, 1, -1, -1])],
        initializer: vec![
            bytes_weight("w", DataType::Int8, &[1, 1, 2, 2], &[1, -2, 3, -4]),
            bytes_weight("x_zero", DataType::Uint8, &[], &[1]),
        ],
        node: vec![node("ConvInteger", &["x", "w", "x_zero"], "y")],
        ..GraphProto::default()
    });
    let x = Tensor::from_bytes(ElementType::U8, &[1, 1, 2, 3], &[1, 2, 3, 4, 5, 6]).unwrap();
    for model in on_each(&bytes) {
        let y = model.run(&[("x", &x)]).unwrap().remove(0).1;
        let sums: Vec<i32> = y
            .bytes()
            .chunks_exact(4)
            .map(|four| i32::from_le_bytes(four.try_into().unwrap()))
            .collect();
        // 0 - 2 * 1 + 3 * 3 - 4 * 4, and one column further.
        assert_eq!(sums, [-9, 1 - 4 + 12 - 20], "{}", model.backend());
    }
}

#[test]
fn shapes_are_remembered_up_to_a_limit() {
    for (choice, options) in [Backend::Tract, Backend::Ort].into_iter().filter_map(on) {
        let options = Options {
            plans: 2,
            ..options
        };
        let model = load(&arithmetic(), choice, options).unwrap();
        let y = Tensor::from_f32(&[2], vec![1.0, 2.0]).unwrap();
        for rows in [1, 2, 3, 3] {
            let x = Tensor::from_f32(&[rows, 2], vec![1.0; 2 * rows]).unwrap();
            model.run(&[("x", &x), ("y", &y)]).unwrap();
        }
        let stats = model.stats();
        let counts = (stats.plans, stats.misses, stats.hits, stats.evictions);
        assert_eq!(counts, (2, 3, 1, 1), "{choice}");

        let (_, options) = on(model.backend()).unwrap();
        let other = load(&arithmetic(), choice, options).unwrap();
        assert_eq!(other.prepare_like(&model), 2, "{choice}");
        assert_eq!(other.stats().plans, 2, "{choice}");
    }
}

#[test]
fn shapes_that_do_not_fit_together_are_an_error_and_break_nothing() {
    let bytes = file(GraphProto {
        name: "sum".to_owned(),
        input: vec![
            value("x", DataType::Float, &[-1]),
            value("y", DataType::Float, &[-1]),
        ],
        output: vec![value("sum", DataType::Float, &[-1])],
        node: vec![node("Add", &["x", "y"], "sum")],
        ..GraphProto::default()
    });
    let x = Tensor::from_f32(&[2], vec![0.0; 2]).unwrap();
    let y = Tensor::from_f32(&[3], vec![0.0; 3]).unwrap();
    for model in on_each(&bytes) {
        let error = model.run(&[("x", &x), ("y", &y)]).unwrap_err();
        let _ = model.run(&[("x", &x), ("y", &x)]).unwrap();
        assert!(matches!(error, RunError::Plan { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}

/// A chain of products of a square matrix with itself.
fn slow(side: usize, products: usize) -> Vec<u8> {
    let name = |at: usize| match at {
        0 => "x".to_owned(),
        last if last == products => "y".to_owned(),
        at => format!("x{at}"),
    };
    let nodes = (0..products).map(|at| node("MatMul", &[&name(at), "x"], &name(at + 1)));
    let shape = [side as i64; 2];
    file(GraphProto {
        name: "slow".to_owned(),
        input: vec![value("x", DataType::Float, &shape)],
        output: vec![value("y", DataType::Float, &shape)],
        node: nodes.collect(),
        ..GraphProto::default()
    })
}

#[test]
fn a_run_ends_at_the_operator_after_its_deadline() {
    const SIDE: usize = 1280;
    // It takes a minute.
    let bytes = slow(SIDE, 600);
    let x = Tensor::from_f32(&[SIDE, SIDE], vec![0.0; SIDE * SIDE]).unwrap();
    for model in on_each(&bytes) {
        let backend = model.backend();
        let soon = Instant::now() + Duration::from_millis(300);
        let error = model.run_by(&[("x", &x)], Some(soon)).unwrap_err();
        assert!(matches!(error, RunError::Deadline), "{backend}: {error}");
        // Far less than the whole run takes.
        let limit = Instant::now() + Duration::from_secs(20);
        while model.usage().in_flight > 0 {
            assert!(Instant::now() < limit, "{backend} still runs");
            thread::yield_now();
        }
    }
}

#[test]
fn threads_run_one_model_at_once_and_get_their_own_results() {
    for model in on_each(&arithmetic()) {
        let start = Barrier::new(4);
        thread::scope(|scope| {
            for number in 0..4_u8 {
                let (model, start) = (&model, &start);
                scope.spawn(move || {
                    let x = f32::from(number);
                    let rows = usize::from(number) + 1;
                    let tensor = Tensor::from_f32(&[rows, 2], vec![x; 2 * rows]).unwrap();
                    let y = Tensor::from_f32(&[2], vec![1.0, 2.0]).unwrap();
                    start.wait();
                    for _ in 0..200 {
                        let outputs = model.run(&[("x", &tensor), ("y", &y)]).unwrap();
                        assert_eq!(outputs[0].1.as_f32().unwrap()[..2], [x + 1.0, x + 2.0]);
                    }
                });
            }
        });
    }
}

#[test]
fn onnx_runtime_runs_a_model_once_at_a_time_unless_it_is_told_otherwise() {
    let Some((backend, options)) = on(Backend::Ort) else {
        return;
    };
    let x = Tensor::from_f32(&[512, 512], vec![0.0; 512 * 512]).unwrap();
    for max_runs in [None, Some(2)] {
        let how = ModelOptions {
            backend,
            max_runs,
            ..ModelOptions::default()
        };
        let options = Options {
            pool: 4,
            ..options.clone()
        };
        let bytes = slow(512, 40);
        let models = Models::new(options);
        let model = models.load(Digest::of(&bytes), &bytes, &how).unwrap();
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !enough.load(Ordering::SeqCst) {
                        model.run(&[("x", &x)]).unwrap();
                    }
                });
            }
            let limit = Instant::now() + Duration::from_secs(60);
            let most = max_runs.unwrap_or(1) as u64;
            let mut seen = 0;
            while seen < most || model.usage().runs < 4 {
                let running = model.usage().in_flight;
                assert!(running <= most, "{running} at once");
                seen = seen.max(running);
                assert!(Instant::now() < limit, "{seen} at once, never {most}");
                thread::yield_now();
            }
            enough.store(true, Ordering::SeqCst);
        });
    }
}

#[test]
fn several_threads_for_a_run_change_no_result() {
    let mut matrix = weight("matrix", &[256, 256], &[]);
    matrix.float_data = (0..256 * 256).map(|i| (i % 13) as f32 - 6.0).collect();
    let bytes = file(GraphProto {
        name: "product".to_owned(),
        input: vec![value("x", DataType::Float, &[-1, 256])],
        output: vec![value("y", DataType::Float, &[-1, 256])],
        initializer: vec![matrix],
        node: vec![node("MatMul", &["x", "matrix"], "y")],
        ..GraphProto::default()
    });
    let x = (0..256 * 256).map(|i| (i % 7) as f32).collect();
    let x = Tensor::from_f32(&[256, 256], x).unwrap();
    for (backend, options) in [Backend::Tract, Backend::Ort].into_iter().filter_map(on) {
        let models = Models::new(options);
        let [one, two] = [1, 2].map(|threads| {
            let how = ModelOptions {
                backend,
                threads,
                ..ModelOptions::default()
            };
            let model = models.load(Digest::of(&bytes), &bytes, &how).unwrap();
            model.run(&[("x", &x)]).unwrap().remove(0).1
        });
        assert_eq!(one.bytes(), two.bytes(), "{backend}");
    }
}

#[test]
fn weights_in_another_file_are_refused() {
    let mut outside = weight("one", &[1], &[]);
    outside.data_location = Some(1);
    let bytes = file(GraphProto {
        name: "outside".to_owned(),
        input: vec![value("x", DataType::Float, &[1])],
        output: vec![value("y", DataType::Float, &[1])],
        initializer: vec![outside],
        node: vec![node("Add", &["x", "one"], "y")],
        ..GraphProto::default()
    });
    for (choice, options) in [Backend::Tract, Backend::Ort].into_iter().filter_map(on) {
        let error = load(&bytes, choice, options).unwrap_err();
        assert!(matches!(error, LoadError::External { .. }), "{error}");
    }
}
