//! Models as files: what `pack` takes in, and what it names instead.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_infer::{Tensor, npz};

use crate::model::numbers::onnx::Graph;
use crate::support::{Workspace, failure, success};

/// A release of the model alone, with these lines more in its table.
fn recipe(more: &str) -> String {
    format!(
        "name = \"m\"\ngeneration = 1\nexpires-in = \"1d\"\n[models.m]\nfile = \"m.onnx\"\n{more}[[pipeline]]\ninfer = \"m\"\n"
    )
}

/// `y = Relu(x)`
fn positive() -> Vec<u8> {
    let shape = [None, Some(2)];
    Graph::default()
        .input("x", &shape)
        .node("Relu", &["x"], "y")
        .output("y", &shape)
        .file()
}

/// `y = x + w`, with `w` in `m.onnx.data` from byte 4.
fn beside(location: &str) -> Vec<u8> {
    let shape = [None, Some(2)];
    Graph::default()
        .input("x", &shape)
        .weight_beside("w", &[2], location, 4)
        .node("Add", &["x", "w"], "y")
        .output("y", &shape)
        .file()
}

fn written(workspace: &Workspace, recipe: &str) -> [PathBuf; 2] {
    let from = workspace.path("release.toml");
    fs::write(&from, recipe).unwrap();
    [from, workspace.path("release")]
}

fn pack<'a>(from: &'a Path, to: &'a Path) -> [&'a OsStr; 4] {
    [
        "pack".as_ref(),
        from.as_os_str(),
        "--out".as_ref(),
        to.as_os_str(),
    ]
}

fn refusal(workspace: &Workspace, model: &[u8], more: &str) -> String {
    fs::write(workspace.path("m.onnx"), model).unwrap();
    let [from, to] = written(workspace, &recipe(more));
    let said = failure(pack(&from, &to));
    assert!(!to.exists(), "{said}");
    said
}

#[test]
fn what_is_not_a_whole_model_is_not_packed() {
    let workspace = Workspace::new();
    let whole = positive();
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    for (model, more, word) in [
        (&whole[..whole.len() / 2], "", "not a complete ONNX file"),
        (b"".as_slice(), "", "0 bytes"),
        (pointer.as_slice(), "", "git lfs pull"),
        (
            b"<!DOCTYPE html>".as_slice(),
            "",
            "not a complete ONNX file",
        ),
        (beside("m.onnx.data").as_slice(), "", "m.onnx.data"),
        (
            beside("../m.onnx.data").as_slice(),
            "",
            "not below the folder",
        ),
        (
            whole.as_slice(),
            "outputs = [\"z\"]\n",
            "`outputs` names \"z\"",
        ),
    ] {
        let said = refusal(&workspace, model, more);
        assert!(said.starts_with("invalid_model: "), "{said}");
        assert!(said.contains("`file` of [models.m]"), "{said}");
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn weights_beside_a_model_travel_in_it() {
    let workspace = Workspace::new();
    let elements: Vec<u8> = [0.0_f32, 10.0, 20.0]
        .iter()
        .flat_map(|element| element.to_le_bytes())
        .collect();
    fs::write(workspace.path("m.onnx.data"), elements).unwrap();
    fs::write(workspace.path("m.onnx"), beside("m.onnx.data")).unwrap();
    proven(&workspace, "", [11.0, 18.0]);
}

#[test]
fn a_model_serves_the_outputs_that_its_release_chooses() {
    let workspace = Workspace::new();
    let shape = [None, Some(2)];
    let model = Graph::default()
        .input("x", &shape)
        .node("Relu", &["x"], "y")
        .node("Levitate", &["x"], "label")
        .output("label", &shape)
        .output("y", &shape)
        .file();
    fs::write(workspace.path("m.onnx"), model).unwrap();
    proven(&workspace, "outputs = [\"y\"]\n", [1.0, 0.0]);
}

/// Packs the release with a self-test, which gives the row 1, -2 as `x` and expects this row as `y` and nothing else, and installs it.
fn proven(workspace: &Workspace, more: &str, y: [f32; 2]) {
    let npz = |name: &str, elements: [f32; 2]| {
        let tensor = Tensor::from_f32(&[1, 2], elements.to_vec()).unwrap();
        let bytes = npz::to_bytes(&[(name.to_owned(), tensor)]).unwrap();
        fs::write(workspace.path(&format!("{name}.npz")), bytes).unwrap();
    };
    npz("x", [1.0, -2.0]);
    npz("y", y);
    let test = "[[tests]]\nname = \"row\"\nsample = \"x.npz\"\ncontent-type = \"application/x-npz\"\nexpected = \"y.npz\"\n";
    let [from, to] = written(workspace, &format!("{}{test}", recipe(more)));
    success(pack(&from, &to));
    workspace.sign(&to, "alice");
    // Nothing of it is needed beside the release.
    fs::remove_file(workspace.path("m.onnx")).unwrap();
    let data = tempfile::tempdir().unwrap();
    let said = success([
        "install".as_ref(),
        to.as_os_str(),
        "--data".as_ref(),
        data.path().as_os_str(),
        "--trust".as_ref(),
        workspace.path("trust.toml").as_os_str(),
        "--device".as_ref(),
        "d".as_ref(),
        "--site".as_ref(),
        "s".as_ref(),
    ]);
    assert!(said.contains("self-tests passed: 1"), "{said}");
}
