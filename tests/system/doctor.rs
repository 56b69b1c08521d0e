//! `hotshoe doctor`, on devices that lack something.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::model::{json, ort_library};
use crate::support::{Workspace, hotshoe};

fn states(report: &Value, what: &str) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let of_it = findings.filter(|it| it["what"] == what);
    of_it
        .map(|it| it["state"].as_str().unwrap().to_owned())
        .collect()
}

/// The first finding about `what`.
pub(crate) fn finding(report: &Value, what: &str) -> Value {
    let mut findings = report["findings"].as_array().unwrap().iter();
    findings.find(|it| it["what"] == what).unwrap().clone()
}

fn doctor(config: &Path) -> (Option<i32>, Value) {
    let output = hotshoe([
        "doctor".as_ref(),
        "--json".as_ref(),
        "--config".as_ref(),
        config.as_os_str(),
    ]);
    (
        output.status.code(),
        json(&String::from_utf8(output.stdout).unwrap()),
    )
}

#[test]
fn the_doctor_says_what_a_device_lacks() {
    let workspace = Workspace::new();
    let write = |more: &str| -> PathBuf {
        let path = workspace.path("hotshoe.toml");
        fs::write(&path, format!("site = \"lab\"\ndevice = \"a\"\n{more}\n")).unwrap();
        path
    };
    let (code, report) = doctor(&write(""));
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["can_serve"], true);
    for what in ["version", "configuration", "trust", "data", "disk", "clock"] {
        assert_eq!(states(&report, what), ["ok"], "{what}: {report}");
    }
    assert!(!workspace.path("data").exists(), "it changes nothing");

    let (code, report) = doctor(&write("trust = \"other.toml\""));
    assert_eq!(
        (code, states(&report, "trust")),
        (Some(1), vec!["fail".to_owned()])
    );
    let (code, report) = doctor(&write("sight = \"lab\""));
    assert_eq!(
        (code, states(&report, "configuration")),
        (Some(1), vec!["fail".to_owned()])
    );
    let (code, report) = doctor(&write("data = \"/proc/nowhere\""));
    assert_eq!(
        (code, states(&report, "data")),
        (Some(1), vec!["fail".to_owned()])
    );
    let (code, report) = doctor(&write(
        "[inference]\nbackend = \"ort\"\nlibrary = \"/nowhere/libonnxruntime.so\"",
    ));
    assert_eq!(
        (code, states(&report, "ONNX Runtime")),
        (Some(1), vec!["fail".to_owned()]),
        "{report}"
    );
}

#[test]
fn the_doctor_refuses_a_door_that_the_daemon_refuses() {
    let workspace = Workspace::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let config = workspace.path("hotshoe.toml");
    fs::write(workspace.path("token"), "").unwrap();
    for (oip, state) in [
        ("listen = \"127.0.0.1:0\"".to_owned(), "ok"),
        (format!("listen = \"{taken}\""), "fail"),
        (
            "listen = \"127.0.0.1:0\"\ntoken-file = \"nope\"".to_owned(),
            "fail",
        ),
        (
            "listen = \"127.0.0.1:0\"\ntoken-file = \"token\"".to_owned(),
            "fail",
        ),
        (
            "listen = \"127.0.0.1:0\"\ntls = { certificate = \"nope.pem\", key = \"nope.key\" }"
                .to_owned(),
            "fail",
        ),
    ] {
        fs::write(
            &config,
            format!("site = \"lab\"\ndevice = \"a\"\n[oip]\n{oip}\n"),
        )
        .unwrap();
        let (code, report) = doctor(&config);
        assert_eq!(states(&report, "oip"), [state], "{oip}: {report}");
        assert_eq!(code, Some(i32::from(state == "fail")), "{oip}: {report}");
    }
}

#[test]
fn the_doctor_tries_the_execution_providers() {
    let Some(library) = ort_library() else {
        return;
    };
    let workspace = Workspace::new();
    let config = workspace.path("hotshoe.toml");
    let text = format!(
        "site = \"lab\"\ndevice = \"a\"\n[inference]\nlibrary = \"{library}\"\n[[inference.providers]]\nname = \"cuda\"\n"
    );
    fs::write(&config, text).unwrap();
    let (code, report) = doctor(&config);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(states(&report, "ONNX Runtime"), ["ok"], "{report}");
    // Whether there is such a processor is the machine's; that the ordinary one works is not.
    assert_eq!(states(&report, "provider").len(), 2, "{report}");
    assert_eq!(states(&report, "provider")[0], "ok", "{report}");
}
