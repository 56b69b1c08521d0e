//! What is not made by `hotshoe build`: components of other tools, packages of Python; one component without a release; a component in a release.

#[path = "foreign/packages.rs"]
mod packages;
#[path = "foreign/page.rs"]
mod page;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hotshoe_tests::{Signer, root};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Workspace, environment, failure, hotshoe, json_lines, success};

/// What `measure` makes of `123`.
const MEASURED: &str = r#"{"kind":"scalars","scalars":[{"name":"bytes","value":3.0,"unit":""},{"name":"sum","value":150.0,"unit":""}]}"#;
/// UTF-8's byte order mark.
const MARK: &str = "\u{feff}";

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A `release.toml` with one policy of this file.
fn policy(file: &Path, grants: &str) -> String {
    format!(
        "name = \"one\"\ngeneration = 1\nexpires-in = \"1d\"\n[components.p]\nfile = \"{}\"\nworld = \"policy\"\ngrants = [{grants}]\n[[pipeline]]\npolicy = \"p\"\n",
        text(file)
    )
}

/// `hotshoe` with the checkout's folder of tools.
fn author(arguments: &[&str], environment: &[(&str, &Path)]) -> Output {
    let target = root().join("target");
    Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments)
        .env("HOTSHOE_TOOLS", target.join("tools"))
        .envs(environment.iter().copied())
        .env_remove("RUST_LOG")
        .output()
        .expect("hotshoe starts")
}

/// The name, message and causes of a build that fails.
fn refusal(project: &Path, environment: &[(&str, &Path)]) -> String {
    let output = author(&["build", &text(project), "--yes", "--json"], environment);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let error = &report["error"];
    format!(
        "{}: {} {}",
        error["name"].as_str().unwrap_or("-"),
        error["message"],
        error["causes"]
    )
}

fn build(project: &Path, environment: &[(&str, &Path)]) {
    let output = author(&["build", &text(project), "--yes"], environment);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn new(folder: &Path, name: &str, language: &str, world: &str) -> PathBuf {
    let project = folder.join(name);
    let dir = text(&project);
    success([
        "new", name, "--lang", language, "--world", world, "--dir", &dir,
    ]);
    project
}

#[test]
fn a_core_module_and_the_asynchronous_abi_are_neither_packed_nor_signed() {
    let workspace = Workspace::new();
    let (file, manifest) = (workspace.path("p.wasm"), workspace.path("release.toml"));
    fs::write(&manifest, policy(&file, "")).unwrap();
    let insight = workspace.path("insight.json");
    fs::write(&insight, MEASURED).unwrap();
    let signer = Signer::new("other");
    let trust = workspace.path("other.toml");
    fs::write(&trust, &signer.trust).unwrap();
    for (bytes, name, way_out) in [
        (
            b"\0asm\x01\0\0\0".to_vec(),
            "core_module: ",
            "wasm-tools component new",
        ),
        (
            wat("(component (core func (canon task.cancel)))"),
            "async_component: ",
            "--backend-qjs-disable-async",
        ),
    ] {
        fs::write(&file, bytes).unwrap();
        let out = workspace.path("release");
        let said = failure(["pack", &text(&manifest), "--out", &text(&out)]);
        assert!(said.starts_with(name) && said.contains(way_out), "{said}");
        assert!(!out.exists());
        // What another tool packed is not signed, and a device refuses it.
        signer.pack(&manifest, &out);
        let key = text(&workspace.path("alice.key"));
        let said = failure(["sign", &text(&out), "--key", &key]);
        assert!(said.starts_with(name) && said.contains(way_out), "{said}");
        let shown: Value =
            serde_json::from_str(&success(["inspect", &text(&out), "--json"])).unwrap();
        assert_eq!(shown["signatures"].as_array().unwrap().len(), 1, "{shown}");
        let said = failure([
            "exec",
            &text(&out),
            &text(&insight),
            "--trust",
            &text(&trust),
        ]);
        assert!(said.starts_with(name) && said.contains(way_out), "{said}");
        fs::remove_dir_all(out).unwrap();
    }
}

#[test]
fn one_component_runs_on_a_file_without_a_release_and_keys() {
    let folder = TempDir::new().unwrap();
    let sample = folder.path().join("sample.txt");
    fs::write(&sample, "123").unwrap();
    let stage = text(&environment().component("measure"));
    let told = success(["call", &stage, "--input", &text(&sample)]);
    let told = json_lines(&told).remove(0);
    let expected: Value = serde_json::from_str(MEASURED).unwrap();
    assert_eq!(told["insight"], expected, "{told}");

    // A policy takes an insight, here with a mark that an editor put before it. Two inputs share the state.
    let insight = folder.path().join("insight.json");
    fs::write(&insight, format!("{MARK}{MEASURED}")).unwrap();
    let policy = text(&environment().component("counting-policy"));
    let insight = text(&insight);
    let told = success(["call", &policy, "--input", &insight, "--input", &insight]);
    let messages: Vec<Value> = json_lines(&told)
        .into_iter()
        .map(|line| line["actions"][0]["message"].clone())
        .collect();
    assert_eq!(messages, ["seen 1", "seen 2"], "{told}");

    // A preprocessor, with a setting.
    let page = text(&environment().picture("page.png"));
    let pre = text(&environment().component("privacy-pre"));
    let told = success([
        "call",
        &pre,
        "--input",
        &page,
        "--setting",
        "longest-side=512",
    ]);
    let told = json_lines(&told).remove(0);
    assert_eq!(told["insight"]["content_type"], "application/x-npz");

    // An input that fails costs the exit code, and says which fault.
    let output = hotshoe(["call", &policy, "--input", &text(&sample)]);
    let told = json_lines(&String::from_utf8_lossy(&output.stdout)).remove(0);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert_eq!(told["error"]["fault"], "invalid_input", "{told}");

    let bare = folder.path().join("bare.wasm");
    fs::write(&bare, wat("(component)")).unwrap();
    let said = failure(["call", &text(&bare), "--input", &insight]);
    assert!(said.starts_with("missing_export: "), "{said}");
    fs::write(&bare, b"\0asm\x01\0\0\0").unwrap();
    let said = failure(["call", &text(&bare), "--input", &insight]);
    assert!(said.starts_with("core_module: "), "{said}");
}

#[test]
fn a_filter_shows_fewer_tests_and_changes_no_result() {
    let workspace = Workspace::new();
    fs::write(workspace.path("sample.txt"), "123").unwrap();
    let mut tests = String::new();
    for (number, name) in ["first", "second", "third"].into_iter().enumerate() {
        let seen = number + 1;
        let expected = format!(
            r#"{{"insight":{MEASURED},"actions":[{{"action":"alert","severity":"info","message":"seen {seen}"}},{{"action":"publish"}}]}}"#
        );
        fs::write(workspace.path(&format!("{name}.json")), expected).unwrap();
        tests += &format!(
            "[[tests]]\nname = \"{name}\"\nsample = \"sample.txt\"\ncontent-type = \"text/plain\"\nexpected = \"{name}.json\"\n"
        );
    }
    let manifest = workspace.path("release.toml");
    let recipe = crate::site::recipe(1, "", &["counting-policy"], &tests);
    fs::write(&manifest, recipe).unwrap();
    let run = |more: &[&str]| -> Value {
        let manifest = text(&manifest);
        let arguments = ["test", &manifest, "--json"].into_iter();
        serde_json::from_str(&success(arguments.chain(more.iter().copied()))).unwrap()
    };
    assert_eq!(run(&[])["passed"], 3);
    let one = run(&["--filter", "second"]);
    assert_eq!((&one["passed"], &one["failed"]), (&1.into(), &0.into()));
    assert_eq!(one["tests"][0]["name"], "second");
}

#[test]
fn a_byte_order_mark_in_a_data_file_is_named() {
    let workspace = Workspace::new();
    let labels = workspace.path("labels.txt");
    let component = environment().component("empty-policy");
    let recipe = policy(&component, "\"data\"").replace(
        "[[pipeline]]",
        "data = [\"labels\"]\n[data.labels]\nfile = \"labels.txt\"\nmedia-type = \"text/plain\"\n[[pipeline]]",
    );
    let warnings = |content: String| -> Value {
        fs::write(&labels, content).unwrap();
        // The mark of release.toml itself is left out.
        fs::write(workspace.path("release.toml"), format!("{MARK}{recipe}")).unwrap();
        let manifest = text(&workspace.path("release.toml"));
        let out = text(&workspace.path("release"));
        let said = success(["pack", &manifest, "--out", &out, "--json"]);
        serde_json::from_str::<Value>(&said).unwrap()["warnings"].clone()
    };
    assert_eq!(warnings("cat\ndog\n".to_owned()), Value::Array(Vec::new()));
    let warned = warnings(format!("{MARK}cat\ndog\n"));
    let warned = warned[0].as_str().unwrap();
    assert!(
        warned.contains("`labels`") && warned.contains("byte order mark"),
        "{warned}"
    );
}

#[test]
fn a_component_is_added_to_a_release_that_is_there() {
    let folder = TempDir::new().unwrap();
    let release = new(folder.path(), "look", "c", "stage");
    let into = text(&release);
    let arguments = [
        "new", "judge", "--lang", "c", "--world", "policy", "--into", &into,
    ];
    let told = success(arguments);
    assert!(
        told.contains("judge/policy.c") && told.contains("hotshoe build"),
        "{told}"
    );
    build(&release, &[]);
    assert!(release.join("judge/build/judge.wasm").is_file());
    // Its policy stands behind the stage, whose test passes as before.
    let output = author(&["test", &into, "--yes", "--json"], &[]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["passed"], 1, "{report}");
    let stages: Vec<&str> = report["stages"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|stage| stage["name"].as_str())
        .collect();
    assert!(stages.contains(&"judge"), "{stages:?}");
    let again = failure(arguments);
    assert!(
        again.starts_with("name_taken: ") && again.contains("[components.judge]"),
        "{again}"
    );
}
