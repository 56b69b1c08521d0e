#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Loading: sharing by digest, and each error.

mod common;

use std::sync::Arc;

use common::{arithmetic, file, node, value};
use hotshoe_infer::{LoadError, ModelOptions, Models, Options};
use hotshoe_trust::Digest;
use proptest::prelude::*;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataType;

fn error(bytes: &[u8]) -> LoadError {
    Models::default()
        .load(Digest::of(bytes), bytes, &ModelOptions::default())
        .unwrap_err()
}

#[test]
fn a_model_is_loaded_once_while_someone_holds_it() {
    let (models, bytes) = (Models::default(), arithmetic());
    let digest = Digest::of(&bytes);
    let first = models
        .load(digest, &bytes, &ModelOptions::default())
        .unwrap();
    let second = models
        .load(digest, b"not looked at", &ModelOptions::default())
        .unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    drop((first, second));
    // It was unused, so it was dropped.
    assert!(matches!(
        models.load(digest, b"looked at", &ModelOptions::default()),
        Err(LoadError::Malformed { .. })
    ));
    assert!(
        models
            .load(digest, &bytes, &ModelOptions::default())
            .is_ok(),
        "a failure is not remembered"
    );
}

#[test]
fn bad_files_have_names() {
    assert!(matches!(error(&[]), LoadError::Empty));
    let whole = arithmetic();
    assert!(matches!(
        error(&whole[..whole.len() / 2]),
        LoadError::Malformed { .. }
    ));
    assert!(matches!(
        error(b"this is no ONNX file"),
        LoadError::Malformed { .. }
    ));
    let models = Models::new(Options {
        max_model_bytes: 10,
        ..Options::default()
    });
    let large = models
        .load(Digest::of(&whole), &whole, &ModelOptions::default())
        .unwrap_err();
    assert!(matches!(large, LoadError::TooLarge { limit: 10, .. }));
}

fn graph(operator: &str, element_type: DataType) -> Vec<u8> {
    file(GraphProto {
        name: "graph".to_owned(),
        input: vec![value("x", element_type, &[1])],
        output: vec![value("y", element_type, &[1])],
        node: vec![node(operator, &["x"], "y")],
        ..GraphProto::default()
    })
}

#[test]
fn what_the_backend_lacks_is_named() {
    let operator = error(&graph("Levitate", DataType::Float));
    assert!(
        matches!(&operator, LoadError::Operators { operators } if operators == &["Levitate"]),
        "{operator}"
    );
    let text = error(&graph("Identity", DataType::String)).to_string();
    assert!(
        text.contains("input \"x\"") && text.contains("STRING"),
        "{text}"
    );
}

#[test]
fn an_output_that_nothing_makes_is_an_error() {
    let bytes = file(GraphProto {
        name: "graph".to_owned(),
        input: vec![value("x", DataType::Float, &[1])],
        output: vec![value("nowhere", DataType::Float, &[1])],
        ..GraphProto::default()
    });
    assert!(matches!(
        error(&bytes),
        LoadError::Tract { .. } | LoadError::Panicked { .. }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_load_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = Models::default().load(Digest::of(&bytes), &bytes, &ModelOptions::default());
    }

    #[test]
    fn a_changed_file_loads_or_fails(at: prop::sample::Index, value: u8) {
        let mut bytes = arithmetic();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(model) = Models::default().load(Digest::of(&bytes), &bytes, &ModelOptions::default()) {
            let _ = model.prepare(&[("x", &[1, 2]), ("y", &[2])]);
        }
    }
}
