//! The Open Inference Protocol, driven by the client that its users have: NVIDIA's from PyPI, over HTTP and gRPC.

#[path = "oip/guarded.rs"]
mod guarded;
#[path = "oip/resting.rs"]
mod resting;
#[path = "oip/swapped.rs"]
mod swapped;
#[path = "oip/triton.rs"]
mod triton;

pub(crate) use guarded::raw;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hotshoe_infer::{ModelOptions, Models, Options, Tensor};
use hotshoe_tests::{Need, skip};
use hotshoe_trust::Digest;
use serde_json::{Value, json};

use crate::python::installed;
use crate::support::{Daemon, Workspace, environment, free_endpoint, lines};

/// The client and all that it needs for these calls.
const PACKAGES: [&str; 15] = [
    "tritonclient==2.73.0",
    "numpy==2.4.6",
    "ml_dtypes==0.5.4",
    "python-rapidjson==1.25",
    "urllib3==2.8.0",
    "grpcio==1.85.1",
    "protobuf==6.33.6",
    "packaging==26.3",
    "typing_extensions==4.16.0",
    "geventhttpclient==2.6.1",
    "gevent==26.9.0",
    "greenlet==3.3.2",
    "zope.event==6.2",
    "zope.interface==8.7",
    "brotli==1.2.1",
];
/// The angle classifier's input.
const SHAPE: [usize; 4] = [1, 3, 48, 192];
/// The angle classifier's output.
const OUTPUT: &str = "save_infer_model/scale_0.tmp_1";

/// Calls daemons from Python.
struct Python {
    packages: PathBuf,
}

impl Python {
    fn get() -> Option<Self> {
        match installed("tritonclient-2.73.0", &PACKAGES) {
            Ok(packages) => Some(Self { packages }),
            Err(reason) => {
                skip(Need::PythonPackages, &reason);
                None
            }
        }
    }

    fn command(&self, scenario: &str, given: &Value) -> Command {
        self.script("tests/system/oip.py", scenario, given)
    }

    fn script(&self, script: &str, scenario: &str, given: &Value) -> Command {
        let mut command = Command::new("python3");
        command
            .arg(environment().root.join(script))
            .args([scenario, &given.to_string()])
            .env("PYTHONPATH", &self.packages)
            .stdin(Stdio::null());
        command
    }

    fn call(&self, scenario: &str, given: &Value) -> Value {
        Self::answer(scenario, self.command(scenario, given))
    }

    fn answer(scenario: &str, mut command: Command) -> Value {
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{scenario}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A daemon that answers the protocol, and where. `oip` is added to `[oip]`, `more` to the rest.
fn serve(workspace: &Workspace, recipe: &str, oip: &str, more: &str) -> (Daemon, String) {
    let address = free_address();
    let release = workspace.release(recipe);
    let config = format!("[oip]\nlisten = \"{address}\"\n{oip}\n{more}");
    let daemon = workspace.device("a", &release, &config).run();
    (daemon, address)
}

pub(crate) fn free_address() -> String {
    free_endpoint().trim_start_matches("tcp/").to_owned()
}

fn given(url: &str, more: Value) -> Value {
    let mut given = json!({
        "url": url,
        "model": "classify-angle",
        "shape": SHAPE,
        "output": OUTPUT,
    });
    for (key, value) in more.as_object().unwrap() {
        given[key] = value.clone();
    }
    given
}

/// What the model itself makes of these elements.
fn reference(elements: &[f32]) -> Vec<f32> {
    let bytes = fs::read(environment().model("classify-angle")).unwrap();
    let models = Models::new(Options::default());
    let model = models.load(Digest::of(&bytes), &bytes, &ModelOptions::default());
    let input = Tensor::from_f32(&SHAPE, elements.to_vec()).unwrap();
    let outputs = model.unwrap().run(&[("x", &input)]).unwrap();
    assert_eq!(outputs[0].0, OUTPUT);
    outputs[0].1.as_f32().unwrap().to_vec()
}

#[test]
fn models_and_the_pipeline_are_called_by_tritonclient() {
    let Some(python) = Python::get() else {
        return;
    };
    let workspace = Workspace::new();
    let (daemon, url) = serve(&workspace, &Workspace::recipe("release.toml"), "", "");

    let found = python.call(
        "describe",
        &given(&url, json!({ "pipeline": "label-reader" })),
    );
    for form in ["http", "grpc"] {
        let found = &found[form];
        for ready in ["live", "ready", "model_ready", "version_ready"] {
            assert_eq!(found[ready], true, "{form} {ready}");
        }
        assert_eq!(found["other_version_ready"], false, "{form}");
        assert_eq!(found["server"]["name"], "hotshoe");
        assert_eq!(found["server"]["extensions"][0], "binary_tensor_data");
        assert_eq!(found["model"]["versions"], json!(["1"]));
        assert_eq!(found["model"]["inputs"][0]["name"], "x");
        assert_eq!(found["model"]["inputs"][0]["datatype"], "FP32");
        assert_eq!(found["model"]["outputs"][0]["name"], OUTPUT);
        assert_eq!(found["pipeline"]["platform"], "hotshoe_pipeline");
        assert_eq!(found["pipeline"]["inputs"][0]["datatype"], "BYTES");
        let names: Vec<_> = found["index"].as_array().unwrap().iter().collect();
        let names: Vec<_> = names.iter().map(|model| model["name"].clone()).collect();
        assert_eq!(
            names,
            ["classify-angle", "detect", "recognise", "label-reader"]
        );
    }
    // The protocol's JSON has numbers, that of gRPC in Python strings.
    assert_eq!(
        found["http"]["model"]["inputs"][0]["shape"],
        json!([-1, 3, -1, -1])
    );

    every_form_gives_the_same(&python, &url, &workspace);
    the_pipeline_is_a_model(&python, &url, &daemon);
    refusals_are_in_the_protocols_form(&python, &url);
}

fn every_form_gives_the_same(python: &Python, url: &str, workspace: &Workspace) {
    let count: u16 = SHAPE.iter().map(|&size| size as u16).product();
    let elements: Vec<f32> = (0..count).map(|i| (f32::from(i) * 0.01).sin()).collect();
    let wanted = reference(&elements);
    let file = workspace.path("elements");
    let bytes: Vec<u8> = elements.iter().flat_map(|x| x.to_le_bytes()).collect();
    fs::write(&file, bytes).unwrap();
    let found = python.call("infer", &given(url, json!({ "elements": file })));
    assert_eq!(found["id"], "seven");
    for form in [
        "binary",
        "json",
        "binary_to_json",
        "json_to_binary",
        "all_outputs",
        "grpc",
        "grpc_typed",
    ] {
        assert_eq!(found[form], found["binary"], "{form}");
        let values = found[form][OUTPUT].as_array().unwrap();
        assert_eq!(values.len(), wanted.len(), "{form}");
        for (value, wanted) in values.iter().zip(&wanted) {
            let difference = value.as_f64().unwrap() - f64::from(*wanted);
            assert!(difference.abs() < 1e-4, "{form}: {value} {wanted}");
        }
    }
}

fn the_pipeline_is_a_model(python: &Python, url: &str, daemon: &Daemon) {
    let page = environment().picture("page.png");
    let more = json!({ "pipeline": "label-reader", "file": page, "content_type": "image/png" });
    let found = python.call("pipeline", &given(url, more));
    for answer in found["answers"].as_array().unwrap() {
        assert_eq!(lines(&answer["insight"]).len(), 5);
        assert!(!answer["actions"].as_array().unwrap().is_empty());
    }
    assert_eq!(found["one"], json!(["actions"]));
    assert_eq!(found["actions"], found["answers"][0]["actions"]);
    assert_eq!(found["no_picture"]["status"], "400");
    assert_eq!(found["two_samples"]["status"], "400");
    assert_eq!(found["bad_id"]["status"], "400");
    // Each sample that was taken is counted as one that came over Zenoh: three pages, no picture, and a bad id.
    let counters = daemon.status().counters;
    assert_eq!((counters.accepted, counters.results), (5, 3));
    assert_eq!(counters.faults["invalid_sample_id"], 1);
    assert!(counters.add_up());
}

fn refusals_are_in_the_protocols_form(python: &Python, url: &str) {
    let found = python.call("errors", &given(url, json!({})));
    let wanted = [
        (
            "unknown_model",
            "404",
            "NOT_FOUND",
            "there is no model \"nothing\"",
        ),
        (
            "unknown_version",
            "404",
            "NOT_FOUND",
            "version \"1\" serves",
        ),
        (
            "wrong_type",
            "400",
            "INVALID_ARGUMENT",
            "takes f32, but the tensor is f64",
        ),
        (
            "wrong_shape",
            "400",
            "INVALID_ARGUMENT",
            "has shape [?, 3, ?, ?]",
        ),
        (
            "wrong_bytes",
            "400",
            "INVALID_ARGUMENT",
            "bytes, but there are",
        ),
        (
            "unknown_input",
            "400",
            "INVALID_ARGUMENT",
            "has no input \"y\"",
        ),
        (
            "unknown_output",
            "400",
            "INVALID_ARGUMENT",
            "there is no output \"y\"",
        ),
        (
            "unknown_type",
            "400",
            "INVALID_ARGUMENT",
            "\"UINT16\" is not supported",
        ),
        (
            "sample_for_a_model",
            "400",
            "INVALID_ARGUMENT",
            "does not accept BYTES",
        ),
        (
            "sequence",
            "400",
            "INVALID_ARGUMENT",
            "sequences are not supported",
        ),
        (
            "metadata",
            "404",
            "NOT_FOUND",
            "there is no model \"nothing\"",
        ),
        ("not_there", "404", "UNIMPLEMENTED", ""),
    ];
    for (case, status, code, message) in wanted {
        for (form, status) in [
            ("http", status.to_owned()),
            ("grpc", format!("StatusCode.{code}")),
        ] {
            let error = &found[form][case];
            assert_eq!(error["status"], *status, "{form} {case}: {error}");
            let said = error["message"].as_str().unwrap();
            assert!(said.contains(message), "{form} {case}: {said}");
        }
    }
}
