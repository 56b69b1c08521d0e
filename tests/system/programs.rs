//! `hotshoe demo` and `hotshoe bench` are programs of their own, which `hotshoe` starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::environment;

const HOTSHOE: &str = env!("CARGO_BIN_EXE_hotshoe");

/// A folder with `hotshoe` and nothing else.
fn alone() -> (TempDir, PathBuf) {
    let built = Path::new(HOTSHOE).parent().unwrap();
    let folder = tempfile::tempdir_in(built).unwrap();
    let own = folder.path().join("hotshoe");
    fs::hard_link(HOTSHOE, &own).unwrap();
    (folder, own)
}

#[test]
fn a_missing_program_is_named_and_how_to_get_it() {
    let (folder, own) = alone();
    for (command, program) in [("bench", "hotshoe-bench"), ("demo", "hotshoe-demo")] {
        let output = Command::new(&own)
            .args(["--json", command, "--quick"])
            .current_dir(&folder)
            .env_remove("CARGO")
            .env("PATH", "")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["error"]["name"], "program_missing", "{report}");
        let message = report["error"]["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("cargo build --bin {program}")),
            "{message}"
        );
    }
}

#[test]
fn a_program_gets_all_arguments_and_gives_its_exit_code() {
    let (folder, own) = alone();
    // By a child process: a file that this process has open to write could be busy when it is run.
    let script =
        r#"printf '#!/bin/sh\necho "$@"\nexit 7\n' > hotshoe-bench && chmod +x hotshoe-bench"#;
    let written = Command::new("sh")
        .args(["-c", script])
        .current_dir(&folder)
        .status()
        .unwrap();
    assert!(written.success());
    for (given, passed) in [
        (&["bench", "swap", "--quick"][..], "swap --quick"),
        (&["--json", "bench", "swap"], "--json swap"),
        (&["bench", "--help"], "--help"),
        (&["bench", "--rounds", "2", "infer"], "--rounds 2 infer"),
        (&["bench"], ""),
    ] {
        let output = Command::new(&own)
            .args(given)
            .current_dir(&folder)
            .env_remove("CARGO")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(7), "{given:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), passed);
    }
    for given in [
        &["bench", "--json", "swap"][..],
        &["bench", "swap", "--json"],
    ] {
        let output = Command::new(&own)
            .args(given)
            .current_dir(&folder)
            .env_remove("CARGO")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.matches("--json").count(), 1, "{said}");
        assert!(said.contains("swap"), "{said}");
    }
}

#[test]
fn help_of_the_demo_is_that_of_its_program() {
    let help = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(&environment().root)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    // In a checkout, under cargo, this builds the program first.
    let by_command = help(Path::new(HOTSHOE), &["demo", "--help"]);
    let program = Path::new(HOTSHOE).with_file_name("hotshoe-demo");
    assert_eq!(by_command, help(&program, &["--help"]));
    assert!(by_command.contains("Usage: hotshoe demo"), "{by_command}");
    assert!(by_command.contains("--seconds"), "{by_command}");
}
