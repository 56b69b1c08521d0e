#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! The three OCR models (PP-OCRv4), against what Python's onnxruntime 1.31.1 gives for the same synthetic inputs.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use hotshoe_infer::{LoadError, Model, Models, Tensor};
use hotshoe_trust::Digest;

fn bytes(name: &str) -> Option<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/fixtures/models");
    let read = std::fs::read(folder.join(format!("{name}.onnx"))).ok();
    if read.is_none() {
        // Past the test runner's capture of what tests print.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: there is no {name}.onnx under target/fixtures/models; run `cargo demo` once, it fetches the models"
        );
    }
    read
}

fn model(name: &str) -> Option<Arc<Model>> {
    let bytes = bytes(name)?;
    Some(Models::default().load(Digest::of(&bytes), &bytes).unwrap())
}

/// An `[n, 3, rows, columns]` tensor of a pattern that depends on row and column alone.
fn pattern(n: usize, rows: usize, columns: usize, at: impl Fn(usize, usize) -> f32) -> Tensor {
    let plane: Vec<f32> = (0..rows * columns)
        .map(|i| at(i / columns, i % columns))
        .collect();
    Tensor::from_f32(&[n, 3, rows, columns], plane.repeat(n * 3)).unwrap()
}

fn stripes(row: usize, column: usize) -> f32 {
    ((column * 7 + row * 13 + column * row / 5) % 101) as f32 / 50.0 - 1.0
}

fn lines_of_blocks(row: usize, column: usize) -> f32 {
    let inside = (20..44).contains(&(row % 64)) && (30..290).contains(&column);
    let ink = inside
        && !(column / 4 + row / 20).is_multiple_of(3)
        && !(column / 7 + row / 5).is_multiple_of(4);
    if ink { -1.0 } else { 1.0 }
}

fn run(model: &Model, x: &Tensor) -> Tensor {
    model.run(&[("x", x)]).unwrap().remove(0).1
}

#[track_caller]
fn assert_near(got: f32, want: f32) {
    assert!(
        (got - want).abs() <= 1e-3,
        "{got}, but onnxruntime has {want}"
    );
}

#[test]
fn the_angle_classifier_agrees() {
    let Some(model) = model("classify-angle") else {
        return;
    };
    assert_eq!(model.inputs()[0].shape, [None, Some(3), None, None]);
    let angles = run(&model, &pattern(1, 48, 192, stripes));
    assert_near(angles.as_f32().unwrap()[0], 0.643_766_6);
    assert_near(angles.as_f32().unwrap()[1], 0.356_233_4);
}

#[test]
fn the_recogniser_agrees_for_any_batch() {
    let Some(model) = model("recognise") else {
        return;
    };
    let want = [
        0.238_780_57,
        0.860_196_6,
        0.874_419_8,
        0.921_991_2,
        0.905_930_8,
        0.887_201_55,
    ];
    for n in [1, 2] {
        let output = run(&model, &pattern(n, 48, 320, stripes));
        assert_eq!(output.shape(), [n, 40, 6625]);
        for (step, want) in output.as_f32().unwrap().chunks_exact(6625).zip(want) {
            assert_near(step.iter().copied().fold(0.0, f32::max), want);
        }
    }
    let characters = model.metadata("character").unwrap();
    assert_eq!(
        characters.lines().count(),
        6623,
        "all classes but the blank and the space"
    );
}

#[test]
fn the_detector_agrees() {
    let Some(model) = model("detect") else { return };
    let output = run(&model, &pattern(1, 320, 320, lines_of_blocks));
    assert_eq!(output.shape(), [1, 1, 320, 320]);
    let map = output.as_f32().unwrap();
    let sum: f32 = map.iter().sum();
    assert!(
        (sum / 13_258.0 - 1.0).abs() < 0.01,
        "the probabilities add up to {sum}, but with onnxruntime to 13258"
    );
    assert_near(map[31_507], 1.0);
    assert_near(map[15_753], 0.0);
}

#[test]
fn a_recogniser_cut_in_half_is_an_error() {
    let Some(bytes) = bytes("recognise") else {
        return;
    };
    let half = &bytes[..bytes.len() / 2];
    let error = Models::default().load(Digest::of(half), half).unwrap_err();
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
}
