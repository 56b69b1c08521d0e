//! Triton's extensions without a network: batches of samples, base64, FP16 in JSON, classification, compression and raw bodies.

use std::io::Write;

use axum::http::StatusCode;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use hotshoe_infer::{ElementType, Tensor};
use serde_json::{Value, json};
use tonic::Code;

use super::{fault, read, tensors_of};
use crate::catalogue::{CallTarget, Callable};
use crate::classify::classify;
use crate::compression::Coding;
use crate::error::{RequestError, TensorFault};
use crate::limits::MAX_SAMPLES;
use crate::raw::{body_shape, is_raw};
use crate::request::{Data, InferResponse, Output, RequestedOutput};
use crate::stats::{Spent, Statistics, Total};
use crate::{json, raw, request, unserved};

/// An input of BYTES, as JSON.
fn samples(shape: Value, data: Value, parameters: Value) -> Value {
    json!({ "name": "x", "datatype": "BYTES", "shape": shape, "data": data, "parameters": parameters })
}

fn elements(input: Value) -> Vec<Bytes> {
    match read(input).unwrap().inputs.remove(0).data {
        Data::Samples { elements, .. } => elements,
        Data::Elements { .. } => panic!("a tensor"),
    }
}

#[test]
fn bytes_are_a_batch_of_samples() {
    let expected = [Bytes::from_static(b"a"), Bytes::from_static(b"bc")];
    let flat = samples(json!([2]), json!(["a", "bc"]), json!({}));
    assert_eq!(elements(flat), expected);
    let nested = samples(json!([2, 1]), json!([["a"], ["bc"]]), json!({}));
    assert_eq!(elements(nested), expected);
    let bytes = Bytes::from_static(b"\x01\0\0\0a\x02\0\0\0bc");
    let raw = |bytes: Bytes, shape: &[usize]| request::from_raw("BYTES", shape.to_vec(), bytes);
    let shape = vec![2];
    let found = raw(bytes.clone(), &shape).unwrap();
    let elements = expected.to_vec();
    assert_eq!(found, Data::Samples { shape, elements });
    let cut = raw(bytes.slice(..bytes.len() - 1), &[2]).unwrap_err();
    assert!(
        matches!(cut, TensorFault::Prefix { position: 1, .. }),
        "{cut}"
    );
    let behind = raw(bytes, &[1]).unwrap_err();
    assert!(
        matches!(behind, TensorFault::Behind { left: 6, .. }),
        "{behind}"
    );
    let fewer = fault(samples(json!([3]), json!(["a", "b"]), json!({})));
    assert!(
        matches!(fewer, TensorFault::Count { want: 3, .. }),
        "{fewer}"
    );
    let more = fault(samples(json!([1]), json!(["a", "b"]), json!({})));
    assert!(matches!(more, TensorFault::Count { want: 1, .. }), "{more}");
    let none = fault(samples(json!([0]), json!([]), json!({})));
    assert!(matches!(none, TensorFault::NotSingle { .. }), "{none}");
    let count = MAX_SAMPLES + 1;
    let many = fault(samples(json!([count]), json!(vec!["a"; count]), json!({})));
    assert!(matches!(many, TensorFault::Samples { .. }), "{many}");
}

#[test]
fn base64_in_json_is_a_sample() {
    let hello = [Bytes::from_static(b"hello")];
    let object = samples(json!([1]), json!([{ "b64": "aGVsbG8=" }]), json!({}));
    assert_eq!(elements(object), hello);
    let said = json!({ "content_type": "base64" });
    assert_eq!(
        elements(samples(json!([1]), json!(["aGVsbG8"]), said.clone())),
        hello
    );
    // Without that, a text is the sample itself.
    let text = [Bytes::from_static(b"aGVsbG8=")];
    assert_eq!(
        elements(samples(json!([1]), json!(["aGVsbG8="]), json!({}))),
        text
    );
    let broken = fault(samples(json!([2]), json!(["aGVsbG8=", "a b"]), said));
    assert!(
        matches!(broken, TensorFault::Base64 { position: 1 }),
        "{broken}"
    );
    let other = fault(samples(json!([1]), json!([{ "b65": "" }]), json!({})));
    assert!(matches!(other, TensorFault::Json(_)), "{other}");
}

#[test]
fn fp16_in_json_is_rounded_to_the_nearest() {
    let data = json!([1, 0.1, -2]);
    let request = read(json!({ "name": "x", "datatype": "FP16", "shape": [3], "data": data }));
    let bytes = vec![0x00, 0x3c, 0x66, 0x2e, 0x00, 0xc0];
    let expected = (ElementType::F16, vec![3], bytes.clone());
    assert_eq!(tensors_of(&request.unwrap()), [expected]);
    let tensor = Tensor::from_bytes(ElementType::F16, &[3], &bytes).unwrap();
    let body = json::write(&response(Output::Tensor(tensor)), &[], false).unwrap();
    let found: Value = serde_json::from_slice(&body.pieces[0]).unwrap();
    let found: Vec<f64> = serde_json::from_value(found["outputs"][0]["data"].clone()).unwrap();
    assert_eq!((found[0], found[2]), (1.0, -2.0));
    assert!((found[1] - 0.1).abs() < 1e-4, "{found:?}");
}

fn response(output: Output) -> InferResponse {
    InferResponse {
        model: "m".to_owned(),
        version: "7".to_owned(),
        id: String::new(),
        outputs: vec![("y".to_owned(), output)],
    }
}

fn classes(output: &Output, most: usize) -> (Vec<usize>, Vec<String>) {
    match classify(output, most).unwrap() {
        Output::Bytes { shape, elements } => (shape, elements),
        Output::Tensor(_) => panic!("a tensor"),
    }
}

#[test]
fn the_highest_values_of_each_row_are_classes() {
    let rows = vec![0.1, 0.7, 0.2, 5.0, f32::NAN, 5.0];
    let rows = Output::Tensor(Tensor::from_f32(&[2, 3], rows).unwrap());
    let (shape, found) = classes(&rows, 2);
    assert_eq!(shape, [2, 2]);
    assert_eq!(
        found,
        ["0.700000:1", "0.200000:2", "5.000000:0", "5.000000:2"]
    );
    let (shape, found) = classes(&rows, 100);
    assert_eq!((shape, found.len()), (vec![2, 3], 6));
    let whole = Output::Tensor(Tensor::from_i64(&[3], vec![4, 7, -1]).unwrap());
    assert_eq!(
        classes(&whole, 2),
        (vec![2], vec!["7:1".into(), "4:0".into()])
    );
    let none = Output::Tensor(Tensor::from_f32(&[0, 3], Vec::new()).unwrap());
    assert_eq!(classes(&none, 2), (vec![0, 0], Vec::new()));
    let texts = classify(
        &Output::Bytes {
            shape: vec![2],
            elements: classes(&whole, 2).1,
        },
        1,
    );
    assert!(matches!(texts, Err(TensorFault::NoClasses)));
    // As bytes, each has its length in front.
    let text = classify(&whole, 1).unwrap();
    assert_eq!(text.raw(), Bytes::from_static(b"\x03\0\0\x007:1"));
    let requested = RequestedOutput {
        name: "y".to_owned(),
        binary: None,
        classes: Some(1),
    };
    let body = json::write(&response(text), &[requested], false).unwrap();
    let found: Value = serde_json::from_slice(&body.pieces[0]).unwrap();
    let expected = json!({ "name": "y", "datatype": "BYTES", "shape": [1], "data": ["7:1"] });
    assert_eq!(found["outputs"][0], expected);
}

#[test]
fn an_output_says_how_many_classes_it_wants() {
    let read = |count: Value| {
        let output = json!({ "name": "y", "parameters": { "classification": count } });
        let body = json!({ "inputs": [], "outputs": [output] });
        json::read(&serde_json::to_vec(&body).unwrap().into(), None)
    };
    assert_eq!(read(json!(3)).unwrap().outputs[0].classes, Some(3));
    assert_eq!(read(json!(0)).unwrap().outputs[0].classes, None);
    for wrong in [json!(-1), json!("3")] {
        let error = read(wrong).unwrap_err();
        assert!(matches!(error, RequestError::Parameter(_)), "{error}");
    }
}

#[test]
fn a_compressed_body_is_bounded_after_decompression() {
    let body = Bytes::from(vec![7; 100_000]);
    for coding in [Coding::Gzip, Coding::Deflate] {
        let packed = coding
            .compress(&[body.slice(..10), body.slice(10..)])
            .unwrap();
        assert_eq!(coding.decompress(&packed, body.len()).unwrap(), body);
        let error = coding.decompress(&packed, body.len() - 1).unwrap_err();
        assert!(
            matches!(error, RequestError::TooLarge { limit: 99_999 }),
            "{error}"
        );
        let error = coding.decompress(&packed[..20], body.len()).unwrap_err();
        assert!(matches!(error, RequestError::Decompress { .. }), "{error}");
        assert_eq!(
            Coding::parse(Some(coding.as_header())).unwrap(),
            Some(coding)
        );
    }
    // As some clients send it: without the frame of zlib.
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&body).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(
        Coding::Deflate.decompress(&packed, body.len()).unwrap(),
        body
    );
    assert_eq!(Coding::parse(Some("identity")).unwrap(), None);
    let error = Coding::parse(Some("br")).unwrap_err();
    assert_eq!(error.kind().http(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
}

#[test]
fn an_answer_is_compressed_if_that_is_accepted_and_worth_it() {
    let accepted = |value| Coding::accepted(Some(value), 5000);
    assert_eq!(accepted("gzip"), Some(Coding::Gzip));
    assert_eq!(accepted("br, deflate;q=0.5"), Some(Coding::Deflate));
    assert_eq!(accepted("deflate, gzip;q=1.0"), Some(Coding::Gzip));
    assert_eq!(accepted("gzip;q=0, identity"), None);
    assert_eq!(Coding::accepted(None, 5000), None);
    assert_eq!(Coding::accepted(Some("gzip"), 100), None);
}

#[test]
fn a_body_that_is_no_json_is_the_input_itself() {
    let png = b"\x89PNG\r\n\x1a\n";
    assert!(is_raw(Some(0), Some("application/json"), b"{}"));
    assert!(is_raw(None, Some("image/jpeg"), b"{}"));
    assert!(is_raw(None, Some("application/octet-stream"), b"text"));
    assert!(is_raw(None, Some("application/x-www-form-urlencoded"), png));
    assert!(is_raw(None, None, png));
    assert!(!is_raw(Some(2), Some("image/jpeg"), b"{}rest"));
    assert!(!is_raw(
        None,
        Some("application/octet-stream"),
        b" {\"inputs\":[]}"
    ));
    assert!(!is_raw(None, None, b"[]"));
    assert!(!is_raw(None, None, b""));
    let target = CallTarget {
        name: "reader".to_owned(),
        version: "1".to_owned(),
        callable: Callable::Pipeline,
    };
    let read = |kind: &str| raw::read(&target, Some(kind), Bytes::from_static(png)).unwrap();
    let request = read("image/png");
    assert_eq!(
        request.parameters.content_type.as_deref(),
        Some("image/png")
    );
    assert_eq!(request.inputs[0].name, "sample");
    let (shape, elements) = (vec![1], vec![Bytes::from_static(png)]);
    assert_eq!(request.inputs[0].data, Data::Samples { shape, elements });
    let unknown = read("application/octet-stream").parameters.content_type;
    assert_eq!(unknown, None);
}

#[test]
fn the_shape_of_a_raw_body_follows_from_its_length() {
    assert_eq!(body_shape(&[Some(2), Some(3)], 24, 4), Some(vec![2, 3]));
    assert_eq!(body_shape(&[None, Some(3)], 24, 4), Some(vec![2, 3]));
    assert_eq!(
        body_shape(&[None, Some(3), None], 24, 4),
        Some(vec![1, 3, 2])
    );
    assert_eq!(body_shape(&[], 4, 4), Some(Vec::new()));
    assert_eq!(body_shape(&[Some(2), Some(3)], 23, 4), None);
    assert_eq!(body_shape(&[None, Some(3)], 20, 4), None);
    assert_eq!(body_shape(&[None, Some(3), None, None], 24, 4), None);
    assert_eq!(body_shape(&[Some(0), None], 0, 4), None);
}

#[test]
fn what_is_not_implemented_says_what_to_do_instead() {
    for (error, instead) in [
        (
            unserved::over_http("/v2/repository/models/m/load"),
            "publish or install",
        ),
        (
            unserved::over_http("/v2/systemsharedmemory/region/r/register"),
            "in the request",
        ),
        (
            unserved::over_http("/v2/cudasharedmemory/status"),
            "in the request",
        ),
        (unserved::over_http("/v2/trace/setting"), "[metrics]"),
        (
            unserved::over_http("/v2/models/m/trace/setting"),
            "[metrics]",
        ),
        (unserved::over_http("/v2/logging"), "[log]"),
        (
            unserved::over_http("/v2/models/m/generate_stream"),
            "`infer`",
        ),
        (
            unserved::over_grpc("/inference.GRPCInferenceService/RepositoryModelUnload"),
            "publish",
        ),
        (
            unserved::over_grpc("/inference.GRPCInferenceService/SystemSharedMemoryStatus"),
            "request",
        ),
        (
            unserved::over_grpc("/inference.GRPCInferenceService/ModelStreamInfer"),
            "ModelInfer",
        ),
        (unserved::over_grpc("/grpc.health.v1.Health/Watch"), "Check"),
    ] {
        let said = error.to_string();
        assert!(
            said.contains("is not implemented; ") && said.contains(instead),
            "{said}"
        );
        assert_eq!(error.name(), "not_implemented");
        assert_eq!(error.kind().http(), StatusCode::NOT_IMPLEMENTED);
        assert_eq!(error.kind().grpc(), Code::Unimplemented);
    }
    let nothing = unserved::over_http("/v2/nothing");
    assert_eq!(
        (nothing.name(), nothing.kind().http()),
        ("unknown_path", StatusCode::NOT_FOUND)
    );
    let nothing = unserved::over_grpc("/inference.GRPCInferenceService/Nothing");
    let status = crate::answer::status(&nothing);
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(
        status.message().starts_with("unknown_method: /inference."),
        "{status}"
    );
    assert_eq!(
        status.metadata().get("hotshoe-error").unwrap(),
        "unknown_method"
    );
}

#[test]
fn statistics_are_those_of_one_release() {
    let statistics = Statistics::default();
    let time = std::time::Duration::from_nanos;
    let spent = Spent {
        input: time(1),
        infer: time(2),
        output: time(3),
        executions: 2,
    };
    statistics.count(("m", "1"), time(10), Some(&spent));
    statistics.count(("m", "1"), time(10), Some(&spent));
    statistics.count(("m", "1"), time(5), None);
    let found = statistics.of("m", "1");
    assert_eq!(found.success, Total { count: 2, ns: 20 });
    assert_eq!(found.fail, Total { count: 1, ns: 5 });
    assert_eq!(found.infer, Total { count: 2, ns: 4 });
    assert_eq!((found.inferences, found.executions), (4, 4));
    assert!(found.last_ms > 0);
    assert_eq!(statistics.of("n", "1").success, Total::default());
    statistics.count(("n", "2"), time(1), None);
    assert_eq!(statistics.of("m", "1"), crate::stats::Counters::default());
    assert_eq!(statistics.of("n", "2").fail.count, 1);
}
