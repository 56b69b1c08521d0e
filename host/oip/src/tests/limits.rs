//! Limits: memory stays proportional to a request's bytes, and a slot is not released too early.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use axum::body::Body;
use bytes::Bytes;
use http_body::Body as _;
use proptest::prelude::*;
use prost::Message;
use serde_json::json;
use tokio::sync::Semaphore;

use super::TYPES;
use crate::error::{Kind, RequestError};
use crate::limits::MAX_ENTRIES;
use crate::proto::infer_parameter::ParameterChoice;
use crate::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::proto::{InferParameter, InferTensorContents, ModelInferRequest};
use crate::slot_body::SlotBody;
use crate::wire::{Limits, WireError, check};
use crate::{datatype, json};

const LIMITS: Limits = Limits {
    fields: MAX_ENTRIES,
    list_bytes: 64 << 20,
};

fn parameters() -> impl Strategy<Value = std::collections::HashMap<String, InferParameter>> {
    let choice = prop_oneof![
        any::<bool>().prop_map(ParameterChoice::BoolParam),
        any::<i64>().prop_map(ParameterChoice::Int64Param),
        any::<u64>().prop_map(ParameterChoice::Uint64Param),
        any::<f64>().prop_map(ParameterChoice::DoubleParam),
        ".{0,8}".prop_map(ParameterChoice::StringParam),
    ];
    let parameter = proptest::option::of(choice)
        .prop_map(|parameter_choice| InferParameter { parameter_choice });
    proptest::collection::hash_map(".{0,8}", parameter, 0..4)
}

fn contents() -> impl Strategy<Value = InferTensorContents> {
    fn list<T: Arbitrary>() -> impl Strategy<Value = Vec<T>> {
        proptest::collection::vec(any::<T>(), 0..20)
    }
    let bytes = proptest::collection::vec(list::<u8>().prop_map(Bytes::from), 0..4);
    let lists = (list(), list(), list(), list(), list(), list(), list());
    (lists, bytes).prop_map(|(lists, bytes_contents)| InferTensorContents {
        bool_contents: lists.0,
        int_contents: lists.1,
        int64_contents: lists.2,
        uint_contents: lists.3,
        uint64_contents: lists.4,
        fp32_contents: lists.5,
        fp64_contents: lists.6,
        bytes_contents,
    })
}

fn message() -> impl Strategy<Value = ModelInferRequest> {
    let datatype = (0..TYPES.len()).prop_map(|kind| datatype::name(TYPES[kind]).to_owned());
    let shape = proptest::collection::vec(any::<i64>(), 0..5);
    let contents = proptest::option::of(contents());
    let input = (".{0,12}", datatype, shape, parameters(), contents);
    let input = input.prop_map(
        |(name, datatype, shape, parameters, contents)| InferInputTensor {
            name,
            datatype,
            shape,
            parameters,
            contents,
        },
    );
    let output = (".{0,12}", parameters())
        .prop_map(|(name, parameters)| InferRequestedOutputTensor { name, parameters });
    let raw = proptest::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from);
    (
        ".{0,12}",
        ".{0,4}",
        ".{0,12}",
        parameters(),
        proptest::collection::vec(input, 0..5),
        proptest::collection::vec(output, 0..5),
        proptest::collection::vec(raw, 0..5),
    )
        .prop_map(|parts| ModelInferRequest {
            model_name: parts.0,
            model_version: parts.1,
            id: parts.2,
            parameters: parts.3,
            inputs: parts.4,
            outputs: parts.5,
            raw_input_contents: parts.6,
        })
}

/// The bytes of the lists of a message in memory.
fn list_bytes(message: &ModelInferRequest) -> usize {
    let of = |contents: &InferTensorContents| {
        contents.bool_contents.len()
            + (contents.int_contents.len() + contents.uint_contents.len()) * 4
            + (contents.int64_contents.len() + contents.uint64_contents.len()) * 8
            + contents.fp32_contents.len() * 4
            + contents.fp64_contents.len() * 8
    };
    let inputs = message.inputs.iter();
    let bytes =
        |input: &InferInputTensor| input.shape.len() * 8 + input.contents.as_ref().map_or(0, of);
    inputs.map(bytes).sum()
}

/// The number of entries in a decoded message.
fn entries(message: &ModelInferRequest) -> usize {
    let of = |contents: &InferTensorContents| 1 + contents.bytes_contents.len();
    let input = |input: &InferInputTensor| {
        1 + input.parameters.len() + input.contents.as_ref().map_or(0, of)
    };
    let outputs = message.outputs.iter();
    message.parameters.len()
        + message.raw_input_contents.len()
        + message.inputs.iter().map(input).sum::<usize>()
        + outputs.map(|o| 1 + o.parameters.len()).sum::<usize>()
}

proptest! {
    #[test]
    fn any_bytes_are_checked_and_what_is_decoded_was_counted(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let checked = check(&bytes, LIMITS);
        if let Ok(message) = ModelInferRequest::decode(bytes.as_slice()) {
            let exact = Limits { fields: bytes.len(), list_bytes: list_bytes(&message) };
                // Only groups are decoded (and ignored), but refused here.
            prop_assert!(checked == Err(WireError::Malformed) || check(&bytes, exact).is_ok());
        }
    }

    #[test]
    fn real_messages_pass_and_each_limit_is_exact(message in message()) {
        let bytes = message.encode_to_vec();
        prop_assert_eq!(check(&bytes, LIMITS), Ok(()));
        let list_bytes = list_bytes(&message);
        prop_assert_eq!(check(&bytes, Limits { list_bytes, ..LIMITS }), Ok(()));
        if let Some(limit) = list_bytes.checked_sub(1) {
            let less = Limits { list_bytes: limit, ..LIMITS };
            prop_assert_eq!(check(&bytes, less), Err(WireError::Lists { limit }));
        }
        if let Some(limit) = entries(&message).checked_sub(1) {
            let less = Limits { fields: limit, ..LIMITS };
            prop_assert_eq!(check(&bytes, less), Err(WireError::Fields { limit }));
        }
    }

    #[test]
    fn a_message_that_was_damaged_is_checked(
        message in message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = message.encode_to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
        }
        let checked = check(&bytes, LIMITS);
        if let Ok(decoded) = ModelInferRequest::decode(bytes.as_slice()) {
            let exact = Limits { fields: bytes.len(), list_bytes: list_bytes(&decoded) };
            // A list may occur twice, or a number outside a list.
            prop_assert!(checked == Err(WireError::Malformed) || check(&bytes, exact).is_ok());
        }
    }
}

#[test]
fn fields_of_two_bytes_are_not_decoded_without_end() {
    // Inputs, outputs, raw contents and parameters that are empty; the same within one input, and within its contents.
    let empty = |number: u8| [(number << 3) | 2, 0].repeat(70_000);
    let within = |number: u8, inner: Vec<u8>| {
        let mut bytes = vec![(number << 3) | 2];
        prost::encode_length_delimiter(inner.len(), &mut bytes).unwrap();
        bytes.extend(inner);
        bytes
    };
    let hostile = [
        empty(4),
        empty(5),
        empty(6),
        empty(7),
        within(5, empty(4)),
        within(6, empty(2)),
        within(5, within(5, empty(8))),
    ];
    for bytes in hostile {
        ModelInferRequest::decode(bytes.as_slice()).unwrap();
        let error = check(&bytes, LIMITS).unwrap_err();
        let limit = MAX_ENTRIES;
        assert_eq!(error, WireError::Fields { limit });
        assert_eq!(RequestError::from(error).kind(), Kind::TooLarge);
    }
    let small_numbers = within(5, within(5, within(3, vec![1; (8 << 20) + 1])));
    let limit = LIMITS.list_bytes;
    assert_eq!(
        check(&small_numbers, LIMITS),
        Err(WireError::Lists { limit })
    );
}

#[test]
fn json_with_many_small_entries_is_refused() {
    let read = |head: String| json::read(&head.into(), None).unwrap_err();
    let list = |entry: &str| vec![entry; MAX_ENTRIES + 1].join(",");
    for outputs in [list("{\"name\":\"\"}"), list("[\"\"]")] {
        let error = read(format!("{{\"inputs\":[],\"outputs\":[{outputs}]}}"));
        let said = hotshoe_base::chain(&error);
        assert!(said.contains(&MAX_ENTRIES.to_string()), "{said}");
    }
    let parameters = list("\"p\":1");
    let error = read(format!("{{\"inputs\":[],\"parameters\":{{{parameters}}}}}"));
    assert!(matches!(error, RequestError::Members), "{error}");
    let shape = list("1");
    let error = read(format!(
        "{{\"inputs\":[{{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[{shape}]}}]}}"
    ));
    assert!(
        hotshoe_base::chain(&error).contains("dimensions"),
        "{error}"
    );
    // Colons inside a sample do not count.
    let sample = "\\\":".repeat(MAX_ENTRIES);
    let input = json!({ "name": "x", "datatype": "BYTES", "shape": [1], "data": [sample] });
    let body = serde_json::to_vec(&json!({ "inputs": [input] })).unwrap();
    json::read(&body.into(), None).unwrap();
}

#[test]
fn a_slot_is_kept_until_the_last_piece_is_written() {
    let slots = Arc::new(Semaphore::new(1));
    let slot = Arc::new(Arc::clone(&slots).try_acquire_owned().unwrap());
    let content = Bytes::from_iter((0..=u8::MAX).cycle().take(1_000_003));
    let mut held = pin!(SlotBody::new(Body::from(content.clone()), slot));
    let mut context = Context::from_waker(Waker::noop());
    let mut written = Vec::new();
    while written.len() < content.len() {
        assert_eq!(slots.available_permits(), 0);
        let left = (content.len() - written.len()) as u64;
        assert_eq!(held.size_hint().exact(), Some(left));
        let Poll::Ready(Some(Ok(frame))) = held.as_mut().poll_frame(&mut context) else {
            panic!("the body ended");
        };
        written.extend(frame.into_data().unwrap());
    }
    assert_eq!(slots.available_permits(), 1);
    assert!(held.is_end_stream());
    assert_eq!(written, content);
}
