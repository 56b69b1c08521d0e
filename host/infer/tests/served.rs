#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! What is served of a file: chosen outputs, element types that tensors do not have, batches without rows.

mod common;

use std::sync::Arc;

use common::{arithmetic, file, integer, node, on, value, weight};
use hotshoe_infer::inspect::{InputShapes, InspectError, inspect};
use hotshoe_infer::{
    Backend, BackendChoice, ElementType, ErrorKind, LoadError, Model, ModelOptions, Models,
    Options, OrtOptions, RunError, Tensor,
};
use hotshoe_trust::Digest;
use proptest::prelude::*;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, ValueInfoProto};

fn load(
    bytes: &[u8],
    outputs: &[&str],
    (backend, options): (BackendChoice, Options),
) -> Result<Arc<Model>, LoadError> {
    let how = ModelOptions {
        backend,
        outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
        ..ModelOptions::default()
    };
    Models::new(options).load(Digest::of(bytes), bytes, &how)
}

/// The model on each backend that is there.
fn on_each(bytes: &[u8], outputs: &[&str]) -> Vec<Arc<Model>> {
    let there = [Backend::Tract, Backend::Ort].into_iter().filter_map(on);
    there
        .map(|how| load(bytes, outputs, how).unwrap())
        .collect()
}

fn refused(bytes: &[u8], outputs: &[&str]) -> LoadError {
    load(bytes, outputs, on(Backend::Tract).unwrap()).unwrap_err()
}

fn x() -> Tensor {
    Tensor::from_f32(&[1, 2], vec![-1.0, 2.0]).unwrap()
}

fn names(outputs: &[(String, Tensor)]) -> Vec<&str> {
    outputs.iter().map(|(name, _)| name.as_str()).collect()
}

/// `y = Relu(x)`; `label`, a string, by an operator that no backend has; from an input of its own.
fn with_a_label() -> Vec<u8> {
    file(GraphProto {
        name: "labelled".to_owned(),
        input: vec![
            value("x", DataType::Float, &[-1, 2]),
            value("words", DataType::String, &[-1]),
        ],
        output: vec![
            value("label", DataType::String, &[-1]),
            value("y", DataType::Float, &[-1, 2]),
        ],
        initializer: vec![weight("unused", &[1], &[1.0])],
        node: vec![
            node("Levitate", &["words", "unused"], "label"),
            node("Relu", &["x"], "y"),
        ],
        ..GraphProto::default()
    })
}

#[test]
fn only_what_the_chosen_outputs_need_is_loaded() {
    let bytes = with_a_label();
    for model in on_each(&bytes, &["y"]) {
        assert_eq!((model.inputs().len(), model.outputs().len()), (1, 1));
        let given = x();
        let outputs = model.run(&[("x", &given)]).unwrap();
        assert_eq!(names(&outputs), ["y"], "{}", model.backend());
        assert_eq!(outputs[0].1.as_f32().unwrap(), [0.0, 2.0]);
    }
    let words = refused(&bytes, &[]).to_string();
    assert!(words.contains("input \"words\""), "{words}");
    let label = refused(&bytes, &["y", "label"]).to_string();
    assert!(label.contains("input \"words\""), "{label}");
}

#[test]
fn an_output_that_no_tensor_holds_says_how_to_leave_it_out() {
    let bytes = file(GraphProto {
        name: "label".to_owned(),
        input: vec![value("x", DataType::Float, &[2])],
        output: vec![value("label", DataType::String, &[2])],
        node: vec![node("Levitate", &["x"], "label")],
        ..GraphProto::default()
    });
    let error = refused(&bytes, &[]).to_string();
    assert!(
        error.contains("output \"label\"") && error.contains("outputs = [...]"),
        "{error}"
    );
}

#[test]
fn chosen_outputs_are_in_their_order_and_unknown_ones_are_named() {
    let given = x();
    let y = Tensor::from_f32(&[2], vec![10.0, 20.0]).unwrap();
    for model in on_each(&arithmetic(), &["positive", "sum"]) {
        let outputs = model.run(&[("x", &given), ("y", &y)]).unwrap();
        assert_eq!(names(&outputs), ["positive", "sum"]);
        assert_eq!(outputs[0].1.as_f32().unwrap(), [0.0, 1.0]);
        assert_eq!(outputs[1].1.as_f32().unwrap(), [9.0, 22.0]);
    }
    // `y` is the input of `sum` alone.
    for model in on_each(&arithmetic(), &["positive"]) {
        let outputs = model.run(&[("x", &given)]).unwrap();
        assert_eq!(outputs[0].1.as_f32().unwrap(), [0.0, 1.0]);
    }
    // `less` is a tensor of the model, but the file does not state its type.
    for wrong in ["less", "nothing"] {
        let error = refused(&arithmetic(), &["sum", wrong]);
        assert!(
            matches!(&error, LoadError::NoOutput { name, known } if name == wrong && known == &["sum", "positive"]),
            "{error}"
        );
    }
}

#[test]
fn a_tensor_inside_the_model_is_an_output_if_its_type_is_stated() {
    let bytes = file(GraphProto {
        name: "inner".to_owned(),
        input: vec![value("x", DataType::Float, &[-1, 2])],
        output: vec![value("y", DataType::Float, &[-1, 2])],
        value_info: vec![value("negative", DataType::Float, &[-1, 2])],
        node: vec![
            node("Neg", &["x"], "negative"),
            node("Levitate", &["negative"], "y"),
        ],
        ..GraphProto::default()
    });
    let given = x();
    for model in on_each(&bytes, &["negative"]) {
        let outputs = model.run(&[("x", &given)]).unwrap();
        assert_eq!(names(&outputs), ["negative"]);
        assert_eq!(outputs[0].1.as_f32().unwrap(), [1.0, -2.0]);
    }
}

/// As scikit-learn's converter writes a classifier: `scores = -x`, and a list of maps with them.
#[test]
fn a_list_of_maps_is_a_tensor_of_its_scores() {
    let bytes = file(GraphProto {
        name: "classifier".to_owned(),
        input: vec![value("x", DataType::Float, &[-1, 2])],
        output: vec![ValueInfoProto {
            name: "probability".to_owned(),
            ..ValueInfoProto::default()
        }],
        node: vec![
            node("Neg", &["x"], "scores"),
            NodeProto {
                domain: "ai.onnx.ml".to_owned(),
                ..node("ZipMap", &["scores"], "probability")
            },
        ],
        ..GraphProto::default()
    });
    let given = x();
    for model in on_each(&bytes, &[]) {
        let outputs = model.run(&[("x", &given)]).unwrap();
        assert_eq!(names(&outputs), ["probability"]);
        assert_eq!(outputs[0].1.shape(), [1, 2]);
        assert_eq!(outputs[0].1.as_f32().unwrap(), [1.0, -2.0]);
    }
}

#[test]
fn two_outputs_of_one_name_are_one() {
    let y = || value("y", DataType::Float, &[-1, 2]);
    let bytes = file(GraphProto {
        name: "twice".to_owned(),
        input: vec![value("x", DataType::Float, &[-1, 2])],
        output: vec![y(), y()],
        node: vec![node("Relu", &["x"], "y")],
        ..GraphProto::default()
    });
    let given = x();
    for model in on_each(&bytes, &[]) {
        let outputs = model.run(&[("x", &given)]).unwrap();
        assert_eq!(names(&outputs), ["y"], "{}", model.backend());
        assert_eq!(outputs[0].1.as_f32().unwrap(), [0.0, 2.0]);
    }
}

/// `y = Cast(x)`
fn cast(from: DataType, to: DataType) -> Vec<u8> {
    let mut only = node("Cast", &["x"], "y");
    only.attribute = vec![integer("to", to as i64)];
    file(GraphProto {
        name: "cast".to_owned(),
        input: vec![value("x", from, &[-1, 2])],
        output: vec![value("y", to, &[-1, 2])],
        node: vec![only],
        ..GraphProto::default()
    })
}

#[test]
fn narrow_integers_are_taken_and_given_as_wider_ones() {
    let bytes_of = |kind: ElementType, values: [i64; 2]| -> Vec<u8> {
        let each = values
            .into_iter()
            .flat_map(|value| value.to_le_bytes().into_iter().take(kind.size()));
        each.collect()
    };
    let tensor = |kind, values| Tensor::from_bytes(kind, &[1, 2], &bytes_of(kind, values)).unwrap();
    for (narrow, held, least, most) in [
        (DataType::Uint16, ElementType::I32, 0, 65_535),
        (DataType::Int16, ElementType::I32, -32_768, 32_767),
        (DataType::Uint32, ElementType::I64, 0, 4_294_967_295),
    ] {
        for model in on_each(&cast(narrow, DataType::Double), &[]) {
            assert_eq!(model.inputs()[0].element_type, held);
            assert_eq!(model.inputs()[0].name, "x");
            let given = tensor(held, [least, most]);
            let y = model.run(&[("x", &given)]).unwrap().remove(0).1;
            let got: Vec<f64> = y.numbers().collect();
            assert_eq!(got, [least as f64, most as f64], "{}", model.backend());
            for wrong in [least - 1, most + 1] {
                let given = tensor(held, [least, wrong]);
                let error = model.run(&[("x", &given)]).unwrap_err();
                assert!(
                    matches!(&error, RunError::OutOfRange { name, value, .. } if name == "x" && *value == wrong as f64),
                    "{error}"
                );
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
            }
        }
        for model in on_each(&cast(DataType::Double, narrow), &[]) {
            assert_eq!(model.outputs()[0].element_type, held);
            let given: Vec<u8> = [0.0_f64, 300.0]
                .iter()
                .flat_map(|it| it.to_le_bytes())
                .collect();
            let given = Tensor::from_bytes(ElementType::F64, &[1, 2], &given).unwrap();
            let outputs = model.run(&[("x", &given)]).unwrap();
            assert_eq!(names(&outputs), ["y"]);
            assert_eq!(outputs[0].1.element_type(), held);
            let got: Vec<f64> = outputs[0].1.numbers().collect();
            assert_eq!(got, [0.0, 300.0], "{}", model.backend());
        }
    }
}

/// Its precision is 8 bits: 2.513 is 2.515625 there, and 1.003 is 1.
#[test]
fn bf16_is_taken_and_given_as_f32() {
    let (taken, given_back) = (
        cast(DataType::Bfloat16, DataType::Float),
        cast(DataType::Float, DataType::Bfloat16),
    );
    let given = Tensor::from_f32(&[1, 2], vec![2.513, 1.003]).unwrap();
    let Some(how) = on(Backend::Ort) else { return };
    for bytes in [taken, given_back] {
        let model = load(&bytes, &[], how.clone()).unwrap();
        assert_eq!(model.inputs()[0].element_type, ElementType::F32);
        assert_eq!(model.outputs()[0].element_type, ElementType::F32);
        let y = model.run(&[("x", &given)]).unwrap().remove(0).1;
        for (got, want) in y.as_f32().unwrap().iter().zip([2.513, 1.003]) {
            assert!((got - want).abs() < 0.008, "{got} instead of {want}");
        }
        // tract does not have it, which the automatic choice passes over.
        let auto = load(&bytes, &[], (BackendChoice::Auto, how.1.clone())).unwrap();
        assert_eq!(auto.backends(), [Backend::Ort]);
    }
}

#[test]
fn a_batch_without_rows_has_outputs_without_rows() {
    let none = Tensor::from_f32(&[0, 2], Vec::new()).unwrap();
    let graph = |nodes: Vec<NodeProto>, output: &[i64]| {
        file(GraphProto {
            name: "rows".to_owned(),
            input: vec![value("x", DataType::Float, &[-1, 2])],
            output: vec![value("y", DataType::Float, output)],
            initializer: vec![weight("w", &[2, 3], &[1.0; 6])],
            node: nodes,
            ..GraphProto::default()
        })
    };
    let product = graph(vec![node("MatMul", &["x", "w"], "y")], &[-1, -1]);
    for model in on_each(&product, &[]) {
        let outputs = model.run(&[("x", &none)]).unwrap();
        assert_eq!(names(&outputs), ["y"]);
        assert_eq!(outputs[0].1.shape(), [0, 3], "{}", model.backend());
        assert_eq!(outputs[0].1.element_type(), ElementType::F32);
        let wide = Tensor::from_f32(&[0, 5], Vec::new()).unwrap();
        let error = model.run(&[("x", &wide)]).unwrap_err();
        assert!(matches!(error, RunError::WrongShape { .. }), "{error}");
    }
    // A sum over the rows is not a row: what it is of none, only the model knows.
    let mut sum = node("ReduceSum", &["x"], "y");
    sum.attribute = vec![integer("keepdims", 0)];
    for model in on_each(&graph(vec![sum], &[]), &[]) {
        let error = model.run(&[("x", &none)]).unwrap_err();
        assert!(matches!(error, RunError::WrongShape { .. }), "{error}");
    }
}

#[test]
fn a_pointer_of_git_lfs_is_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    assert!(matches!(refused(pointer, &[]), LoadError::Pointer));
    let error = inspect(pointer, &InputShapes::new(), &OrtOptions::default()).unwrap_err();
    assert!(matches!(error, InspectError::Pointer), "{error}");
    assert!(error.to_string().contains("git lfs pull"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_file_is_served_or_refused(at: prop::sample::Index, byte: u8) {
        let mut bytes = with_a_label();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let loaded = load(&bytes, &["y"], (BackendChoice::Tract, Options::default()));
        if let Ok(model) = loaded {
            let given = x();
            let _ = model.run(&[("x", &given)]);
        }
    }
}
