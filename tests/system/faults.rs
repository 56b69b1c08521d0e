//! What the host makes of a component that leaks, panics or returns what its world does not allow.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hotshoe_link::FeedError;
use serde_json::Value;
use tempfile::TempDir;

use crate::author;
use crate::hostile::made;
use crate::support::{Daemon, Workspace, environment, json_lines, success};

const STAGE: &str = include_str!("faults/stage.wat");
/// 64 pages of linear memory, of which 48 are 75 %.
const FOUR_MIB: &str = "limits = { memory-mib = 4 }";

fn daemon(workspace: &Workspace, lines: &str) -> Daemon {
    let recipe = made::recipe(workspace, &made::component(STAGE), lines);
    workspace
        .device("a", &workspace.release(&recipe), "[workers]\nthreads = 1")
        .run()
}

/// The calls that the instance has seen, or the fault and what was said.
fn call(daemon: &Daemon, payload: &str) -> Result<u64, (String, String)> {
    match daemon.feed(&[(payload, payload.into())]).remove(0).result {
        Ok(body) => Ok(body["insight"]["scalars"][0]["value"].as_f64().unwrap() as u64),
        Err(FeedError::Refused(body)) => Err((
            body["fault"].as_str().unwrap().to_owned(),
            body["message"].as_str().unwrap().to_owned(),
        )),
        Err(error) => panic!("{payload}: {error}"),
    }
}

fn calls(daemon: &Daemon, payloads: &[&str]) -> Vec<u64> {
    let seen = payloads
        .iter()
        .map(|payload| call(daemon, payload).unwrap());
    seen.collect()
}

fn replaced(daemon: &Daemon) -> u64 {
    daemon.status().components[0].instances_replaced
}

#[test]
fn an_instance_that_leaks_is_replaced_before_a_sample_fails() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, FOUR_MIB);
    // 18, 34 and 50 pages: the third call takes it over 48.
    assert_eq!(calls(&daemon, &["L"; 7]), [1, 2, 3, 1, 2, 3, 1]);
    assert_eq!(replaced(&daemon), 2);
    let counters = daemon.status().counters;
    assert_eq!((counters.results, counters.failed), (7, 0));
}

#[test]
fn what_the_first_call_takes_is_no_leak() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, FOUR_MIB);
    // 52 pages of 64.
    assert_eq!(calls(&daemon, &["W", "good", "good"]), [1, 2, 3]);
    assert_eq!(replaced(&daemon), 0);
}

#[test]
fn what_one_later_call_takes_is_no_leak() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, FOUR_MIB);
    assert_eq!(calls(&daemon, &["good", "W", "good", "good"]), [1, 2, 3, 4]);
    assert_eq!(replaced(&daemon), 0);
}

#[test]
fn a_component_that_is_out_of_memory_gets_a_new_instance_whatever_it_returns() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, FOUR_MIB);
    for (payload, expected, words) in [
        (
            "M",
            "memory",
            "`stage` ran out of its memory-mib of 4 MiB: no room",
        ),
        ("E", "limit_exceeded", "no room"),
        (
            "Q",
            "memory",
            "InternalError: out of memory (component.js:5)",
        ),
    ] {
        assert_eq!(
            calls(&daemon, &["good", "good"]),
            [1, 2],
            "before {payload}"
        );
        let (fault, message) = call(&daemon, payload).unwrap_err();
        assert_eq!(fault, expected, "{payload}: {message}");
        assert!(message.contains(words), "{payload}: {message}");
    }
    // An allocation that failed without a word.
    assert_eq!(calls(&daemon, &["good", "A", "good"]), [1, 2, 1]);
    assert_eq!(replaced(&daemon), 3);
    // Any other error ends nothing.
    assert_eq!(call(&daemon, "D").unwrap_err().0, "internal");
    assert_eq!(calls(&daemon, &["good"]), [3]);
}

#[test]
fn an_instance_serves_as_many_calls_as_its_limit_says() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, "limits = { calls = 3 }");
    assert_eq!(calls(&daemon, &["good"; 7]), [1, 2, 3, 1, 2, 3, 1]);
    assert_eq!(replaced(&daemon), 0, "its memory was never the reason");
}

#[test]
fn a_trap_says_what_the_component_said_and_where_it_was() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, FOUR_MIB);
    let (fault, message) = call(&daemon, "P").unwrap_err();
    assert_eq!(fault, "trap");
    // Without the line break, which would make two lines of a log.
    let words = "`stage` panicked: src/lib.rs:7: a\\nbound was passed, in `give_up` from `process`";
    assert!(message.contains(words), "{message}");
    // The next trap has nothing of it.
    let (_, message) = call(&daemon, "U").unwrap_err();
    assert!(message.contains("unreachable"), "{message}");
    assert!(message.contains("in `give_up` from `process`"), "{message}");
    assert!(!message.contains("bound"), "{message}");
}

#[test]
fn a_score_beyond_1_is_refused_with_its_field_named() {
    let workspace = Workspace::new();
    let daemon = daemon(&workspace, "");
    let (fault, message) = call(&daemon, "S").unwrap_err();
    assert_eq!(fault, "internal");
    assert_eq!(
        message,
        "the insight's `classes[0].score` is 17.5, which is not from 0 to 1"
    );
    assert_eq!(calls(&daemon, &["good"]), [2], "its instance serves on");
}

/// A new policy in this language, with these sources in the place of the template's.
fn project(folder: &TempDir, name: &str, language: &str, file: &str, source: &str) -> PathBuf {
    let project = folder.path().join(name);
    let place = project.display().to_string();
    success([
        "new", name, "--lang", language, "--world", "policy", "--dir", &place,
    ]);
    fs::write(project.join(file), source).unwrap();
    project
}

fn build(project: &Path, options: &[&str]) -> Output {
    let target = environment().root.join("target");
    Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .arg("build")
        .arg(project)
        .arg("--yes")
        .args(options)
        .env("HOTSHOE_TOOLS", target.join("tools"))
        .env("CARGO_TARGET_DIR", target.join("author-build"))
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn built(project: &Path, options: &[&str]) -> String {
    let output = build(project, options);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

/// Why a build fails.
fn refused(project: &Path) -> String {
    let output = build(project, &[]);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

/// Runs the policy on an insight of one class for each label; the fault and the message of each, or `none` and the actions.
fn run(project: &Path, labels: &[&str]) -> Vec<(String, String)> {
    let workspace = Workspace::new();
    let release = workspace.path("release");
    let manifest = project.join("release.toml").display().to_string();
    success(["pack", &manifest, "--out", &release.display().to_string()]);
    workspace.sign(&release, "alice");
    let input = |label: &&str| {
        let path = workspace.path(&format!("{label}.json"));
        let class = format!(r#"{{"label":"{label}","index":0,"score":0.5}}"#);
        fs::write(
            &path,
            format!(r#"{{"kind":"classes","classes":[{class}]}}"#),
        )
        .unwrap();
        path
    };
    let inputs: Vec<PathBuf> = labels.iter().map(input).collect();
    let output = workspace.exec(&release, &inputs);
    let told = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(told.len(), labels.len(), "{told:?}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told.iter()
        .map(|told| match &told["error"] {
            Value::Null => ("none".to_owned(), told["actions"].to_string()),
            error => (text(&error["fault"]), text(&error["message"])),
        })
        .collect()
}

/// Each label ends with this fault, and its message has these words.
fn each_says(project: &Path, expected: &[(&str, &str, &str)]) {
    let labels: Vec<&str> = expected.iter().map(|(label, ..)| *label).collect();
    for ((label, fault, words), told) in expected.iter().zip(run(project, &labels)) {
        assert_eq!(told.0, *fault, "{label}: {}", told.1);
        assert!(told.1.contains(words), "{label}: {}", told.1);
    }
}

const RUST: &str = r#"use hotshoe_sdk::prelude::*;

struct Panics;

impl Policy for Panics {
    fn decide(insight: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        let Insight::Classes(classes) = insight else { return Ok(Vec::new()) };
        let label = classes.first().map(|class| class.label.clone()).unwrap_or_default();
        let none: Vec<u32> = Vec::new();
        match label.as_str() {
            "index" => Ok(vec![Action::Drop(none[classes.len()].to_string())]),
            "text" => panic!("{label}: of the author"),
            "time" => Ok(vec![Action::Drop(format!("{:?}", std::time::Instant::now()))]),
            "thread" => Ok(vec![Action::Drop(format!("{:?}", std::thread::spawn(|| 1).join()))]),
            _ => Ok(vec![Action::Publish]),
        }
    }
}

hotshoe_sdk::policy!(Panics);
"#;

#[test]
fn a_panic_in_rust_says_its_text_and_place_without_any_grant() {
    let _alone = author::alone();
    let folder = TempDir::new().unwrap();
    let project = project(&folder, "rust-panics", "rust", "src/lib.rs", RUST);
    built(&project, &["--debug"]);
    each_says(
        &project,
        &[
            (
                "index",
                "trap",
                "`rust-panics` panicked: index out of bounds: the len is 0 but the index is 1 (src/lib.rs:11)",
            ),
            (
                "text",
                "trap",
                "panicked: text: of the author (src/lib.rs:12)",
            ),
            ("good", "none", "publish"),
            (
                "time",
                "trap",
                "call `hotshoe_sdk::clock` with the grant `clock`",
            ),
            ("thread", "trap", "a component has one thread"),
        ],
    );
    // The names of functions are there with `--debug`.
    let (_, message) = run(&project, &["text"]).remove(0);
    assert!(message.contains(", in `"), "{message}");
}

const JAVASCRIPT: &str = r#"const built = Date.now();

export function decide(insight, device) {
  const alert = (severity, message) => [{ tag: "alert", val: { severity, message } }];
  switch (insight.val[0].label) {
    case "promise": return Promise.resolve([]);
    case "severity": return alert("loud", "x");
    case "field": return alert("info");
    case "surrogate": return alert("info", "a\ud800b");
    case "now": return alert("info", String(Date.now()));
    case "zone": return alert("info", new Date(built).toLocaleString("en", { timeZone: "Europe/Berlin" }));
    default: return alert("info", "good");
  }
}
"#;

#[test]
fn a_wrong_result_of_javascript_is_named_and_so_is_what_needs_wasi() {
    let folder = TempDir::new().unwrap();
    let project = project(&folder, "js-faults", "js", "component.js", JAVASCRIPT);
    let said = built(&project, &[]);
    assert!(
        said.contains("warning: component.js:1: the clock"),
        "{said}"
    );
    each_says(
        &project,
        &[
            ("promise", "internal", "decide() is a Promise"),
            (
                "severity",
                "internal",
                r#"decide()[0].val.severity is "loud"; it must be one of "info", "warning", "critical""#,
            ),
            (
                "field",
                "internal",
                "decide()[0].val.message is undefined; it must be a string",
            ),
            ("surrogate", "internal", "half of a surrogate pair"),
            ("now", "trap", "now, for which the release must grant wasi"),
            ("zone", "internal", "no time zone but UTC"),
            ("good", "none", "good"),
        ],
    );
    let source = "export async function decide() { return []; }";
    fs::write(project.join("component.js"), source).unwrap();
    let said = refused(&project);
    assert!(said.contains("`decide` is async"), "{said}");
}

#[test]
fn a_function_of_another_type_is_refused_in_typescript() {
    let folder = TempDir::new().unwrap();
    let source = r#"import type { Action, Insight } from "hotshoe/types";

export async function decide(insight: Insight): Promise<Action[]> {
  return insight.tag === "text" ? [] : [{ tag: "publish" }];
}
"#;
    let project = project(&folder, "ts-faults", "ts", "component.ts", source);
    let said = refused(&project);
    assert!(said.contains("Promise<Action[]>"), "{said}");
    let plain = "export function decide() {\n  return 5;\n}\n";
    fs::write(project.join("component.ts"), plain).unwrap();
    let said = refused(&project);
    assert!(
        said.contains("'number' is not assignable to type 'Action[]'"),
        "{said}"
    );
}

const PYTHON: &str = r#"import time

from hotshoe.types import Action_Alert, Action_Drop, Action_Publish, Alert

BUILT = time.time()


async def later():
    return []


def decide(insight, device):
    label = insight.value[0].label
    if label == "coroutine":
        return later()
    if label == "severity":
        return [Action_Alert(Alert("loud", "x"))]
    if label == "none":
        return None
    if label == "surrogate":
        return [Action_Drop("a\ud800b")]
    if label == "now":
        return [Action_Drop(str(time.time()))]
    if label == "import":
        import colorsys
        return [Action_Drop(str(colorsys))]
    if label == "exit":
        raise SystemExit(3)
    if label == "memory":
        return [Action_Drop(str(len(bytearray(1 << 30))))]
    return [Action_Publish()]
"#;

#[test]
fn a_wrong_result_of_python_is_named_and_so_are_late_imports_and_what_needs_wasi() {
    let folder = TempDir::new().unwrap();
    let project = project(&folder, "py-faults", "python", "component.py", PYTHON);
    let said = built(&project, &[]);
    assert!(
        said.contains("warning: component.py, line 5: `time.time()`"),
        "{said}"
    );
    each_says(
        &project,
        &[
            ("coroutine", "internal", "decide() is a coroutine"),
            (
                "severity",
                "internal",
                "decide()[0].value.severity is 'loud'; it must be a Severity",
            ),
            ("none", "internal", "decide() is None; it must be a list"),
            ("surrogate", "internal", "half of a surrogate pair"),
            ("import", "internal", "import it at the top of component.py"),
            ("exit", "internal", "SystemExit: 3"),
            (
                "now",
                "trap",
                "stub of now, for which the release must grant wasi",
            ),
            ("good", "none", "publish"),
            // A gibibyte, where the instance may have 64 MiB: it is the fault of the memory, and the next call works.
            ("memory", "memory", "MemoryError"),
            ("after", "none", "publish"),
        ],
    );
}
