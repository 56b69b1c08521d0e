//! Tests without a network: JSON with binary data, gRPC messages, and access.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "tests/extensions.rs"]
mod extensions;
#[path = "tests/limits.rs"]
mod limits;

use std::collections::HashMap;

use bytes::Bytes;
use hotshoe_infer::{ElementType, Tensor};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::error::{Kind, RequestError, TensorFault};
use crate::proto::model_infer_request::InferInputTensor;
use crate::proto::{InferTensorContents, ModelInferRequest};
use crate::request::{Data, InferRequest, InferResponse, Output, RequestedOutput};
use crate::{datatype, elements, grpc, json};

const TYPES: [ElementType; 8] = [
    ElementType::Bool,
    ElementType::U8,
    ElementType::I8,
    ElementType::I32,
    ElementType::I64,
    ElementType::F16,
    ElementType::F32,
    ElementType::F64,
];

/// Any small tensor.
fn tensor() -> impl Strategy<Value = Tensor> {
    let shape = proptest::collection::vec(0_usize..4, 0..4);
    (0..TYPES.len(), shape).prop_flat_map(|(kind, shape)| {
        let element_type = TYPES[kind];
        let count: usize = shape.iter().product();
        let bytes = proptest::collection::vec(any::<u8>(), count * element_type.size());
        bytes.prop_map(move |mut bytes| {
            if element_type == ElementType::Bool {
                bytes.iter_mut().for_each(|byte| *byte &= 1);
            }
            Tensor::from_bytes(element_type, &shape, &bytes).unwrap()
        })
    })
}

fn response(tensors: &[Tensor]) -> InferResponse {
    let output =
        |(index, tensor): (usize, &Tensor)| (format!("t{index}"), Output::Tensor(tensor.clone()));
    InferResponse {
        model: "m".to_owned(),
        version: "7".to_owned(),
        id: "x".to_owned(),
        outputs: tensors.iter().enumerate().map(output).collect(),
    }
}

/// Turns the body of a response into that of a request: the outputs become inputs.
fn as_request(body: &json::Body) -> (Bytes, Option<usize>) {
    let mut head: Value = serde_json::from_slice(&body.pieces[0]).unwrap();
    assert_eq!(head["model_version"], "7");
    let inputs = head["outputs"].take();
    let head = serde_json::to_vec(&json!({ "id": "x", "inputs": inputs })).unwrap();
    let length = body.header_length.map(|_| head.len());
    let pieces: Vec<&[u8]> = std::iter::once(head.as_slice())
        .chain(body.pieces[1..].iter().map(|piece| &piece[..]))
        .collect();
    (pieces.concat().into(), length)
}

fn tensors_of(request: &InferRequest) -> Vec<(ElementType, Vec<usize>, Vec<u8>)> {
    let inputs = request.inputs.iter().map(|input| match &input.data {
        Data::Elements {
            element_type,
            shape,
            bytes,
        } => (*element_type, shape.clone(), bytes.to_vec()),
        Data::Samples { .. } => panic!("no sample"),
    });
    inputs.collect()
}

fn parts(tensors: &[Tensor]) -> Vec<(ElementType, Vec<usize>, Vec<u8>)> {
    let part = |t: &Tensor| (t.element_type(), t.shape().to_vec(), t.bytes().to_vec());
    tensors.iter().map(part).collect()
}

proptest! {
    #[test]
    fn bytes_behind_the_json_come_back_as_they_were(tensors in proptest::collection::vec(tensor(), 0..4)) {
        let body = json::write(&response(&tensors), &[], true).unwrap();
        let (bytes, length) = as_request(&body);
        let request = json::read(&bytes, length).unwrap();
        prop_assert_eq!(&request.id, "x");
        prop_assert_eq!(tensors_of(&request), parts(&tensors));
    }

    #[test]
    fn elements_in_the_json_come_back_as_they_were(tensor in tensor()) {
        let tensors = [tensor];
        let written = json::write(&response(&tensors), &[], false);
        if elements::check_json(&tensors[0]).is_err() {
            let is_output = matches!(written, Err(RequestError::Output { .. }));
            prop_assert!(is_output);
            return Ok(());
        }
        let (bytes, length) = as_request(&written.unwrap());
        prop_assert_eq!(length, None);
        let request = json::read(&bytes, None).unwrap();
        let (found, requested) = (tensors_of(&request), parts(&tensors));
        // JSON has one zero.
        let float = matches!(
            tensors[0].element_type(),
            ElementType::F16 | ElementType::F32 | ElementType::F64
        );
        prop_assert!(found == requested || float, "{:?} {:?}", found, requested);
        prop_assert_eq!(&found[0].1, &requested[0].1);
        prop_assert_eq!(found[0].2.len(), requested[0].2.len());
    }

    #[test]
    fn a_truncated_body_or_a_wrong_length_is_an_error(
        tensors in proptest::collection::vec(tensor(), 1..3),
        cut in any::<prop::sample::Index>(),
        length in any::<usize>(),
    ) {
        let body = json::write(&response(&tensors), &[], true).unwrap();
        let (bytes, right) = as_request(&body);
        let cut = cut.index(bytes.len());
        prop_assert!(json::read(&bytes.slice(..cut), right).is_err());
        if Some(length) != right {
            prop_assert!(json::read(&bytes, Some(length)).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), length in proptest::option::of(0_usize..220)) {
        let _ = json::read(&bytes.into(), length);
    }

    #[test]
    fn hostile_heads_are_read_or_refused(
        datatype in "(BOOL|UINT8|FP16|FP32|INT64|BYTES|BF16)",
        shape in proptest::collection::vec(any::<i64>(), 0..5),
        size in any::<i64>(),
        tail in proptest::collection::vec(any::<u8>(), 0..32),
        as_json in any::<bool>(),
    ) {
        let input = if as_json {
            json!({ "name": "x", "datatype": datatype, "shape": shape, "data": [[1, [true]], "x", 1e300, null] })
        } else {
            json!({ "name": "x", "datatype": datatype, "shape": shape, "parameters": { "binary_data_size": size } })
        };
        let head = serde_json::to_vec(&json!({ "inputs": [input] })).unwrap();
        let length = head.len();
        let body = Bytes::from([head, tail].concat());
        // The bytes of an input are part of the body, so memory does not depend on the shape.
        if let Ok(request) = json::read(&body, Some(length)) {
            for input in request.inputs {
                let bytes: usize = match input.data {
                    Data::Elements { bytes, .. } => bytes.len(),
                    Data::Samples { elements, .. } => elements.iter().map(Bytes::len).sum(),
                };
                prop_assert!(bytes <= body.len());
            }
        }
    }

    #[test]
    fn raw_contents_of_a_message_are_the_bytes(tensors in proptest::collection::vec(tensor(), 1..4)) {
        let size = |&size: &usize| i64::try_from(size).unwrap();
        let inputs = tensors.iter().enumerate().map(|(index, tensor)| InferInputTensor {
            name: format!("t{index}"),
            datatype: datatype::name(tensor.element_type()).to_owned(),
            shape: tensor.shape().iter().map(size).collect(),
            ..InferInputTensor::default()
        });
        let message = ModelInferRequest {
            inputs: inputs.collect(),
            raw_input_contents: tensors.iter().map(|t| t.bytes().to_vec().into()).collect(),
            ..ModelInferRequest::default()
        };
        let request = grpc::read(message).unwrap();
        prop_assert_eq!(tensors_of(&request), parts(&tensors));
    }
}

fn read(input: Value) -> Result<InferRequest, RequestError> {
    let body = serde_json::to_vec(&json!({ "inputs": [input] })).unwrap();
    json::read(&body.into(), None)
}

fn fault(input: Value) -> TensorFault {
    match read(input) {
        Err(RequestError::Input { name, source }) => {
            assert_eq!(name, "x");
            source
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nested_lists_are_read_row_by_row() {
    let nested = json!([[1, 2.5], [-3, 4e2]]);
    let request = read(json!({ "name": "x", "datatype": "FP32", "shape": [2, 2], "data": nested }));
    let want: Vec<u8> = [1.0_f32, 2.5, -3.0, 400.0]
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    assert_eq!(
        tensors_of(&request.unwrap()),
        [(ElementType::F32, vec![2, 2], want)]
    );
}

#[test]
fn every_fault_of_an_input_is_named() {
    let of = |datatype: &str, shape: Value, data: Value| {
        fault(json!({ "name": "x", "datatype": datatype, "shape": shape, "data": data }))
    };
    let ones = json!([1, 1]);
    let huge = json!([i64::MAX, i64::MAX]);
    assert!(matches!(
        of("UINT16", json!([2]), ones.clone()),
        TensorFault::Datatype(_)
    ));
    assert!(matches!(
        of("FP16", json!([2]), json!([1, 65520])),
        TensorFault::Element { position: 1, .. }
    ));
    assert!(matches!(
        of("FP32", json!([-1]), ones.clone()),
        TensorFault::Negative { size: -1 }
    ));
    assert!(matches!(
        of("FP32", json!(vec![1; 65]), ones.clone()),
        TensorFault::Rank
    ));
    assert!(matches!(
        of("FP32", huge, ones.clone()),
        TensorFault::Overflow { .. }
    ));
    assert!(matches!(
        of("FP32", json!([3]), ones.clone()),
        TensorFault::Count { want: 3, .. }
    ));
    assert!(matches!(
        of("FP32", json!([1]), ones.clone()),
        TensorFault::Count { want: 1, .. }
    ));
    assert!(matches!(
        of("BOOL", json!([2]), ones.clone()),
        TensorFault::Element { position: 0, .. }
    ));
    assert!(matches!(
        of("INT8", json!([2]), json!([1, 128])),
        TensorFault::Element { position: 1, .. }
    ));
    assert!(matches!(
        of("INT64", json!([1]), json!([0.5])),
        TensorFault::Element { .. }
    ));
    assert!(matches!(
        of("FP32", json!([1]), json!([1e300])),
        TensorFault::Element { .. }
    ));
    assert!(matches!(
        of("FP32", json!([1]), json!(["1"])),
        TensorFault::Json(_)
    ));
    assert!(matches!(
        of("BYTES", json!([1, 2]), json!(["a", "b"])),
        TensorFault::NotSingle { .. }
    ));
    assert!(matches!(
        of("FP32", json!([1]), Value::Null),
        TensorFault::NoData
    ));
    let shared = json!({ "shared_memory_region": "r" });
    let shared = json!({ "name": "x", "datatype": "FP32", "shape": [1], "parameters": shared });
    assert!(matches!(fault(shared), TensorFault::Unsupported(_)));
}

#[test]
fn bytes_without_an_input_are_refused() {
    let error = json::read(&Bytes::from_static(b"{\"inputs\":[]}..."), Some(13)).unwrap_err();
    assert!(matches!(error, RequestError::Rest { left: 3 }), "{error}");
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn a_sequence_is_not_ignored() {
    let body = json!({ "inputs": [], "parameters": { "sequence_id": 5, "their_own": [1] } });
    let error = json::read(&serde_json::to_vec(&body).unwrap().into(), None).unwrap_err();
    assert!(
        matches!(error, RequestError::Unsupported("sequences")),
        "{error}"
    );
}

#[test]
fn typed_contents_are_in_the_list_of_their_type() {
    let read = |datatype: &str, shape: &[i64], contents: InferTensorContents| {
        let input = InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            parameters: HashMap::new(),
            contents: Some(contents),
        };
        grpc::read(ModelInferRequest {
            inputs: vec![input],
            ..ModelInferRequest::default()
        })
    };
    let ints = |values: &[i32]| InferTensorContents {
        int_contents: values.to_vec(),
        ..InferTensorContents::default()
    };
    let request = read("INT8", &[2], ints(&[1, -1])).unwrap();
    assert_eq!(
        tensors_of(&request),
        [(ElementType::I8, vec![2], vec![1, 255])]
    );
    for (datatype, contents) in [
        ("INT8", ints(&[1, 300])),
        ("FP32", ints(&[1, 2])),
        ("FP16", ints(&[1, 2])),
        ("BYTES", ints(&[1, 2])),
    ] {
        let error = read(datatype, &[2], contents).unwrap_err();
        assert!(matches!(error, RequestError::Input { .. }), "{error}");
    }
}

#[test]
fn an_output_has_the_requested_form() {
    let tensor = Tensor::from_f32(&[2], vec![0.1, f32::NAN]).unwrap();
    let response = response(&[tensor.clone(), tensor]);
    let requested = |binary| {
        ["t0", "t1"].map(|name| RequestedOutput {
            name: name.to_owned(),
            binary,
            classes: None,
        })
    };
    let error = json::write(&response, &requested(None), false).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(hotshoe_base::chain(&error).contains("request binary data"));
    let body = json::write(&response, &requested(Some(true)), false).unwrap();
    assert_eq!(body.pieces.len(), 3);
    assert_eq!(body.header_length, Some(body.pieces[0].len()));
}
