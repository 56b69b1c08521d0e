//! What `hotshoe model` refuses before it works, and what it says.

use std::fs;
use std::path::Path;

use super::{model, npy};
use crate::support::{Workspace, failure, hotshoe};

#[test]
fn flags_that_mean_nothing_are_refused() {
    let file = model("classify-angle");
    let noise = ["--synthetic", "1", "--shape", "x=1,3,48,192"];
    let compare = |more: &[&'static str]| -> Vec<&str> {
        let start = ["model", "compare", &file, &file];
        start.iter().chain(&noise).chain(more).copied().collect()
    };
    for flag in ["--runs", "--threads"] {
        assert_eq!(hotshoe(compare(&[flag, "0"])).status.code(), Some(2));
    }
    let said = failure(compare(&["--classes", "nothing"]));
    assert!(said.starts_with("unknown_output: "), "{said}");
    let said = failure(compare(&["--shape", "x=1,3,48,96"]));
    assert!(said.starts_with("repeated_shape: "), "{said}");
}

#[test]
fn samples_in_the_wrong_place_are_pointed_to() {
    let workspace = Workspace::new();
    let folder = workspace.path("samples/classify");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("0000.npy");
    fs::write(&file, npy("1, 3, 48, 192", 3 * 48 * 192)).unwrap();
    let compare = |inputs: &Path| {
        let (file, inputs) = (model("classify-angle"), inputs.display().to_string());
        failure(["model", "compare", &file, &file, "--inputs", &inputs])
    };
    let said = compare(&workspace.path("samples"));
    assert!(said.starts_with("no_samples: "), "{said}");
    assert!(said.contains(&folder.display().to_string()), "{said}");
    let said = compare(&file);
    assert!(said.starts_with("no_folder: "), "{said}");
}

#[test]
fn what_cannot_be_optimised_is_said_before_the_work() {
    let workspace = Workspace::new();
    let detect = model("detect");
    let optimise = |out: &str| {
        let out = workspace.path(out).display().to_string();
        let python = "/nowhere/python";
        let start = ["model", "optimise", &detect, "-o", &out];
        let more = ["--int8", "--synthetic", "1", "--python", python];
        failure(start.iter().chain(&more))
    };
    let said = optimise("out.onnx");
    assert!(said.starts_with("open_shape: "), "{said}");
    let said = optimise("missing/out.onnx");
    assert!(said.contains("there is no folder"), "{said}");
    assert!(!workspace.path("missing").exists());
    fs::create_dir(workspace.path("folder")).unwrap();
    let said = optimise("folder");
    assert!(said.contains("is a folder"), "{said}");
}
