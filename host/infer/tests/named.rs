#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Variants of a model: which one serves.

mod common;

use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use common::{arithmetic, file, node, value, weight};
use hotshoe_infer::{
    Backend, BackendChoice, ErrorKind, Fallback, Model, ModelOptions, Models, NamedModel, RunError,
    Tensor, VariantError,
};
use hotshoe_trust::Digest;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataType;

fn load(bytes: &[u8]) -> Arc<Model> {
    let options = ModelOptions {
        backend: BackendChoice::Tract,
        ..ModelOptions::default()
    };
    Models::default()
        .load(Digest::of(bytes), bytes, &options)
        .unwrap()
}

/// `y = table[x]` for `x` below `rows`; anything else fails when it runs.
fn table(rows: usize, first: f32) -> Arc<Model> {
    let elements: Vec<f32> = (0..rows).map(|row| first + row as f32).collect();
    load(&file(GraphProto {
        name: "table".to_owned(),
        input: vec![value("x", DataType::Int64, &[-1])],
        output: vec![value("y", DataType::Float, &[-1])],
        initializer: vec![weight("table", &[rows as i64], &elements)],
        node: vec![node("Gather", &["table", "x"], "y")],
        ..GraphProto::default()
    }))
}

fn named(variants: &[(&str, Arc<Model>)]) -> NamedModel {
    let variants = variants
        .iter()
        .map(|(name, model)| ((*name).to_owned(), model.clone()));
    NamedModel::new("look-up", variants.collect()).unwrap()
}

fn look_up(model: &NamedModel, x: i64) -> Result<f32, RunError> {
    let x = Tensor::from_i64(&[1], vec![x]).unwrap();
    let outputs = model.run_by(&[("x", &x)], None)?;
    Ok(outputs[0].1.as_f32().unwrap()[0])
}

#[test]
fn the_first_serves_until_it_fails_where_a_later_one_does_not() {
    let model = named(&[
        ("small", table(2, 10.0)),
        ("middle", table(3, 20.0)),
        ("large", table(9, 30.0)),
    ]);
    assert_eq!((model.name(), model.variant()), ("look-up", "small"));
    assert_eq!(look_up(&model, 1).unwrap(), 11.0);
    // What fails in all of them is the input's fault.
    let error = look_up(&model, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!((model.variant(), model.fallbacks()), ("small", vec![]));
    // So are wrong names, and they are not tried elsewhere.
    let wrong = Tensor::from_i64(&[1], vec![0]).unwrap();
    let error = model.run_by(&[("z", &wrong)], None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(model.active().usage().runs, 2);

    assert_eq!(
        look_up(&model, 5).unwrap(),
        35.0,
        "two variants are skipped"
    );
    assert_eq!(model.variant(), "large");
    let fallbacks = model.fallbacks();
    let names: Vec<&str> = fallbacks.iter().map(|f| f.variant.as_str()).collect();
    assert_eq!(names, ["small", "middle"]);
    assert!(
        fallbacks[0].cause.starts_with("the model "),
        "{fallbacks:?}"
    );
    // From then on that one, also for what the first can do.
    assert_eq!(look_up(&model, 1).unwrap(), 31.0);
    let error = look_up(&model, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    assert_eq!(model.fallbacks().len(), 2);
    let first = model.variants().next().unwrap();
    assert_eq!((first.0, first.1.usage().failed), ("small", 2));
}

#[test]
fn a_shape_that_only_a_later_variant_takes_runs_there_and_moves_nothing() {
    let fixed = load(&file(GraphProto {
        name: "table".to_owned(),
        input: vec![value("x", DataType::Int64, &[1])],
        output: vec![value("y", DataType::Float, &[1])],
        initializer: vec![weight("table", &[2], &[10.0, 11.0])],
        node: vec![node("Gather", &["table", "x"], "y")],
        ..GraphProto::default()
    }));
    let model = named(&[("fixed", fixed.clone()), ("open", table(9, 30.0))]);
    let pair = Tensor::from_i64(&[2], vec![1, 5]).unwrap();
    let outputs = model.run_by(&[("x", &pair)], None).unwrap();
    assert_eq!(outputs[0].1.as_f32().unwrap(), &[31.0, 35.0]);
    assert_eq!((model.variant(), model.fallbacks()), ("fixed", vec![]));
    assert_eq!(look_up(&model, 1).unwrap(), 11.0);

    // Where none takes it, the variant that serves says so, and of no dimension that it has not.
    let alone = named(&[("fixed", fixed)]);
    let error = alone.run_by(&[("x", &pair)], None).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("has shape [1], but the tensor [2]"), "{said}");
    assert!(!said.contains('?'), "{said}");
    let none = Tensor::from_i64(&[0], vec![]).unwrap();
    let outputs = model.run_by(&[("x", &none)], None).unwrap();
    assert_eq!(outputs[0].1.shape(), [0]);
}

#[test]
fn the_last_answer_for_a_deadline_or_limit_is_not_a_reason() {
    let model = named(&[("small", table(2, 10.0)), ("large", table(9, 30.0))]);
    let x = Tensor::from_i64(&[1], vec![5]).unwrap();
    let error = model
        .run_by(&[("x", &x)], Some(Instant::now()))
        .unwrap_err();
    assert!(matches!(error, RunError::Deadline));
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_eq!(model.variant(), "small");
}

#[test]
fn many_threads_give_a_variant_up_once() {
    let model = named(&[("small", table(2, 10.0)), ("large", table(9, 30.0))]);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                start.wait();
                assert_eq!(look_up(&model, 5).unwrap(), 35.0);
            });
        }
    });
    assert_eq!((model.variant(), model.fallbacks().len()), ("large", 1));
}

#[test]
fn variants_have_the_same_inputs_and_outputs() {
    let (one, two) = (table(2, 0.0), load(&arithmetic()));
    let new = |variants: &[(&str, &Arc<Model>)]| {
        let variants = variants
            .iter()
            .map(|(name, model)| ((*name).to_owned(), Arc::clone(model)));
        NamedModel::new("m", variants.collect())
    };
    assert!(matches!(new(&[]), Err(VariantError::None { .. })));
    assert!(matches!(
        new(&[("a", &one), ("a", &one)]),
        Err(VariantError::Repeated { .. })
    ));
    let error = new(&[("a", &one), ("b", &two)]).unwrap_err();
    assert!(
        matches!(&error, VariantError::Different { problem, .. } if problem == "1 inputs against 2"),
        "{error}"
    );
    for (element_type, name, shape, problem) in [
        (DataType::Int64, "w", &[-1][..], "input \"x\" against \"w\""),
        (
            DataType::Int32,
            "x",
            &[-1],
            "input \"x\" of i64 against i32",
        ),
        (
            DataType::Int64,
            "x",
            &[-1, 1],
            "input \"x\" of 1 dimensions against 2",
        ),
    ] {
        let other = load(&file(GraphProto {
            input: vec![value(name, element_type, shape)],
            output: vec![value("y", DataType::Float, &[-1])],
            initializer: vec![weight("table", &[1], &[0.0])],
            node: vec![node("Gather", &["table", name], "y")],
            ..GraphProto::default()
        }));
        let error = new(&[("a", &one), ("b", &other)]).unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[test]
fn a_model_without_variants_has_one() {
    let model = NamedModel::single("look-up", table(2, 10.0)).with_fallbacks(vec![Fallback {
        variant: "tiny".to_owned(),
        cause: "it did not load".to_owned(),
    }]);
    assert_eq!((model.variant(), model.variants().count()), ("default", 1));
    assert_eq!(
        (model.inputs()[0].name.as_str(), model.outputs().len()),
        ("x", 1)
    );
    assert_eq!(model.metadata("labels"), Some("good\nbad"));
    assert_eq!(model.active().backend(), Backend::Tract);
    assert_eq!(model.fallbacks()[0].variant, "tiny");
    let error = look_up(&model, 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
}

/// Variant, runs, faults and faults in a row of each variant that has run.
fn counted(model: &NamedModel) -> Vec<(String, u64, u64, u32)> {
    let runs = model.runs().into_iter();
    runs.map(|it| {
        assert_eq!(it.backend, Backend::Tract);
        (it.variant, it.runs, it.faults, it.faults_in_a_row)
    })
    .collect()
}

#[test]
fn a_run_may_begin_with_a_later_variant_and_leaves_the_earlier_ones_as_they_are() {
    let model = named(&[
        ("small", table(2, 10.0)),
        ("middle", table(3, 20.0)),
        ("large", table(9, 30.0)),
    ]);
    let from = |first: usize, x: i64| {
        let x = Tensor::from_i64(&[1], vec![x]).unwrap();
        let outputs = model.run_from(first, &[("x", &x)], None)?;
        Ok::<f32, RunError>(outputs[0].1.as_f32().unwrap()[0])
    };
    assert_eq!(from(1, 1).unwrap(), 21.0);
    // The middle one fails, and the large one takes its place.
    assert_eq!(from(1, 5).unwrap(), 35.0);
    assert_eq!(from(1, 1).unwrap(), 31.0);
    assert_eq!((model.variant(), model.fallbacks().len()), ("small", 1));
    assert_eq!(model.fallbacks()[0].variant, "middle");
    assert_eq!(look_up(&model, 1).unwrap(), 11.0);
    // The middle one is passed over.
    assert_eq!(look_up(&model, 5).unwrap(), 35.0);
    assert_eq!((model.variant(), model.fallbacks().len()), ("large", 2));
    // There is none behind the last.
    assert_eq!(from(usize::MAX, 1).unwrap(), 31.0);
    // A run on a wrong input does not count.
    let wrong = Tensor::from_f32(&[1], vec![0.0]).unwrap();
    model.run_by(&[("x", &wrong)], None).unwrap_err();
    let of = |variant: &str, runs, faults, in_a_row| (variant.to_owned(), runs, faults, in_a_row);
    let expected = [
        of("small", 2, 1, 1),
        of("middle", 2, 1, 1),
        of("large", 4, 0, 0),
    ];
    assert_eq!(counted(&model), expected);
    model.restart();
    assert_eq!((model.variant(), model.fallbacks()), ("small", vec![]));
    let expected = [
        of("small", 2, 1, 0),
        of("middle", 2, 1, 0),
        of("large", 4, 0, 0),
    ];
    assert_eq!(counted(&model), expected);
}
