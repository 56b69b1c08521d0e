//! What `hotshoe bench` says to wrong input. The figures are no test's business.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotshoe-bench"));
    command.args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_unknown_benchmark_is_wrong_usage_and_the_known_ones_are_listed() {
    let output: Output = bench(&["swop"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = text(&output.stderr);
    for name in [
        "pipeline",
        "swap",
        "delivery",
        "infer",
        "push",
        "languages",
        "outbox",
        "throughput",
        "governor",
    ] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn outside_of_a_checkout_the_error_says_where_to_run_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(&["swap", "--json"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let message = report.pointer("/error/message").and_then(Value::as_str);
    assert!(
        message.is_some_and(|message| message.contains("checkout")),
        "{report}"
    );
}
