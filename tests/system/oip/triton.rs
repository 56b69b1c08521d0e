//! Triton's extensions: configuration, statistics, compression, classification, batches of samples, raw bodies, health, and what says
//! that it is not implemented.

use serde_json::{Value, json};

use super::{OUTPUT, Python, SHAPE, given, serve};
use crate::support::{Workspace, environment, lines};

fn call(python: &Python, scenario: &str, given: &Value) -> Value {
    let script = "tests/system/oip/triton.py";
    Python::answer(scenario, python.script(script, scenario, given))
}

#[test]
fn tritonclient_describes_models_and_counts_requests() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let (_daemon, url) = serve(&workspace, &Workspace::recipe("release.toml"), "", "");
    let more = json!({ "pipeline": "label-reader" });
    let found = call(&python, "describe", &given(&url, more));
    for (form, size) in [
        ("http", json!([-1, 3, -1, -1])),
        ("grpc", json!(["-1", "3", "-1", "-1"])),
    ] {
        let config = &found[form];
        assert_eq!(config["name"], "classify-angle", "{config}");
        let input = &config["input"][0];
        assert_eq!(
            (&input["name"], &input["data_type"]),
            (&json!("x"), &json!("TYPE_FP32"))
        );
        assert_eq!(input["dims"], size);
        assert_eq!(config["output"][0]["name"], OUTPUT);
    }
    assert_eq!(found["http"], found["http_version"]);
    assert_eq!(found["http"]["max_batch_size"], 0);
    assert_eq!(found["pipeline"]["backend"], "hotshoe");
    assert_eq!(found["pipeline"]["input"][0]["data_type"], "TYPE_STRING");

    let before = &found["before"]["http"];
    assert_eq!(
        (&before["name"], &before["version"]),
        (&json!("classify-angle"), &json!("1"))
    );
    assert_eq!(
        (&before["last_inference"], &before["inference_count"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(
        before["inference_stats"]["success"],
        json!({ "count": 0, "ns": 0 })
    );
    let after = &found["after"]["http"];
    assert_eq!(
        (&after["inference_count"], &after["execution_count"]),
        (&json!(2), &json!(2))
    );
    assert!(after["last_inference"].as_u64().unwrap() > 0);
    let statistics = &after["inference_stats"];
    for (name, count) in [
        ("success", 2),
        ("fail", 1),
        ("compute_input", 2),
        ("compute_infer", 2),
        ("compute_output", 2),
        ("queue", 0),
        ("cache_hit", 0),
    ] {
        assert_eq!(statistics[name]["count"], count, "{name}: {after}");
    }
    let ns = |name: &str| statistics[name]["ns"].as_u64().unwrap();
    let parts = ["compute_input", "compute_infer", "compute_output"].map(ns);
    assert!(
        parts[1] > 0 && parts.iter().sum::<u64>() <= ns("success"),
        "{after}"
    );
    // The JSON of protobuf has text for numbers of 64 bits.
    let by_grpc = &found["after"]["grpc"]["inference_stats"];
    assert_eq!(by_grpc["success"]["count"], "2");
    assert_eq!(
        by_grpc["compute_infer"]["ns"],
        ns("compute_infer").to_string()
    );
    let names = json!(["classify-angle", "detect", "recognise", "label-reader"]);
    assert_eq!((&found["all"], &found["all_grpc"]), (&names, &names));
    assert_eq!(found["unknown"]["http"]["status"], "404");
    assert_eq!(found["unknown"]["grpc"]["status"], "StatusCode.NOT_FOUND");
}

#[test]
fn bodies_and_answers_are_compressed() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let (_daemon, url) = serve(&workspace, &Workspace::recipe("release.toml"), "", "");
    let found = call(&python, "compressed", &given(&url, json!({})));
    for form in ["http", "grpc"] {
        for how in ["gzip", "deflate"] {
            assert_eq!(found[form][how], found["plain"], "{form} {how}");
        }
    }
    assert_eq!(found["encoding"], "gzip");
    assert_eq!(found["no_encoding"], Value::Null);
    assert_eq!(found["same"], true);
    assert_eq!(found["sums"]["gzip"], found["sums"]["None"]);
    assert_eq!(found["sums"]["deflate"], found["sums"]["None"]);
}

#[test]
fn a_body_that_is_too_large_once_decompressed_is_refused() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml");
    let (_daemon, url) = serve(&workspace, &recipe, "max-body-mib = 1", "");
    let found = call(&python, "bombs", &given(&url, json!({})));
    for form in ["http", "deflate"] {
        assert_eq!(found[form]["status"], 413, "{found}");
        assert_eq!(found[form]["body"]["name"], "too_large");
    }
    assert_eq!(found["grpc"]["status"], "StatusCode.RESOURCE_EXHAUSTED");
    let message = found["grpc"]["message"].as_str().unwrap();
    assert!(message.starts_with("too_large: "), "{message}");
    assert!(message.contains("oip.max-body-mib"), "{message}");
    assert_eq!(found["broken"]["status"], 400, "{found}");
    assert_eq!(found["broken"]["body"]["name"], "invalid_request");
    assert_eq!(found["unknown"]["status"], 415, "{found}");
}

#[test]
fn samples_come_in_batches_as_files_and_as_base64() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let (daemon, url) = serve(&workspace, &Workspace::recipe("release.toml"), "", "");
    let page = environment().picture("page.png");
    let more = json!({ "pipeline": "label-reader", "file": page });
    let found = call(&python, "samples", &given(&url, more));
    for (batch, shape) in [
        ("http1", json!([2])),
        ("http2", json!([2, 1])),
        ("grpc1", json!([2])),
        ("grpc2", json!([2, 1])),
    ] {
        let batch = &found["batches"][batch];
        assert_eq!(batch["shape"], shape);
        let insights = batch["insights"].as_array().unwrap();
        assert_eq!(insights.len(), 2);
        for insight in insights {
            assert_eq!(lines(insight), lines(&found["one"]["insight"]));
        }
    }
    assert_eq!(found["mixed"]["status"], "400");
    let mixed = found["mixed"]["message"].as_str().unwrap();
    assert!(mixed.contains("sample 2 of 2 failed"), "{mixed}");
    let files = found["files"].as_object().unwrap();
    assert_eq!(files.len(), 7);
    for (how, file) in files {
        assert_eq!(file["status"], 200, "{how}: {file}");
        let output = &file["body"]["outputs"][0];
        assert_eq!(output["name"], "insight", "{how}");
        let insight: Value = serde_json::from_str(output["data"][0].as_str().unwrap()).unwrap();
        assert_eq!(lines(&insight), lines(&found["one"]["insight"]), "{how}");
    }
    // Four batches of two, one of two in which the second fails, seven files, and the one.
    let counters = daemon.status().counters;
    assert_eq!((counters.accepted, counters.results), (18, 17));
    assert_eq!(found["text"]["status"], 400);
    let text = found["text"]["body"]["error"].as_str().unwrap();
    assert!(
        text.contains("Inference-Header-Content-Length: 0"),
        "{text}"
    );
    assert_eq!(found["tensor"]["status"], 400);
    let tensor = found["tensor"]["body"]["error"].as_str().unwrap();
    assert!(tensor.contains("does not give the shape"), "{tensor}");
}

#[test]
fn an_output_is_returned_as_classes() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml");
    let (_daemon, url) = serve(&workspace, &recipe, "", "");
    let found = call(&python, "classes", &given(&url, json!({ "shape": SHAPE })));
    for form in ["http", "grpc"] {
        let values: Vec<f64> = serde_json::from_value(found[form]["values"].clone()).unwrap();
        let [first, second] = values[..] else {
            panic!("{values:?}");
        };
        let mut expected = [(first, 0), (second, 1)];
        if second > first {
            expected.reverse();
        }
        let expected = expected.map(|(value, class)| format!("{value:.6}:{class}"));
        assert_eq!(found[form]["shape"], json!([1, 2]));
        assert_eq!(found[form]["classes"], json!(expected));
    }
}

#[test]
fn what_is_not_implemented_says_what_and_what_to_do() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml");
    let (_daemon, url) = serve(&workspace, &recipe, "", "");
    let found = call(&python, "refused", &given(&url, json!({})));
    for (case, instead) in [
        ("load", "publish or install"),
        ("unload", "publish or install"),
        ("shared", "send the elements"),
        ("cuda", "send the elements"),
        ("trace", "[metrics]"),
        ("log", "[log]"),
    ] {
        for (form, status) in [("http", "501"), ("grpc", "StatusCode.UNIMPLEMENTED")] {
            let error = &found[form][case];
            assert_eq!(error["status"], status, "{form} {case}: {error}");
            let message = error["message"].as_str().unwrap();
            assert!(
                message.contains("is not implemented; "),
                "{form} {case}: {message}"
            );
            assert!(message.contains(instead), "{form} {case}: {message}");
            assert!(
                form == "http" || message.starts_with("not_implemented: "),
                "{message}"
            );
        }
    }
    assert_eq!(found["http"]["region"]["status"], "400");
    let region = found["http"]["region"]["message"].as_str().unwrap();
    assert!(
        region.contains("shared memory is not supported"),
        "{region}"
    );
    assert_eq!(found["generate"]["status"], 501);
    assert_eq!(found["generate"]["body"]["name"], "not_implemented");
    assert_eq!(found["stream"]["status"], "StatusCode.UNIMPLEMENTED");
    let stream = found["stream"]["message"].as_str().unwrap();
    assert!(stream.contains("call ModelInfer for each"), "{stream}");

    let found = call(&python, "health", &given(&url, json!({})));
    for (case, code, message) in [
        ("unknown", "NOT_FOUND", "unknown_service: "),
        ("malformed", "INTERNAL", "invalid_request: "),
        ("watch", "UNIMPLEMENTED", "not_implemented: "),
    ] {
        let error = &found[case];
        assert_eq!(error["code"], code, "{case}: {found}");
        let said = error["message"].as_str().unwrap();
        assert!(said.starts_with(message), "{case}: {said}");
        assert_eq!(error["name"], message.trim_end_matches(": "), "{case}");
    }
}

#[test]
fn the_health_of_the_server_is_that_of_its_release() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("classify-angle.toml");
    let (_daemon, url) = serve(&workspace, &recipe, "", "");
    let found = call(&python, "health", &given(&url, json!({})));
    // The field `status`, SERVING.
    assert_eq!(found["server"], json!([8, 1]));
    assert_eq!(found["service"], json!([8, 1]));
}
