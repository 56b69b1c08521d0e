//! `hotshoe model`, on the real models, and on what is no model.

#[path = "model/numbers.rs"]
pub(crate) mod numbers;
#[path = "model/refused.rs"]
mod refused;

use std::fs;
use std::path::Path;
use std::process::Command;

use hotshoe_devkit::Extra;
use hotshoe_tests::{Need, extra, skip};
use serde_json::Value;

use crate::python::installed;
use crate::support::{Workspace, environment, failure, hotshoe, success};

fn model(name: &str) -> String {
    environment().model(name).display().to_string()
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// ONNX Runtime's library, if this machine has one for the tests.
pub(crate) fn ort_library() -> Option<String> {
    extra(Extra::OnnxRuntime).map(|path| path.display().to_string())
}

/// A `.npy` of floats, version 1.
fn npy(shape: &str, elements: usize) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    for position in 0..elements {
        bytes.extend(((position % 251) as f32 / 125.0 - 1.0).to_le_bytes());
    }
    bytes
}

#[test]
fn inspect_says_what_a_model_holds() {
    let it = json(&success([
        "model",
        "inspect",
        &model("detect"),
        "--shape",
        "x=1,3,640,640",
        "--json",
    ]));
    assert_eq!(it["inputs"][0]["name"], "x");
    assert_eq!(it["inputs"][0]["type"], "f32");
    assert_eq!(it["inputs"][0]["shape"][1], 3);
    assert_eq!(it["bytes"], 4_745_517);
    assert!(it["opsets"]["ai.onnx"].as_i64().unwrap() >= 9);
    assert!(it["operators"]["Conv"].as_u64().unwrap() > 30, "{it}");
    let weights = it["parameters"]["by_type"]["f32"]["bytes"]
        .as_u64()
        .unwrap();
    assert!((4_000_000..4_745_517).contains(&weights), "{weights}");
    assert_eq!(it["work"]["not_counted"].as_array().unwrap().len(), 0);
    let tract = &it["backends"][0];
    assert_eq!(tract["backend"], "tract");
    assert_eq!(tract["runs"], true);
    assert_eq!(tract["planned"], true);

    // Four times the pixels are four times the work of a network of convolutions.
    let work = |sizes: &str| {
        let shape = format!("x=1,3,{sizes}");
        let text = success([
            "model",
            "inspect",
            &model("detect"),
            "--shape",
            &shape,
            "--json",
        ]);
        json(&text)["work"]["multiply_adds"].as_f64().unwrap()
    };
    let ratio = work("640,640") / work("320,320");
    assert!((3.99..=4.01).contains(&ratio), "{ratio}");
}

#[test]
fn inspect_asks_for_the_shapes_that_it_cannot_guess() {
    let text = success(["model", "inspect", &model("classify-angle"), "--json"]);
    let it = json(&text);
    assert_eq!(it["work"]["multiply_adds"], Value::Null);
    assert_eq!(it["work"]["open"][0], "x");
    let text = success(["model", "inspect", &model("classify-angle")]);
    assert!(text.contains("--shape x=1,3,?,?"), "{text}");
}

#[test]
fn inspect_names_what_is_wrong_with_a_file_or_a_shape() {
    let workspace = Workspace::new();
    let whole = fs::read(environment().model("recognise")).unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = workspace.path(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    for (name, bytes) in [
        ("half.onnx", &whole[..whole.len() / 2]),
        ("empty.onnx", b"".as_slice()),
        ("page.onnx", b"<!DOCTYPE html><html></html>"),
        ("zeros.onnx", &[0; 64]),
    ] {
        let path = write(name, bytes);
        let said = failure(["model", "inspect", &path]);
        assert!(said.starts_with("bad_model: "), "{name}: {said}");
        let said = failure(["model", "compare", &path, &path, "--synthetic", "1"]);
        assert!(said.starts_with("not_loadable: "), "{name}: {said}");
        let out = workspace.path("out.onnx").display().to_string();
        let said = failure(["model", "optimise", &path, "-o", &out]);
        assert!(said.starts_with("bad_model: "), "{name}: {said}");
    }
    let inspect = |shape: &str| failure(["model", "inspect", &model("detect"), "--shape", shape]);
    assert!(inspect("y=1").starts_with("unknown_input: "));
    assert!(inspect("x=1,4,640,640").starts_with("wrong_shape: "));
    assert!(inspect("x=1,3").starts_with("wrong_shape: "));
    assert_eq!(
        hotshoe(["model", "inspect", "a", "--shape", "x"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn inspect_names_the_first_operator_that_a_backend_cannot_run() {
    let Some(cases) = extra(Extra::NodeCases) else {
        return;
    };
    let file = cases.join("test_unique_not_sorted_without_axis/model.onnx");
    let output = hotshoe([
        "model".as_ref(),
        "inspect".as_ref(),
        file.as_os_str(),
        "--json".as_ref(),
    ]);
    let it = json(&String::from_utf8(output.stdout).unwrap());
    let tract = &it["backends"][0];
    assert_eq!(tract["runs"], false, "{it}");
    assert_eq!(tract["operator"], "Unique", "{it}");
    assert!(
        tract["reason"].as_str().unwrap().contains("operator"),
        "{it}"
    );
    if let Some(library) = ort_library() {
        let output = hotshoe([
            "model".as_ref(),
            "inspect".as_ref(),
            file.as_os_str(),
            "--json".as_ref(),
            "--ort-library".as_ref(),
            library.as_ref(),
        ]);
        assert!(output.status.success());
        let it = json(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(it["backends"][1]["runs"], true, "{it}");
    }
}

#[test]
fn a_model_agrees_with_itself_and_not_with_a_damaged_copy() {
    let workspace = Workspace::new();
    let samples = workspace.path("samples");
    fs::create_dir(&samples).unwrap();
    for number in 0..3 {
        fs::write(
            samples.join(format!("{number}.npy")),
            npy("1, 3, 48, 192", 3 * 48 * 192),
        )
        .unwrap();
    }
    let inputs = samples.display().to_string();
    let same = [
        "--inputs",
        &inputs,
        "--runs",
        "4",
        "--max-drop",
        "0%",
        "--json",
    ];
    let file = model("classify-angle");
    let it = json(&success(
        ["model", "compare", &file, &file].iter().chain(&same),
    ));
    assert_eq!(it["passed"], true);
    assert_eq!(it["samples"], 3);
    assert_eq!(it["outputs"][0]["measure"], "top-1");
    assert_eq!(it["outputs"][0]["agreement"], 1.0);
    assert_eq!(it["outputs"][0]["max_error"], 0.0);
    assert_eq!(it["first"]["bytes"], 585_532);
    assert!(it["first"]["p95_ms"].as_f64() >= it["first"]["p50_ms"].as_f64());
    if cfg!(target_os = "linux") {
        let memory = it["first"]["memory_bytes"].as_u64().unwrap();
        assert!(memory > 100_000, "{memory}");
    }

    let mut bytes = fs::read(&file).unwrap();
    // Within the 40,000 bytes of one layer's weights, which are about 0.75 each from here on.
    bytes[70_000..100_000].fill(0x3f);
    let damaged = workspace.path("damaged.onnx");
    fs::write(&damaged, bytes).unwrap();
    let damaged = damaged.display().to_string();
    let gated = [
        "model",
        "compare",
        &file,
        &damaged,
        "--inputs",
        &inputs,
        "--runs",
        "1",
        "--max-drop",
        "2%",
        "--json",
    ];
    let output = hotshoe(gated);
    assert_eq!(output.status.code(), Some(1));
    let it = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(it["passed"], false, "{it}");
    assert!(it["drop"].as_f64().unwrap() > 0.02, "{it}");
    let text = String::from_utf8(hotshoe(&gated[..gated.len() - 1]).stdout).unwrap();
    assert!(text.contains("past 2 %"), "{text}");
}

#[test]
fn the_backends_agree_on_the_real_models() {
    let Some(library) = ort_library() else {
        return;
    };
    for (name, shape) in [
        ("classify-angle", "x=1,3,48,192"),
        ("recognise", "x=1,3,48,320"),
    ] {
        let file = model(name);
        let it = json(&success([
            "model",
            "compare",
            &file,
            &file,
            "--backend-a",
            "tract",
            "--backend-b",
            "ort",
            "--ort-library",
            &library,
            "--synthetic",
            "2",
            "--shape",
            shape,
            "--runs",
            "2",
            "--max-drop",
            "2%",
            "--json",
        ]));
        assert_eq!(it["first"]["backend"], "tract");
        assert_eq!(it["second"]["backend"], "ort");
        assert!(
            it["outputs"][0]["cosine_min"].as_f64().unwrap() > 0.9999,
            "{it}"
        );
    }
}

#[test]
fn what_cannot_be_compared_says_why() {
    let workspace = Workspace::new();
    let (classify, recognise) = (model("classify-angle"), model("recognise"));
    let compare = |second: &str, more: &[&str]| {
        failure(["model", "compare", &classify, second].iter().chain(more))
    };
    let noise = ["--synthetic", "1", "--shape", "x=1,3,48,192"];
    assert!(compare(&recognise, &noise).starts_with("different_models: "));
    let open = compare(&classify, &["--synthetic", "1"]);
    assert!(
        open.starts_with("open_shape: ") && open.contains("--shape x="),
        "{open}"
    );

    let folder = workspace.path("samples");
    fs::create_dir(&folder).unwrap();
    let inputs = ["--inputs", &folder.display().to_string()].map(str::to_owned);
    let with = || compare(&classify, &[&inputs[0], &inputs[1]]);
    assert!(with().starts_with("no_samples: "), "{}", with());
    let whole = npy("1, 3, 48, 192", 3 * 48 * 192);
    fs::write(folder.join("a.npy"), &whole[..1000]).unwrap();
    assert!(with().starts_with("bad_sample: "), "{}", with());
    fs::write(folder.join("a.npy"), npy("2, 2", 4)).unwrap();
    assert!(with().starts_with("run_failed: "), "{}", with());
    fs::rename(folder.join("a.npy"), folder.join("a.npz")).unwrap();
    assert!(with().starts_with("bad_sample: "), "{}", with());
}

#[test]
fn a_model_whose_shape_is_fixed_computes_the_same_with_fewer_nodes() {
    let workspace = Workspace::new();
    for (name, shape) in [
        ("classify-angle", "x=1,3,48,192"),
        ("recognise", "x=1,3,48,320"),
        ("detect", "x=1,3,320,320"),
    ] {
        let out = workspace.path(&format!("{name}.onnx"));
        let path = out.display().to_string();
        let it = json(&success([
            "model",
            "optimise",
            &model(name),
            "-o",
            &path,
            "--shape",
            shape,
            "--synthetic",
            "2",
            "--runs",
            "1",
            "--max-drop",
            "0.1%",
            "--json",
        ]));
        assert_eq!(it["kept"], true, "{it}");
        assert!(
            it["nodes_after"].as_u64() < it["nodes_before"].as_u64(),
            "{it}"
        );
        let inspected = json(&success(["model", "inspect", &path, "--json"]));
        let sizes: Vec<String> = inspected["inputs"][0]["shape"]
            .as_array()
            .unwrap()
            .iter()
            .map(Value::to_string)
            .collect();
        assert_eq!(format!("x={}", sizes.join(",")), shape);
        assert_eq!(inspected["work"]["assumed"].as_array().unwrap().len(), 0);
        let said = failure(["model", "optimise", &model(name), "-o", &path]);
        assert!(said.contains("--force"), "{said}");
    }
}

/// What `quantize_static` needs, from PyPI.
const QUANTISER: [&str; 8] = [
    "onnxruntime==1.31.1",
    "onnx==1.23.2",
    "numpy==2.4.6",
    "protobuf==7.36.2",
    "flatbuffers==25.12.19",
    "packaging==26.3",
    "ml_dtypes==0.6.0",
    "typing_extensions==4.16.0",
];

/// Real inputs of the angle classifier: what its release gives it for a picture.
fn classifier_inputs(workspace: &Workspace) -> String {
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let samples = workspace.path("samples");
    for picture in ["page.png", "text.png"] {
        let path = environment().picture(picture);
        success([
            "exec".as_ref(),
            release.as_os_str(),
            path.as_os_str(),
            "--trust".as_ref(),
            workspace.path("trust.toml").as_os_str(),
            "--save-inputs".as_ref(),
            samples.as_os_str(),
        ]);
    }
    let folder = fs::read_dir(&samples).unwrap().next().unwrap().unwrap();
    folder.path().display().to_string()
}

#[test]
fn int8_is_written_only_if_it_passes_and_is_not_slower() {
    let workspace = Workspace::new();
    let inputs = classifier_inputs(&workspace);
    let out = workspace.path("int8.onnx");
    let optimise = |python: &str, packages: &Path, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotshoe"));
        command
            .args(["model", "optimise", &model("classify-angle"), "--out"])
            .arg(&out)
            .args(["--int8", "--python", python, "--runs", "3", "--json"])
            .args(more)
            .env("PYTHONPATH", packages);
        if let Some(library) = ort_library() {
            command.args(["--ort-library", &library]);
        }
        let output = command.output().expect("hotshoe starts");
        let said = json(&String::from_utf8(output.stdout).unwrap());
        (output.status.code(), said)
    };
    let nowhere = Path::new("");
    let (code, said) = optimise("/nowhere/python", nowhere, &[]);
    assert_eq!(code, Some(1));
    assert_eq!(said["error"]["name"], "no_calibration");
    let with = ["--inputs", &inputs, "--max-drop", "1%"];
    let (_, said) = optimise("/nowhere/python", nowhere, &with);
    assert_eq!(said["error"]["name"], "no_quantiser");
    let packages = match installed("quantiser", &QUANTISER) {
        Ok(packages) => packages,
        Err(reason) => return skip(Need::PythonPackages, &reason),
    };
    // Which one it is depends on this machine.
    let (code, said) = optimise("python3", &packages, &with);
    if code == Some(0) {
        assert!(is_fast(&said["comparison"]), "{said}");
        fs::remove_file(&out).unwrap();
    } else {
        assert_eq!(said["error"]["name"], "slower_model", "{said}");
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.matches(" ms").count() == 2, "{message}");
        assert!(message.contains("--allow-slower"), "{message}");
        assert!(!out.exists());
    }

    let (code, said) = optimise(
        "python3",
        &packages,
        &[&with[..], &["--allow-slower"]].concat(),
    );
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said["kept"], true);
    let size = |when: &str| said[when].as_u64().unwrap();
    assert!(size("bytes_after") < size("bytes_before"), "{said}");
    let comparison = &said["comparison"];
    let others = comparison["others"].as_array().unwrap();
    if ort_library().is_some() {
        assert_eq!(others.len(), 1, "{said}");
    }
    for on in others.iter().chain([comparison]) {
        assert_eq!(on["outputs"][0]["measure"], "top-1", "{on}");
        assert_eq!(on["outputs"][0]["agreement"], 1.0, "{on}");
        assert_eq!(on["first"]["backend"], on["second"]["backend"]);
    }
    let inspected = json(&success([
        "model".as_ref(),
        "inspect".as_ref(),
        out.as_os_str(),
        "--json".as_ref(),
    ]));
    assert!(inspected["operators"]["QLinearConv"].as_u64().is_some());
}

/// Whether the second model is not slower than the first on any backend.
fn is_fast(comparison: &Value) -> bool {
    let others = comparison["others"].as_array().unwrap();
    let mut ratios = others
        .iter()
        .chain([comparison])
        .map(|it| &it["time_ratio"]);
    ratios.all(|ratio| ratio.as_f64().unwrap() <= 1.05)
}

#[test]
fn what_drops_too_far_is_not_left_behind_unless_it_is_to_be_kept() {
    let packages = match installed("quantiser", &QUANTISER) {
        Ok(packages) => packages,
        Err(reason) => {
            return skip(Need::PythonPackages, &reason);
        }
    };
    let workspace = Workspace::new();
    let out = workspace.path("int8.onnx");
    // The detector sees next to nothing in noise, so that rounding changes all that it says.
    let optimise = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
            .args(["model", "optimise", &model("detect"), "--out"])
            .arg(&out)
            .args(["--int8", "--shape", "x=1,3,160,160", "--runs", "1"])
            .args([
                "--max-drop",
                "0%",
                "--json",
                "--synthetic",
                "2",
                "--allow-slower",
            ])
            .args(more)
            .env("PYTHONPATH", &packages)
            .output()
            .expect("hotshoe starts");
        let said = json(&String::from_utf8(output.stdout).unwrap());
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said["comparison"]["passed"], false);
        said["kept"].as_bool().unwrap()
    };
    assert!(!optimise(&[]));
    assert!(!out.exists());
    assert!(optimise(&["--keep"]));
    assert!(out.exists());
}

#[test]
fn what_a_release_gives_its_model_can_be_compared_on() {
    let workspace = Workspace::new();
    let inputs = classifier_inputs(&workspace);
    let file = model("classify-angle");
    let arguments = [
        "--inputs",
        &inputs,
        "--runs",
        "1",
        "--max-drop",
        "0%",
        "--json",
    ];
    let it = json(&success(
        ["model", "compare", &file, &file].iter().chain(&arguments),
    ));
    assert_eq!(it["samples"], 2, "each run has added one: {it}");
}
