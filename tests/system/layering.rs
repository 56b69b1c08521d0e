//! Dependencies point one way, and each heavy thing has one crate that names it.

#[path = "layering/circles.rs"]
mod circles;

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::environment;

/// What cargo says of the workspace.
fn metadata() -> Value {
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
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_heavy_thing_has_one_crate_that_names_it() {
    let metadata = metadata();
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
    assert_eq!(users_of("zenoh"), ["hotshoe-link"]);
    assert_eq!(users_of("rumqttc-v5-next"), ["hotshoe-mqtt"]);
    assert_eq!(users_of("axum"), ["hotshoe-oip", "hotshoe-page"]);
    assert_eq!(users_of("tonic"), ["hotshoe-oip"]);
    assert_eq!(
        users_of("hotshoe-http"),
        [
            "hotshoe-config",
            "hotshoe-daemon",
            "hotshoe-oip",
            "hotshoe-page"
        ]
    );
    assert_eq!(users_of("hotshoe-sdk"), Vec::<String>::new());
}

/// The host's crates from bottom to top: each may use those above it in this list, and no others.
const LAYERS: [&str; 36] = [
    "hotshoe-base",
    "hotshoe-differential-privacy",
    "hotshoe-sealing",
    "hotshoe-http",
    "hotshoe-trust",
    "hotshoe-supervisor",
    "hotshoe-shared-data",
    "hotshoe-store",
    "hotshoe-rollout",
    "hotshoe-audit",
    "hotshoe-vision",
    "hotshoe-infer",
    "hotshoe-engine",
    "hotshoe-protocol",
    "hotshoe-config",
    "hotshoe-egress",
    "hotshoe-link",
    "hotshoe-pipeline",
    "hotshoe-delivery",
    "hotshoe-senses",
    "hotshoe-drift",
    "hotshoe-outbox",
    "hotshoe-collect",
    "hotshoe-mqtt",
    "hotshoe-daemon",
    "hotshoe-oip",
    "hotshoe-page",
    "hotshoe-telemetry",
    "hotshoe-devkit",
    "hotshoe-author",
    "hotshoe-release",
    "label-reader",
    "hotshoe-simulator",
    "hotshoe-bench",
    "hotshoe-demo",
    "hotshoe",
];

#[test]
fn crates_use_only_those_below_them() {
    let metadata = metadata();
    let layer = |name: &str| LAYERS.iter().position(|it| *it == name);
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(own) = layer(name) else {
            let manifest = package["manifest_path"].as_str().unwrap();
            assert!(
                !manifest.contains("/host/") || name == "hotshoe-launcher",
                "{name} has no place in LAYERS"
            );
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            if let (Some(used_layer), true) = (layer(used), dependency["kind"].is_null()) {
                assert!(
                    used_layer < own,
                    "{name} uses {used}, which stands above it"
                );
            }
        }
    }
}

/// What hands something to Zenoh, or declares something there.
const CALLS: [&str; 9] = [
    "session.put(",
    "session.delete(",
    "session.get(",
    "session.liveliness(",
    ".declare_",
    ".reply(",
    ".reply_err(",
    ".reply_del(",
    "Encoding::from(",
];

#[test]
fn in_link_one_file_hands_messages_to_zenoh() {
    let folder = fs::read_dir(environment().root.join("host/link/src")).unwrap();
    let files = folder.map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for file in files {
        // A call may be broken over lines.
        let text: String = fs::read_to_string(&file)
            .unwrap()
            .split_whitespace()
            .collect();
        let name = file.file_name().unwrap().display().to_string();
        let calls = CALLS.iter().filter(|call| text.contains(*call));
        found.extend(calls.map(|call| format!("{name}: {call}")));
    }
    let (measured, others): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|call| call.starts_with("outgoing.rs"));
    assert_eq!(measured.len(), CALLS.len() - 2, "{measured:?}");
    assert!(
        others.is_empty(),
        "outgoing.rs measures what is sent: {others:?}"
    );
}

/// The host's source files that contain one of these outside of tests.
fn files_with(words: &[&str]) -> Vec<String> {
    let root = &environment().root;
    let (mut folders, mut found) = (vec![root.join("host")], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let text = text.split("\nmod tests {").next().unwrap();
                if words.iter().any(|word| text.contains(word)) {
                    let path = path.strip_prefix(root).unwrap();
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_door_stands_on_the_front() {
    // The other two ask for a free port, and let go of it.
    let listening = [
        "TcpListener::bind",
        "UnixListener::bind",
        "TcpListener::from_std",
    ];
    assert_eq!(
        files_with(&listening),
        [
            "host/bench/src/infer/endpoints.rs",
            "host/daemon/src/control.rs",
            "host/http/src/front.rs",
            "host/release/src/daemon_process.rs",
        ]
    );
    let serving = [
        "serve_connection",
        "axum::serve",
        "with_http_listener",
        "TlsAcceptor",
    ];
    assert_eq!(
        files_with(&serving),
        [
            "host/http/src/connection.rs",
            "host/http/src/shared.rs",
            "host/http/src/tls.rs"
        ]
    );
    // What stands behind it.
    assert_eq!(
        files_with(&["impl Handler for"]),
        [
            "host/daemon/src/metrics/endpoint.rs",
            "host/oip/src/server.rs",
            "host/page/src/server.rs"
        ]
    );
}

/// What asks the system for the time, or waits by it.
const TIME_CALLS: [&str; 11] = [
    "Instant::now(",
    "SystemTime::now(",
    "Time::now(",
    ".elapsed()",
    ".recv_timeout(",
    "thread::sleep(",
    ".wait_timeout(",
    ".wait_timeout_while(",
    "park_timeout(",
    "tokio::time",
    "Clock::system(",
];

/// The files that use the system's time, with the reason; the rest is in decision 0042.
const SYSTEM_TIME: [(&str, &str); 17] = [
    ("daemon/src/control.rs", "time limits of a Unix socket"),
    (
        "daemon/src/log/limit.rs",
        "the log begins before the daemon, and outlives it",
    ),
    (
        "daemon/src/log/queue.rs",
        "the log begins before the daemon, and outlives it",
    ),
    ("daemon/src/metrics/endpoint.rs", "it runs on tokio"),
    ("daemon/src/serving/queue.rs", "the default of a queue"),
    (
        "daemon/src/governor/outputs.rs",
        "time limits of writes by the kernel",
    ),
    ("link/src/bench.rs", "measures Zenoh"),
    ("link/src/client.rs", "waits for Zenoh's channels"),
    ("link/src/fleet.rs", "waits for Zenoh's channels"),
    (
        "link/src/object_replies.rs",
        "measures how long Zenoh takes to send",
    ),
    ("pipeline/src/choice/timing.rs", "measures model runs"),
    (
        "pipeline/src/infer.rs",
        "deadlines of the executor, which keeps the system's time",
    ),
    (
        "pipeline/src/privacy.rs",
        "the deadline of native pixel operations",
    ),
    ("pipeline/src/self_test.rs", "measures self-tests"),
    ("pipeline/src/worker.rs", "measures steps"),
    (
        "pipeline/src/recurrent.rs",
        "deadlines of the executor, which keeps the system's time",
    ),
    (
        "senses/src/sampler.rs",
        "time limits of reads of the kernel",
    ),
];

#[test]
fn parts_get_the_time_from_their_clock() {
    let parts = ["daemon", "delivery", "link", "outbox", "pipeline", "senses"]
        .map(|name| format!("host/{name}/src/"));
    let found: Vec<String> = files_with(&TIME_CALLS)
        .into_iter()
        .filter(|path| parts.iter().any(|part| path.starts_with(part)))
        .filter(|path| !path.ends_with("tests.rs"))
        .collect();
    let is_listed = |path: &&String| {
        let mut listed = SYSTEM_TIME.iter();
        listed.any(|(file, _)| path.starts_with(&format!("host/{file}")))
    };
    let unlisted: Vec<_> = found.iter().filter(|path| !is_listed(path)).collect();
    assert!(
        unlisted.is_empty(),
        "these use the system's time: {unlisted:?}"
    );
    for (file, _) in SYSTEM_TIME {
        let is_used = found
            .iter()
            .any(|path| path.starts_with(&format!("host/{file}")));
        assert!(is_used, "{file} uses its clock; take it from the list");
    }
}
