//! Dependencies point one way, and each heavy thing has one crate that names it.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::environment;

#[test]
fn each_heavy_thing_has_one_crate_that_names_it() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(&environment().root)
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let users_of = |name: &str| -> Vec<String> {
        let depends = |package: &&Value| {
            package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .any(|dependency| dependency["name"] == name && dependency["kind"].is_null())
        };
        metadata["packages"]
            .as_array()
            .unwrap()
            .iter()
            .filter(depends)
            .map(|package| package["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(users_of("wasmtime"), ["hotshoe-engine"]);
    assert_eq!(users_of("tract-onnx"), ["hotshoe-infer"]);
    assert_eq!(users_of("ort"), ["hotshoe-infer"]);
    assert_eq!(users_of("zenoh"), ["hotshoe-daemon"]);
    assert_eq!(users_of("axum"), ["hotshoe-oip"]);
    assert_eq!(users_of("tonic"), ["hotshoe-oip"]);
    assert_eq!(users_of("hotshoe-sdk"), Vec::<String>::new());
}

#[test]
fn in_the_daemon_only_link_names_zenoh() {
    let mut folders = vec![environment().root.join("host/daemon/src")];
    let mut names = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::read_to_string(&path).unwrap().contains("zenoh::") {
                names.push(path);
            }
        }
    }
    assert!(!names.is_empty());
    for path in names {
        assert!(
            path.components().any(|part| part.as_os_str() == "link") || path.ends_with("link.rs"),
            "{} names zenoh",
            path.display()
        );
    }
}
