//! The example `examples/heat-wave`.

use std::process::Command;

use serde_json::Value;

use crate::support::environment;

#[test]
fn the_example_plays_the_wave_and_counts_every_sample() {
    let root = &environment().root;
    let output = Command::new("python3")
        .arg(root.join("examples/heat-wave/play.py"))
        .arg("--quick")
        .env("HOTSHOE", env!("CARGO_BIN_EXE_hotshoe"))
        .env_remove("RUST_LOG")
        .output()
        .expect("python3 starts");
    let printed = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{said}");
    let lines: Vec<&str> = printed.lines().collect();
    // Up, at the top, and down again.
    let steps = [
        ["60.0 C", "full", "100 of 200"],
        ["70.0 C", "full", "200 of 200"],
        ["80.0 C", "minimal", "200 of 200"],
        ["90.0 C", "rests", "200 of 200"],
        ["80.0 C", "minimal", "200 of 200"],
        ["70.0 C", "full", "200 of 200"],
        ["60.0 C", "full", "100 of 200"],
        ["40.0 C", "full", "0 of 200"],
    ];
    let mut rest = lines.iter();
    for step in steps {
        let is_there = rest.any(|line| step.iter().all(|part| line.contains(part)));
        assert!(is_there, "{step:?}\n{printed}");
    }
    let counts: Value = lines
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .unwrap_or_else(|| panic!("no counts: {printed}"));
    let count = |name: &str| counts[name].as_u64().unwrap();
    let ended = ["results", "skipped", "dropped", "failed", "in_flight"].map(count);
    assert_eq!(count("accepted"), ended.iter().sum::<u64>(), "{counts}");
    // Each file is a source of its own; the rate counts those of the folder.
    let by_rate = counts["skipped_by"]["rate"].as_u64();
    assert!(count("results") > 0 && by_rate > Some(0), "{counts}");
    assert_eq!((count("failed"), count("dropped")), (0, 0), "{counts}");
}
