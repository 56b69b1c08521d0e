//! `hotshoe demo`, as the README has it, for a shorter time.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;

use hotshoe_devkit::find_root;
use hotshoe_store::Layout;
use serde_json::Value;

#[test]
fn the_demo_reads_the_page_and_updates_itself_without_losing_a_sample() {
    let root = find_root(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_hotshoe-demo"))
        .args(["--seconds", "2", "--json"])
        .current_dir(&root)
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
    assert_eq!(count("lost") + count("dropped"), 0);
    assert_eq!(summary["text"]["page.png"].as_array().unwrap().len(), 5);
    assert!(summary["stages"]["read-page"]["p50_us"].as_u64().unwrap() > 0);

    assert!(count("swaps") >= 2, "{summary}");
    assert_eq!((count("rollbacks"), count("refused")), (1, 1), "{summary}");
    assert!(summary["max_gap_ms"].as_f64().unwrap() > 0.0);
    let [installed, better, flaky, strange] = summary["versions"].as_array().unwrap().as_slice()
    else {
        panic!("there are four versions: {summary}");
    };
    let phase = |version: &Value| version["phase"].as_str().unwrap().to_owned();
    assert_eq!(phase(installed), "live");
    assert_eq!(phase(better), "live");
    assert!(better["results"].as_u64().unwrap() >= 6, "{better}");
    assert!(better["bytes_moved"].as_u64().unwrap() > 0, "{better}");
    assert_eq!(phase(flaky), "rolled-back");
    assert_eq!(phase(strange), "refused");
    assert_eq!(strange["results"], 0, "{strange}");
    // Nothing failed but what trapped, and only the version that traps did.
    assert_eq!(flaky["failed"].as_u64().unwrap(), count("failed"));
    assert!(count("failed") > 0);

    let release = Layout::open(&root.join("target/demo/release")).unwrap();
    let package = release.package().unwrap();
    let text = String::from_utf8(package.config).unwrap();
    assert!(text.contains("read-page"), "{text}");
}
