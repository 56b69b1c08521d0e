//! The dashboard for Grafana and the alert rules for Prometheus: they use what a daemon serves.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use hotshoe_tests::{Need, skip};
use serde_json::Value;

use super::oip::{free_address, raw};
use super::support::{Workspace, environment};

/// The files, below `host/monitoring`.
const FILES: [&str; 2] = ["dashboard.json", "alerts.yml"];
/// Metrics that tell of what need not happen to the daemon of the test.
const OF_OTHER_EVENTS: [&str; 22] = [
    "hotshoe_alerts",
    "hotshoe_backing_off",
    "hotshoe_battery_charge_ratio",
    "hotshoe_dead_parts",
    "hotshoe_dropped_total",
    "hotshoe_instances_replaced_total",
    "hotshoe_link_panics_total",
    "hotshoe_mode_info",
    "hotshoe_model_abandoned_total",
    "hotshoe_model_failed_total",
    "hotshoe_outbox_lost_total",
    "hotshoe_outbox_oldest_seconds",
    "hotshoe_outbox_records",
    "hotshoe_part_restarts_total",
    "hotshoe_refused_total",
    "hotshoe_rollbacks_total",
    "hotshoe_skipped_total",
    "hotshoe_stuck_workers",
    "hotshoe_swaps_total",
    "hotshoe_telemetry_traces_dropped_total",
    "hotshoe_telemetry_traces_sent_total",
    "hotshoe_temperature_celsius",
];

fn text(file: &str) -> String {
    fs::read_to_string(environment().root.join("host/monitoring").join(file)).unwrap()
}

/// The names of metrics in a text.
fn metrics(text: &str) -> BTreeSet<String> {
    let is_part = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    let words = text.split(|it| !is_part(it));
    words
        .filter(|word| word.starts_with("hotshoe_"))
        .map(|word| {
            let ends = ["_bucket", "_sum", "_count"];
            let base = ends.iter().find_map(|end| word.strip_suffix(end));
            base.unwrap_or(word).to_owned()
        })
        .collect()
}

/// The Rust files of the host, without their blanks: a call may be broken over lines.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            all.extend(text.split_whitespace());
        }
    }
}

#[test]
fn dashboard_and_alerts_use_only_metrics_that_a_daemon_serves() {
    let used: BTreeSet<String> = FILES.iter().flat_map(|file| metrics(&text(file))).collect();
    assert!(used.contains("hotshoe_stage_seconds"), "{used:?}");
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("hostile.toml"));
    let address = free_address();
    // Nothing listens there, and all of the samples are traced.
    let config = format!(
        "[metrics]\nlisten = \"{address}\"\n[outbox]\ndurable = {{ insight = \"normal\" }}\n\
         [telemetry]\nendpoint = \"http://127.0.0.1:9\"\nsample-one-in = 1\n"
    );
    let daemon = workspace.device("cam", &release, &config).run();
    daemon.feed(&[("1", b"good".to_vec()), ("2", b"trap".to_vec())]);
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let answer = raw(&address, &request);
    let served: BTreeSet<&str> = answer
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert!(served.contains("hotshoe_results_total"), "{answer}");
    let mut all = String::new();
    for entry in fs::read_dir(environment().root.join("host")).unwrap() {
        let folder = entry.unwrap().path().join("src");
        if folder.is_dir() {
            sources(&folder, &mut all);
        }
    }
    let unserved = used.iter().filter(|name| !served.contains(name.as_str()));
    for name in unserved {
        // What needs another event is described, and set somewhere, by this name.
        let count = |text: String| all.matches(&text).count();
        let described = ["counter", "gauge", "histogram"]
            .map(|kind| count(format!("describe_{kind}!(\"{name}\"")));
        let described: usize = described.iter().sum();
        let named = count(format!("\"{name}\""));
        assert!(described == 1 && named > 1, "nothing serves {name}");
        assert!(
            OF_OTHER_EVENTS.contains(&name.as_str()),
            "{name} is not served: {answer}"
        );
    }
}

#[test]
fn names_of_metrics_are_found() {
    let text = "sum(rate(hotshoe_a_total{x=\"hotshoe_b\"}[5m])) hotshoe_stage_seconds_bucket hotshoe-device";
    let found: Vec<String> = metrics(text).into_iter().collect();
    assert_eq!(
        found,
        ["hotshoe_a_total", "hotshoe_b", "hotshoe_stage_seconds"]
    );
}

#[test]
fn the_dashboard_has_panels_with_queries_of_one_data_source() {
    let dashboard: Value = serde_json::from_str(&text("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = &panel["gridPos"];
        let (x, y) = (place["x"].as_u64().unwrap(), place["y"].as_u64().unwrap());
        assert!(places.insert((x, y)), "{title}");
        assert!(x + place["w"].as_u64().unwrap() <= 24, "{title}");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert!(expression.contains("job=\"$job\""), "{title}: {expression}");
            let count = |it| expression.matches(it).count();
            assert_eq!(count('('), count(')'), "{title}: {expression}");
            assert_eq!(count('{'), count('}'), "{title}: {expression}");
        }
    }
    assert!(panels.len() > 10);
}

#[test]
fn promtool_accepts_the_rules_and_they_fire_as_they_should() {
    let root = &environment().root;
    let package = match hotshoe_devkit::debian_package(root, "prometheus") {
        Ok(package) => package,
        Err(error) => {
            let reason = format!("{:#}", anyhow::Error::from(error));
            return skip(Need::DebianPackages, &reason);
        }
    };
    let tool = package.join("usr/bin/promtool");
    let run = |arguments: &[&str]| {
        Command::new(&tool)
            .args(arguments)
            .current_dir(root.join("host/monitoring"))
            .output()
    };
    // Debian's is for Debian's own C library.
    match run(&["--version"]) {
        Ok(output) if output.status.success() => {}
        other => return skip(Need::DebianPackages, &format!("promtool: {other:?}")),
    }
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts.test.yml"],
    ] {
        let output = run(&arguments).unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}
