//! Dependencies point one way, and each heavy thing has one crate that names it.

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
    assert_eq!(users_of("zenoh"), ["hotshoe-daemon"]);
    assert_eq!(users_of("hotshoe-sdk"), Vec::<String>::new());
}
