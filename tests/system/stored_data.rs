//! What a device keeps of its outputs: listed, and erased with a report and an audit record.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::site::{Site, light};
use super::support::{failure, success};

/// The id of a sample, which its insight has.
const ID: &str = "of-a-person-4711";
const CONTRACT: &str = "[data-contract]\noutputs = { insight = \"people\" }\n\
     [data-contract.classes.people]\nsensitivity = \"personal\"\nupload = \"yes\"\nretention = \"30d\"\n";

/// Whether any file of a folder has these bytes.
fn has(folder: &Path, text: &str) -> bool {
    let entries = fs::read_dir(folder).unwrap();
    let mut files = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap_or_default());
    files.any(|bytes| {
        let mut windows = bytes.windows(text.len());
        windows.any(|it| it == text.as_bytes())
    })
}

#[test]
fn a_source_is_listed_and_erased_with_a_report_that_is_audited() {
    let site = Site::new();
    let first = site.pack(&light(1, CONTRACT));
    let outbox = "[outbox]\ndurable = { insight = \"normal\" }\n";
    let device = site.device("cam", &first, outbox);
    let daemon = device.run();
    let config = device.config.display().to_string();
    let data = |arguments: &[&str]| -> Value {
        let rest = ["--config", config.as_str(), "--json"];
        let all = [&["data"], arguments, &rest].concat();
        serde_json::from_str(&success(all)).unwrap()
    };
    assert_eq!(data(&["list"])["sources"], Value::Array(Vec::new()));
    for reply in daemon.feed(&[(ID, b"abc".to_vec()), ("other", b"abc".to_vec())]) {
        assert!(reply.result.is_ok());
    }
    let kept = site.workspace.path("cam-data/outbox");
    assert!(has(&kept, ID));
    let listed = data(&["list"]);
    let insight = &listed["sources"][0];
    assert_eq!(insight["source"], "insight", "{listed:#}");
    assert_eq!(insight["records"], 2);
    assert_eq!(insight["retention_seconds"], 2_592_000.0);

    let erased = data(&["erase", "--source", "insight"]);
    assert_eq!(erased["records"], 2, "{erased:#}");
    assert_eq!(erased["given"], 2);
    assert!(!has(&kept, ID));
    assert_eq!(data(&["list"])["sources"][0]["records"], 0);
    let why = failure(["data", "erase", "--source", "insights", "--config", &config]);
    assert!(why.contains("insights"), "{why}");

    let shown = success([
        "audit", "show", "--config", &config, "--kind", "command", "--json",
    ]);
    let records: Vec<Value> = serde_json::from_str(&shown).unwrap();
    let outcomes: Vec<&str> = records
        .iter()
        .filter(|record| record["details"]["command"] == "data")
        .map(|record| record["details"]["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["done", "unknown_source"], "{shown}");
}
