#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! How backends are found and chosen.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hotshoe_infer::{Backend, BackendChoice, LoadError, Provider, Tensor, ort_library};
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataType;

use common::choice::{load, with_library};
use common::{arithmetic, file, library, node, value};

#[test]
fn the_library_says_what_it_is() {
    let Some(path) = library() else { return };
    let found = ort_library(&with_library(path.clone()).ort);
    assert_eq!(found.path, Some(path));
    assert!(found.version.starts_with("1."), "{found:?}");
    assert!(found.providers.contains(&"cpu".to_owned()), "{found:?}");
}

#[test]
fn a_provider_that_is_not_there_leaves_the_processor() {
    let Some(path) = library() else { return };
    let provider = |name: &str, options: BTreeMap<String, String>| Provider {
        name: name.to_owned(),
        options,
    };
    let device = BTreeMap::from([("device_id".to_owned(), "0".to_owned())]);
    let mut options = with_library(path);
    options.ort.providers = vec![
        provider("CUDA", device),
        provider("abacus", BTreeMap::new()),
    ];
    let model = load(&arithmetic(), BackendChoice::Ort, options).unwrap();
    assert_eq!(model.provider(), "cpu");
    let notes = model.provider_notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("CUDA: "), "{notes:?}");
    assert!(notes[1].contains("it is unknown"), "{notes:?}");
    let x = Tensor::from_f32(&[1, 2], vec![0.5, 4.0]).unwrap();
    let y = Tensor::from_f32(&[2], vec![1.0, 2.0]).unwrap();
    let outputs = model.run(&[("x", &x), ("y", &y)]).unwrap();
    assert_eq!(outputs[0].1.as_f32().unwrap(), [1.5, 6.0]);
}

#[test]
fn an_automatic_model_is_on_both_until_one_is_settled() {
    let Some(path) = library() else { return };
    let model = load(&arithmetic(), BackendChoice::Auto, with_library(path)).unwrap();
    assert_eq!(model.backends(), [Backend::Tract, Backend::Ort]);
    assert_eq!(model.refused(), []);
    let x = Tensor::from_f32(&[1, 2], vec![0.5, 4.0]).unwrap();
    let y = Tensor::from_f32(&[2], vec![1.0, 2.0]).unwrap();
    model.record(1);
    for backend in [Backend::Ort, Backend::Tract, Backend::Ort] {
        assert!(model.use_backend(backend));
        assert_eq!(model.backend(), backend);
        let outputs = model.run(&[("x", &x), ("y", &y)]).unwrap();
        assert_eq!(outputs[0].1.as_f32().unwrap(), [1.5, 6.0]);
    }
    let recorded = model.take_recorded();
    assert_eq!(recorded.len(), 1, "no more than asked for");
    assert_eq!(recorded[0][0].0, "x");
    assert_eq!(recorded[0][0].1.bytes(), x.bytes());

    model.settle(Backend::Ort);
    assert_eq!(model.backends(), [Backend::Ort]);
    assert!(!model.use_backend(Backend::Tract));
    model.settle(Backend::Tract);
    assert_eq!(model.backend(), Backend::Ort, "it is gone");
}

#[test]
fn the_winner_of_a_race_takes_over_while_runs_go_on() {
    let Some(path) = library() else { return };
    let model = load(&arithmetic(), BackendChoice::Auto, with_library(path)).unwrap();
    let x = Tensor::from_f32(&[1, 2], vec![0.5, 4.0]).unwrap();
    let y = Tensor::from_f32(&[2], vec![1.0, 2.0]).unwrap();
    let inputs = [("x", &x), ("y", &y)];
    let is_right = |outputs: Vec<(String, Tensor)>| {
        assert_eq!(outputs[0].1.as_f32().unwrap(), [1.5, 6.0]);
    };
    model.begin_race(Arc::new(|| Some(arithmetic())));
    let ended = AtomicBool::new(false);
    let runs = thread::scope(|scope| {
        let all = scope.spawn(|| {
            let mut runs = 0;
            while !ended.load(Ordering::Acquire) || runs == 0 {
                is_right(model.run(&inputs).unwrap());
                runs += 1;
            }
            runs
        });
        for backend in [Backend::Tract, Backend::Ort] {
            is_right(model.run_aside(backend, &inputs).unwrap().unwrap());
            assert_eq!(model.backend(), Backend::Tract);
        }
        model.prepare_other();
        assert!(model.end_race(Backend::Ort, true));
        is_right(model.run(&inputs).unwrap());
        ended.store(true, Ordering::Release);
        all.join().unwrap()
    });
    assert_eq!(model.usage().runs, runs + 1);
    assert_eq!(model.backends(), [Backend::Ort]);
    assert!(model.switched().is_none());
    // It has ended.
    assert!(!model.end_race(Backend::Tract, true));
    assert!(model.run_aside(Backend::Tract, &inputs).is_none());
    assert_eq!(model.backend(), Backend::Ort);
}

#[test]
fn a_file_that_one_backend_cannot_run_goes_to_the_other() {
    let Some(path) = library() else { return };
    let bytes = file(GraphProto {
        name: "determinant".to_owned(),
        input: vec![value("x", DataType::Float, &[2, 2])],
        output: vec![value("y", DataType::Float, &[])],
        node: vec![node("Det", &["x"], "y")],
        ..GraphProto::default()
    });
    let model = load(&bytes, BackendChoice::Auto, with_library(path.clone())).unwrap();
    assert_eq!(model.backends(), [Backend::Ort]);
    let (backend, reason) = &model.refused()[0];
    assert_eq!(*backend, Backend::Tract);
    assert!(reason.contains("Det"), "{reason}");
    let x = Tensor::from_f32(&[2, 2], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    let y = model.run(&[("x", &x)]).unwrap().remove(0).1;
    assert!((y.as_f32().unwrap()[0] + 2.0).abs() < 1e-5, "{y:?}");

    let broken = file(GraphProto {
        name: "broken".to_owned(),
        input: vec![value("x", DataType::Float, &[2, 2])],
        output: vec![value("y", DataType::Float, &[])],
        node: vec![node("NoSuchOperator", &["x"], "y")],
        ..GraphProto::default()
    });
    let error = load(&broken, BackendChoice::Ort, with_library(path)).unwrap_err();
    assert!(matches!(error, LoadError::Runtime { .. }), "{error}");
}
