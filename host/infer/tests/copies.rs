#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]
//! Where a tensor's bytes lie: 600 KB are copied when a tensor is created from bytes, and not again.

mod common;

use common::{file, node, value};
use hotshoe_infer::{BackendChoice, ElementType, ModelOptions, Models, Options, Tensor};
use hotshoe_trust::Digest;
use tract_onnx::pb::GraphProto;
use tract_onnx::pb::tensor_proto::DataType;

/// Of a picture of 224 x 224 pixels: 602,112 bytes.
const SHAPE: [usize; 4] = [1, 3, 224, 224];

#[test]
fn elements_are_written_where_they_stay() {
    let mut at = std::ptr::null();
    let tensor = Tensor::write_f32(&SHAPE, |elements| {
        assert!(elements.iter().all(|&element| element == 0.0));
        elements[1] = 2.5;
        at = elements.as_ptr();
    })
    .unwrap();
    assert_eq!(tensor.as_f32().unwrap().as_ptr(), at);
    assert_eq!(tensor.clone().bytes().as_ptr(), at.cast());
    assert_eq!(tensor.as_f32().unwrap()[..3], [0.0, 2.5, 0.0]);
}

#[test]
fn a_run_copies_neither_its_input_nor_its_output() {
    let shape = SHAPE.map(|length| length as i64);
    let bytes = file(GraphProto {
        name: "same".to_owned(),
        input: vec![value("x", DataType::Float, &shape)],
        output: vec![value("y", DataType::Float, &shape)],
        node: vec![node("Identity", &["x"], "y")],
        ..GraphProto::default()
    });
    let options = ModelOptions {
        backend: BackendChoice::Tract,
        ..ModelOptions::default()
    };
    let model = Models::new(Options::default())
        .load(Digest::of(&bytes), &bytes, &options)
        .unwrap();
    let x = Tensor::write_f32(&SHAPE, |elements| elements.fill(0.5)).unwrap();
    let outputs = model.run(&[("x", &x)]).unwrap();
    assert_eq!(outputs[0].1.bytes().as_ptr(), x.bytes().as_ptr());
}

/// A component's list of bytes may begin anywhere.
#[test]
fn bytes_make_the_same_tensor_wherever_they_lie() {
    let elements: Vec<f32> = (0..256).map(|i| i as f32 / 3.0).collect();
    let bytes: Vec<u8> = elements.iter().flat_map(|e| e.to_le_bytes()).collect();
    let mut room = vec![0; bytes.len() + 8];
    for offset in 0..8 {
        room[offset..offset + bytes.len()].copy_from_slice(&bytes);
        let there = &room[offset..offset + bytes.len()];
        let tensor = Tensor::from_bytes(ElementType::F32, &[256], there).unwrap();
        assert_eq!(tensor.as_f32().unwrap(), elements);
    }
}
