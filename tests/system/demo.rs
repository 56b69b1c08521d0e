//! `hotshoe demo`, as the README has it, for a shorter time.

use serde_json::Value;

use crate::support::{environment, success};

#[test]
fn the_demo_reads_the_page_and_accounts_for_every_sample() {
    let root = environment().root.display().to_string();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["demo", "--seconds", "3", "--json"])
        .current_dir(root)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let summary: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let count = |name: &str| summary[name].as_u64().unwrap();
    assert!(count("samples") >= 4);
    assert_eq!(
        count("samples"),
        count("results") + count("dropped") + count("failed")
    );
    assert_eq!(count("failed") + count("dropped"), 0);
    assert_eq!(summary["text"]["page.png"].as_array().unwrap().len(), 5);
    assert!(summary["stages"]["read-page"]["p50_us"].as_u64().unwrap() > 0);
    let release = environment()
        .root
        .join("target/demo/release")
        .display()
        .to_string();
    let inspected: Value = serde_json::from_str(&success(["inspect", &release, "--json"])).unwrap();
    assert!(inspected.to_string().contains("read-page"));
}
