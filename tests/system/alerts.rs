//! Alerts of a real daemon: what raises and ends them, what is told of them to whom, and silences.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hotshoe_config::Config;
use hotshoe_daemon::control::SOCKET;
use hotshoe_tests::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::governor::tree::Tree;
use super::site::{Site, light};
use super::support::{Daemon, Device, Workspace, failure, success};

/// An alert is raised and has ended as soon as it is seen.
const AT_ONCE: &str =
    "[alerts]\nperiod-ms = 100\nafter-s = 0\ncalm-s = 0\noffline-s = 0\nclock-s = 0\n";

/// A device with a recorded tree of sensors, whose storage is never full.
fn sensors(tree: &Tree) -> String {
    format!(
        "{AT_ONCE}disk-warning-mib = 0\ndisk-critical-mib = 0\n[governor]\nsensors = \"{}\"\nperiod-ms = 100\n",
        tree.root().display()
    )
}

/// The alerts of a kind.
fn of_kind<'a>(state: &'a Value, kind: &str) -> Vec<&'a Value> {
    let alerts = state["alerts"].as_array().into_iter().flatten();
    alerts.filter(|alert| alert["kind"] == kind).collect()
}

/// How serious the only alert of a kind is; empty without one.
fn severity<'a>(state: &'a Value, kind: &str) -> &'a str {
    let alerts = of_kind(state, kind);
    assert!(alerts.len() <= 1, "{state:#}");
    let severity = alerts.first().map(|alert| &alert["severity"]);
    severity.and_then(Value::as_str).unwrap_or_default()
}

/// The events of an alert's kind, oldest first, as what happened and how serious it was.
fn events(state: &Value, kind: &str) -> Vec<(String, String)> {
    let events = state["events"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .filter(|event| event["details"]["alert"] == kind)
        .map(|event| (text(&event["kind"]), text(&event["details"]["severity"])))
        .collect()
}

fn told(kind: &str, severity: &str) -> (String, String) {
    (kind.to_owned(), severity.to_owned())
}

/// `hotshoe alerts ...` of a device.
fn alerts(device: &Device, arguments: &[&str]) -> Value {
    let config = device.config.display().to_string();
    let rest = ["--config", config.as_str(), "--json"];
    let all = [&["alerts"], arguments, &rest].concat();
    serde_json::from_str(&success(all)).unwrap()
}

/// `hotshoe collect` as a process, killed when it is dropped.
struct Collector(Child);

impl Collector {
    fn start(device: &Device, folder: &Path) -> Self {
        let zenoh = Config::load(&device.config).unwrap().zenoh;
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotshoe"));
        command
            .args(["collect", "--site", "lab", "--connect"])
            .arg(&zenoh.listen[0])
            .arg("--jsonl")
            .arg(folder)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn end(mut self) {
        let id = i32::try_from(self.0.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn heat_is_told_once_for_each_severity_and_arrives_at_a_collector() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let tree = Tree::new(site.workspace.path("tree"));
    let outbox = "[outbox]\ndurable = { alert = \"critical\" }\n";
    let config = format!("{outbox}{}", sensors(&tree));
    let device = site.device("cam", &first, &config);
    let daemon = device.run();
    daemon.wait_until(|state| state["governor"]["sensors"]["hottest_celsius"] == 40.0);
    for (celsius, expected) in [
        (90.0, "warning"),
        (96.0, "critical"),
        // Within the margin of 5 C.
        (91.0, "critical"),
        (89.0, "warning"),
        (81.0, "warning"),
        (79.0, ""),
    ] {
        tree.heat(celsius);
        let state = daemon.wait_until(|state| {
            let seen = &state["governor"]["sensors"]["hottest_celsius"];
            let text = format!("the hottest thermal zone has {celsius:.1} C");
            let heat = of_kind(state, "heat");
            let is_shown = heat
                .first()
                .is_some_and(|alert| alert["text"].as_str().unwrap().contains(&text));
            *seen == celsius && (is_shown || (expected.is_empty() && heat.is_empty()))
        });
        assert_eq!(severity(&state, "heat"), expected, "{state:#}");
    }
    let state = daemon.state();
    let expected = [
        told("alert_raised", "warning"),
        told("alert_raised", "critical"),
        told("alert_raised", "warning"),
        told("alert_resolved", "warning"),
    ];
    assert_eq!(events(&state, "heat"), expected, "{state:#}");

    let folder = site.workspace.path("collected");
    let collector = Collector::start(&device, &folder);
    daemon.wait_until(|state| {
        let outbox = &state["outbox"];
        outbox["outlet"]["state"] == "idle" && outbox["records"] == 0
    });
    collector.end();
    let text = fs::read_to_string(folder.join("records.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let heat: Vec<Value> = records
        .filter(|line: &Value| line["payload"]["details"]["alert"] == "heat")
        .collect();
    let arrived: Vec<_> = heat
        .iter()
        .map(|line| {
            assert_eq!(line["source"], "alert", "{line}");
            let event = &line["payload"];
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&event["kind"]), text(&event["details"]["severity"]))
        })
        .collect();
    assert_eq!(arrived, expected, "{text}");
}

#[test]
fn a_release_that_expires_soon_is_an_alert_until_another_serves() {
    let mut site = Site::new();
    let soon = |generation, days: &str| {
        light(generation, "").replace("expires-in = \"365d\"", &format!("expires-in = \"{days}\""))
    };
    let first = site.pack(&soon(1, "5d"));
    let device = site.device("cam", &first, AT_ONCE);
    let daemon = device.run();
    let state = daemon.wait_until(|state| severity(state, "release_expiry") == "critical");
    let alert = of_kind(&state, "release_expiry")[0];
    assert_eq!(
        (&alert["subject"], &alert["count"]),
        (&json!("light 1"), &json!(1))
    );
    let shown = success(["status", "--config", &device.config.display().to_string()]);
    assert!(
        shown.contains("critical release_expiry of light 1: it expires in "),
        "{shown}"
    );
    for (generation, days, expected) in [(2, "20d", "warning"), (3, "365d", "")] {
        let next = site.pack(&soon(generation, days));
        site.publish(&next);
        let subject = format!("light {generation}");
        let state = daemon.feed_until(|state| {
            let alerts = of_kind(state, "release_expiry");
            state["release"]["generation"] == generation
                && match alerts[..] {
                    [] => expected.is_empty(),
                    [alert] => alert["subject"] == subject.as_str(),
                    _ => false,
                }
        });
        assert_eq!(severity(&state, "release_expiry"), expected, "{state:#}");
    }
}

#[test]
fn samples_that_fail_are_an_error_spike() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("hostile.toml"));
    let config = format!("{AT_ONCE}least-samples = 6\nwindow-s = 3600\n");
    let daemon = workspace.device("cam", &release, &config).run();
    daemon.feed(&[
        ("1", b"good".to_vec()),
        ("2", b"good".to_vec()),
        ("3", b"good".to_vec()),
    ]);
    let state = daemon.state();
    assert_eq!(
        (
            state["counters"]["results"].as_u64(),
            severity(&state, "error_spike")
        ),
        (Some(3), "")
    );
    // Whether they trap, or are not tried since the component is paused: they fail.
    let traps = ["4", "5", "6"].map(|id| (id, b"trap".to_vec()));
    daemon.feed(&traps);
    let state = daemon.wait_until(|state| severity(state, "error_spike") == "critical");
    let alert = of_kind(&state, "error_spike")[0];
    let text = alert["text"].as_str().unwrap();
    assert!(
        text.starts_with("50 % of 6 samples failed within 3600 s"),
        "{text}"
    );
    assert_eq!(
        events(&state, "error_spike"),
        [told("alert_raised", "critical")]
    );
}

/// Starts the daemon of a device without a connection to it, which would be a peer.
fn run_alone(device: &Device, log: &Path) -> Daemon {
    let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["run", "--config"])
        .arg(&device.config)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(log).unwrap())
        .spawn()
        .unwrap();
    let daemon = Daemon::of(child, log.to_owned(), &device.name);
    let socket = Config::load(&device.config).unwrap().data.join(SOCKET);
    until("the daemon takes commands", || socket.exists());
    daemon
}

#[test]
fn a_device_whose_site_is_gone_is_offline_until_it_is_back() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, AT_ONCE);
    site.close();
    let daemon = run_alone(&device, &site.workspace.path("alone.log"));
    let offline = || {
        let list = alerts(&device, &["list"]);
        let found = of_kind(&list, "offline");
        found.iter().any(|alert| alert["subject"] == "site")
    };
    until("the site is gone", offline);
    site.open();
    until("the site is back", || !offline());
    site.close();
    until("the site is gone again", offline);
    assert!(daemon.stop().success());
}

#[test]
fn a_broker_that_is_not_there_is_offline() {
    let workspace = Workspace::new();
    let release = workspace.release(&light(1, ""));
    let port = hotshoe_tests::free_port();
    let config = format!(
        "[outbox]\ndurable = {{ insight = \"normal\" }}\n[outbox.mqtt]\nurl = \"mqtt://127.0.0.1:{port}\"\n{AT_ONCE}"
    );
    let daemon = workspace.device("cam", &release, &config).run();
    daemon.feed(&[("1", b"abc".to_vec())]);
    let state = daemon.wait_until(|state| severity(state, "offline") == "warning");
    let alert = of_kind(&state, "offline")[0];
    assert_eq!(alert["subject"], "outbox");
    assert!(
        alert["text"]
            .as_str()
            .unwrap()
            .contains("mqtt is not reached"),
        "{alert:#}"
    );
}

#[test]
fn a_silence_is_audited_survives_a_restart_and_ends() {
    let workspace = Workspace::new();
    let soon = light(1, "").replace("expires-in = \"365d\"", "expires-in = \"5d\"");
    let release = workspace.release(&soon);
    let device = workspace.device("cam", &release, AT_ONCE);
    let config = device.config.display().to_string();
    let daemon = device.run();
    daemon.wait_until(|state| severity(state, "release_expiry") == "critical");
    let which = ["--kind", "release_expiry"];
    let silenced = alerts(
        &device,
        &[&["silence"], &which[..], &["--for", "2h"]].concat(),
    );
    let until = &silenced["silences"][0]["until"];
    assert!(until.is_string(), "{silenced:#}");
    assert_eq!(&silenced["alerts"][0]["silenced_until"], until);
    let refused = failure([
        "alerts", "silence", "--kind", "heat", "--for", "59s", "--config", &config,
    ]);
    assert!(refused.starts_with("silence_length: "), "{refused}");
    assert!(daemon.stop().success());

    let daemon = device.run();
    let state = daemon.wait_until(|state| {
        let alerts = of_kind(state, "release_expiry");
        // What it was before the restart, measured again.
        alerts.first().is_some_and(|alert| {
            let text = alert["text"].as_str().unwrap();
            text.starts_with("it expires in ")
        })
    });
    let alert = of_kind(&state, "release_expiry")[0];
    assert_eq!(&alert["silenced_until"], until, "{state:#}");
    assert!(events(&state, "release_expiry").is_empty());
    let list = alerts(&device, &[&["unsilence"], &which[..]].concat());
    assert_eq!(list["silences"], json!([]));
    assert!(
        list["alerts"][0].get("silenced_until").is_none(),
        "{list:#}"
    );
    let again = [
        &["alerts", "unsilence"],
        &which[..],
        &["--config", config.as_str()],
    ]
    .concat();
    let refused = failure(again);
    assert!(refused.starts_with("no_silence: "), "{refused}");
    assert!(daemon.stop().success());

    let shown = success([
        "audit", "show", "--config", &config, "--kind", "command", "--json",
    ]);
    let records: Vec<Value> = serde_json::from_str(&shown).unwrap();
    let outcomes: Vec<&str> = records
        .iter()
        .filter(|record| record["details"]["command"] == "alerts")
        .map(|record| record["details"]["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(
        outcomes,
        ["done", "silence_length", "done", "no_silence"],
        "{shown}"
    );
}
