//! `hotshoe test`: snapshots, differences, log lines, and samples at any stage.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hotshoe_infer::Tensor;
use hotshoe_infer::npz;
use serde_json::Value;

use super::record::recipe;
use super::support::{Workspace, environment, failure, hotshoe, json_lines, success};

/// What `measure` makes of `123`.
const MEASURED: &str = r#"{"kind":"scalars","scalars":[{"name":"bytes","value":3.0,"unit":""},{"name":"sum","value":150.0,"unit":""}]}"#;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A light release with one test, whose `expected` holds this.
fn light(workspace: &Workspace, expected: Option<&str>, more: &str) -> PathBuf {
    fs::write(workspace.path("sample.txt"), "123").unwrap();
    if let Some(expected) = expected {
        fs::write(workspace.path("expected.json"), expected).unwrap();
    }
    let test = format!(
        "[[tests]]\nname = \"three-digits\"\nsample = \"sample.txt\"\ncontent-type = \"text/plain\"\nexpected = \"expected.json\"\n{more}"
    );
    let path = workspace.path("release.toml");
    fs::write(
        &path,
        super::site::recipe(1, "", &["counting-policy"], &test),
    )
    .unwrap();
    path
}

#[test]
fn a_test_that_passes_says_time_and_memory_of_each_stage() {
    let workspace = Workspace::new();
    let path = light(&workspace, Some(MEASURED), "");
    let told = success(["test", &text(&path)]);
    for wanted in [
        "throw-away key",
        "all its grants are allowed: state",
        "pass three-digits",
        "counting-policy",
        "1 passed",
    ] {
        assert!(told.contains(wanted), "no `{wanted}` in {told}");
    }
    let report: Value = serde_json::from_str(&success(["test", &text(&path), "--json"])).unwrap();
    assert_eq!(report["passed"], 1);
    let stage = &report["stages"][0];
    assert_eq!(stage["name"], "measure");
    assert!(
        stage["memory_bytes"].as_u64().unwrap() >= 65_536,
        "{report}"
    );
}

#[test]
fn a_test_that_fails_shows_what_differs_and_update_takes_it_over() {
    let workspace = Workspace::new();
    let path = light(&workspace, Some(&MEASURED.replace("150.0", "151.0")), "");
    let output = hotshoe(["test", &text(&path)]);
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for wanted in [
        "FAIL three-digits",
        "agreement 0.500",
        "-         \"value\": 151.0",
        "+         \"value\": 150.0",
    ] {
        assert!(told.contains(wanted), "no `{wanted}` in {told}");
    }
    // No colours without a terminal.
    assert!(!told.contains('\u{1b}'), "{told}");
    let updated = success(["test", &text(&path), "--update"]);
    assert!(
        updated.contains("wrote") && updated.contains("expected.json"),
        "{updated}"
    );
    assert!(
        fs::read_to_string(workspace.path("expected.json"))
            .unwrap()
            .contains("150.0")
    );
    assert!(success(["test", &text(&path), "--update"]).contains("agreement 1.000"));
}

#[test]
fn a_tolerance_is_for_every_number() {
    let workspace = Workspace::new();
    // Equal to a thousandth, which is all that a device asks for.
    let near = MEASURED.replace("150.0", "150.1");
    let path = light(&workspace, Some(&near), "");
    assert!(success(["test", &text(&path)]).contains("pass three-digits"));
    let strict = hotshoe(["test", &text(&path), "--tolerance", "0.0001"]);
    assert_eq!(strict.status.code(), Some(1));
    let path = light(&workspace, Some(&near), "tolerance = 0.0001\n");
    assert_eq!(hotshoe(["test", &text(&path)]).status.code(), Some(1));
}

#[test]
fn without_a_snapshot_or_a_test_it_says_what_to_do() {
    let workspace = Workspace::new();
    let path = light(&workspace, None, "");
    let output = hotshoe(["test", &text(&path)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("create it with --update"));
    success(["test", &text(&path), "--update"]);
    success(["test", &text(&path)]);
    let none = failure(["test", &text(&path), "--filter", "nothing"]);
    assert!(none.starts_with("no_tests"), "{none}");
    assert_eq!(
        hotshoe(["test", "--tolerance", "-1"]).status.code(),
        Some(2)
    );
}

/// A process that ends with the test, however that ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_runs_again_when_a_file_changes() {
    let workspace = Workspace::new();
    let path = light(&workspace, Some(MEASURED), "");
    let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["test", &text(&path), "--watch"])
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ended(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let mut next = |end: &str| lines.any(|line| line.unwrap().contains(end));
    assert!(next("1 passed, 0 failed"));
    fs::write(
        workspace.path("expected.json"),
        MEASURED.replace("150.0", "151.0"),
    )
    .unwrap();
    assert!(next("0 passed, 1 failed"));
    fs::write(workspace.path("sample.txt"), "124").unwrap();
    assert!(next("1 passed, 0 failed"));
}

#[test]
fn a_policy_alone_is_tried_on_an_insight_and_its_actions_count() {
    let workspace = Workspace::new();
    let path = workspace.path("release.toml");
    fs::write(workspace.path("given.json"), MEASURED).unwrap();
    let policy = text(&environment().component("empty-policy"));
    let recipe = format!(
        "name = \"p\"\ngeneration = 1\nexpires-in = \"1d\"\n[components.p]\nfile = \"{policy}\"\nworld = \"policy\"\n[[pipeline]]\npolicy = \"p\"\n\
         [[tests]]\nname = \"one\"\nsample = \"given.json\"\ncontent-type = \"application/json\"\nexpected = \"expected.json\"\n"
    );
    fs::write(&path, &recipe).unwrap();
    success(["test", &text(&path), "--update"]);
    let written: Value =
        serde_json::from_str(&fs::read_to_string(workspace.path("expected.json")).unwrap())
            .unwrap();
    assert!(written["actions"].is_array(), "{written}");
    success(["test", &text(&path)]);
    // The same insight with other actions.
    let other = format!(
        "{{\"insight\":{MEASURED},\"actions\":[{{\"action\":\"drop\",\"reason\":\"x\"}}]}}"
    );
    fs::write(workspace.path("expected.json"), other).unwrap();
    let output = hotshoe(["test", &text(&path)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("actions"));
    // As a whole release it is packed, signed, run; what is no insight costs that sample.
    fs::write(workspace.path("expected.json"), MEASURED).unwrap();
    let release = workspace.release(&recipe);
    fs::write(workspace.path("bad.json"), "{\"kind\":\"nothing\"}").unwrap();
    let output = workspace.exec(
        &release,
        &[workspace.path("given.json"), workspace.path("bad.json")],
    );
    let lines = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(lines[0]["insight"]["kind"], "scalars");
    assert_eq!(
        (&lines[1]["error"]["fault"], &lines[1]["error"]["stage"]),
        (&"invalid_input".into(), &"input".into())
    );
}

#[test]
fn a_model_alone_takes_tensors_and_a_bad_archive_costs_one_sample() {
    let workspace = Workspace::new();
    let whole = recipe("");
    let (head, _) = whole.split_once("[components.").unwrap();
    let model = environment().model("classify-angle").display().to_string();
    let toml = format!(
        "{head}[models.classify-angle]\nfile = \"{model}\"\n[[pipeline]]\ninfer = \"classify-angle\"\n"
    );
    let device = workspace.device("cam", &workspace.release(&toml), "");
    let daemon = device.run();
    let tensor = Tensor::from_f32(&[1, 3, 48, 192], vec![0.25; 3 * 48 * 192]).unwrap();
    let good = npz::to_bytes(&[("x".to_owned(), tensor)]).unwrap();
    let mut cut = good.clone();
    cut.truncate(good.len() / 2);
    let nested = npz::to_bytes(&[(
        npz::SAMPLE.to_owned(),
        Tensor::from_f32(&[1], vec![1.0]).unwrap(),
    )])
    .unwrap();
    let fed = daemon.feed(&[
        ("1", good.clone()),
        ("2", cut),
        ("3", b"no zip".to_vec()),
        ("4", nested),
        ("5", good),
    ]);
    let faults: Vec<String> = fed
        .iter()
        .map(|fed| match &fed.result {
            Ok(answer) => answer["insight"]["content_type"]
                .as_str()
                .unwrap()
                .to_owned(),
            Err(error) => error.to_string(),
        })
        .collect();
    assert_eq!(
        (&*faults[0], &*faults[4]),
        (npz::CONTENT_TYPE, npz::CONTENT_TYPE)
    );
    for fault in &faults[1..4] {
        assert!(fault.contains("invalid_input"), "{faults:?}");
    }
    let counters = daemon.status().counters;
    assert!(counters.add_up(), "{counters:?}");
    assert_eq!((counters.accepted, counters.results), (5, 2));
}
