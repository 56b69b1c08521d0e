//! The audit log of a real daemon: what it lists, and that a change of it is found.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hotshoe_config::Config;
use hotshoe_tests::until;
use hotshoe_trust::{DeviceSelector, Order, SigningKey};
use rustix::process::Signal;
use serde_json::Value;

use super::site::{Packed, Site, light, settled_on, signed, statement};
use super::support::{Daemon, Device, free_endpoint, hotshoe, success};

impl Device {
    fn file(&self) -> String {
        self.config.display().to_string()
    }

    /// The records of its audit log.
    fn audit(&self, more: &[&str]) -> Vec<Value> {
        let file = self.file();
        let arguments = ["audit", "show", "--config", &file, "--json"];
        let shown = success(arguments.iter().chain(more).copied());
        serde_json::from_str(&shown).unwrap()
    }

    /// The exit code and the report of `audit verify`.
    fn verify(&self, more: &[&str]) -> (Option<i32>, Value) {
        let file = self.file();
        let arguments = ["audit", "verify", "--config", &file, "--json"];
        let output = hotshoe(arguments.iter().chain(more).copied());
        let report = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report)
    }
}

fn kinds(records: &[Value]) -> Vec<&str> {
    let kinds = records.iter().map(|record| record["kind"].as_str());
    kinds.map(Option::unwrap).collect()
}

/// The first record of a kind.
fn first<'a>(records: &'a [Value], kind: &str) -> &'a Value {
    let mut records = records.iter();
    records
        .find(|record| record["kind"] == kind)
        .unwrap_or_else(|| panic!("no record {kind}"))
}

/// Publishes a release with a statement that `alice` has signed.
fn publish_signed(site: &mut Site, packed: &Packed) {
    let pem = fs::read_to_string(site.workspace.path("alice.key")).unwrap();
    let key = SigningKey::from_pem(&pem, None).unwrap();
    let order = Order::Deploy {
        release: packed.release,
        name: packed.name.clone(),
        generation: packed.generation,
        bundles: packed.bundles.clone(),
        activate: true,
    };
    let envelope = signed(&statement(order, DeviceSelector::default()), &key);
    site.publisher()
        .publish_statement(&packed.name, envelope)
        .unwrap();
}

/// The only file of a log.
fn log_file(site: &Site) -> PathBuf {
    let folder = fs::read_dir(site.workspace.path("cam-data/audit")).unwrap();
    let mut files: Vec<PathBuf> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "jsonl"))
        .collect();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

#[test]
fn the_audit_log_lists_what_happened_and_a_change_of_it_is_found() {
    let mut site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "[deploy]\nstatements = \"signed\"");
    let daemon = device.run();
    let second = site.pack(&light(2, ""));
    // The statement is not signed.
    site.publish(&second);
    daemon.wait_until(|state| {
        state["ignored"]
            .as_object()
            .is_some_and(|it| !it.is_empty())
    });
    publish_signed(&mut site, &second);
    daemon.feed_until(settled_on(2));
    success(["rollback", "--config", &device.file()]);
    daemon.signal(Signal::HUP);
    until("the reload is recorded", || {
        !device.audit(&["--kind", "config_reloaded"]).is_empty()
    });
    let records = device.audit(&[]);
    let expected = [
        "log_created",
        "release_installed",
        "daemon_started",
        "statement_refused",
        "release_verified",
        "release_staged",
        "release_trial",
        "release_live",
        "release_rolled_back",
        "command",
        "config_reloaded",
    ];
    let of_release: Vec<&str> = kinds(&records)
        .into_iter()
        .filter(|kind| *kind != "checkpoint")
        .collect();
    // The start repeats the last phase of the ledger.
    let mut left = of_release.iter();
    for kind in expected {
        assert!(left.any(|it| *it == kind), "no {kind} in {of_release:?}");
    }
    for (number, record) in records.iter().enumerate() {
        assert_eq!(record["sequence"], number + 1);
    }
    assert_eq!(
        first(&records, "release_installed")["actor"]["who"],
        "operator"
    );
    let verified = first(&records, "release_verified");
    assert_eq!(verified["actor"]["who"], "deployer");
    assert_eq!(verified["actor"]["keys"], serde_json::json!(["alice"]));
    assert_eq!(verified["details"]["generation"], "2");
    let back = first(&records, "release_rolled_back");
    assert_eq!(back["actor"]["who"], "operator");
    assert_eq!(back["details"]["cause"], "ordered");
    let command = first(&records, "command");
    assert_eq!(command["details"]["command"], "rollback");
    assert_eq!(command["details"]["outcome"], "done");
    let shown = success(["audit", "show", "--config", &device.file()]);
    assert!(shown.contains("deployer alice"), "{shown}");

    // The status has the head that the daemon signed at its start.
    let state = daemon.wait_until(|state| !state["audit"].is_null());
    assert_eq!(state["audit"]["device"], "cam");
    assert!(daemon.stop().success());
    let records = device.audit(&[]);
    let last = kinds(&records);
    assert_eq!(last[last.len() - 2..], ["daemon_stopped", "checkpoint"]);
    let held = site.workspace.path("head.json");
    fs::write(&held, state["audit"].to_string()).unwrap();
    let held = held.display().to_string();
    let (code, report) = device.verify(&["--head", &held]);
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!(report["records"], records.len());
    assert!(report["signatures"].as_u64().unwrap() >= 2, "{report:#}");
    let head = format!(
        "{}:{}",
        report["head"]["sequence"],
        report["head"]["hash"].as_str().unwrap()
    );

    let path = log_file(&site);
    let sound = fs::read_to_string(&path).unwrap();
    let changed = sound.replace("\"command\":\"rollback\"", "\"command\":\"activate\"");
    assert_ne!(changed, sound);
    fs::write(&path, changed).unwrap();
    let (code, report) = device.verify(&[]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["findings"][0]["name"], "changed_record");
    assert_eq!(report["findings"][0]["sequence"], command["sequence"]);
    // An end that was cut off together with the stored head.
    let short: String = sound.split_inclusive('\n').take(3).collect();
    fs::write(&path, short).unwrap();
    fs::remove_file(path.with_file_name("head.json")).unwrap();
    let (code, report) = device.verify(&[]);
    assert_eq!(code, Some(0), "{report:#}");
    let (code, report) = device.verify(&["--head", &head]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["findings"][0]["name"], "truncated");
    assert_eq!(report["findings"][0]["last"], 3);
}

#[test]
fn a_denied_capability_and_a_command_without_a_daemon_are_recorded() {
    let mut site = Site::new();
    let installed = site.pack(&light(1, ""));
    let device = site.device("cam", &installed, "[limits]\nmemory-mib = 96");
    let daemon = device.run();
    let limits = "[components.measure.limits]\nmemory-mib = 128\n";
    let second = site.pack(&light(2, limits));
    site.publish(&second);
    daemon.wait_until(|state| !state["refused"]["limit_too_high"].is_null());
    until("the denial is recorded", || {
        !device.audit(&["--kind", "capability_denied"]).is_empty()
    });
    let denied = device.audit(&["--kind", "capability_denied"]);
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0]["details"]["cause"], "limit_too_high");
    assert_eq!(denied[0]["details"]["generation"], "2");
    assert!(daemon.stop().success());
    let file = device.file();
    let refused = hotshoe(["rollback", "--config", &file]);
    assert_eq!(refused.status.code(), Some(1));
    let commands = device.audit(&["--kind", "command"]);
    assert_eq!(commands[0]["details"]["outcome"], "nothing_previous");
    let (code, report) = device.verify(&[]);
    assert_eq!(code, Some(0), "{report:#}");
}

#[test]
fn a_folder_without_an_audit_log_is_an_error_with_a_name() {
    let site = Site::new();
    let folder = site.workspace.path("").display().to_string();
    let output = hotshoe(["audit", "verify", "--data", &folder, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["error"]["name"], "no_audit_log");
}

#[test]
fn a_registry_holds_the_head_of_a_device_and_finds_a_shortened_log() {
    let listen = free_endpoint();
    let mut site = Site::new();
    site.close();
    let installed = site.pack(&light(1, ""));
    let heads = site.workspace.path("registry/heads.json");
    let registry = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["registry", "--site", "lab", "--router", "--listen", &listen])
        .arg("--data")
        .arg(site.workspace.path("registry"))
        .args(["--trust", &site.workspace.trust_file()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let log = site.workspace.path("registry.log");
    let _registry = Daemon::of(registry, log, "registry");
    let device = site.device_at("cam", &installed, &listen, "");
    let daemon = device.run();
    until("the registry holds a head", || {
        fs::read_to_string(&heads).is_ok_and(|text| text.contains("\"cam\""))
    });
    assert!(daemon.stop().success());
    let held = heads.display().to_string();
    let (code, report) = device.verify(&["--head", &held]);
    assert_eq!(code, Some(0), "{report:#}");
    let path = log_file(&site);
    let text = fs::read_to_string(&path).unwrap();
    // The log's beginning, the installation: the daemon has never run.
    let short: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&path, short).unwrap();
    fs::remove_file(path.with_file_name("head.json")).unwrap();
    let (code, report) = device.verify(&["--head", &held]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["findings"][0]["name"], "truncated");
}

/// Without a registry.
#[test]
fn a_neighbour_holds_the_head_of_a_device_and_finds_a_shortened_log() {
    let mut site = Site::new();
    site.close();
    let installed = site.pack(&light(1, ""));
    let device = site.workspace.device("cam", &installed.folder, "");
    let listen = Config::load(&device.config).unwrap().zenoh.listen;
    let neighbour = site.device_at("neighbour", &installed, &listen[0], "");
    let heads = site.workspace.path("neighbour-data/heads.json");
    let daemon = device.run();
    let other = neighbour.run();
    until("the neighbour holds a head", || {
        fs::read_to_string(&heads).is_ok_and(|text| text.contains("\"cam\""))
    });
    // Its own one would prove nothing.
    let text = fs::read_to_string(&heads).unwrap();
    assert!(!text.contains("\"neighbour\""), "{text}");
    assert!(daemon.stop().success());
    assert!(other.stop().success());
    let held = heads.display().to_string();
    let (code, report) = device.verify(&["--head", &held]);
    assert_eq!(code, Some(0), "{report:#}");
    let path = log_file(&site);
    let text = fs::read_to_string(&path).unwrap();
    let short: String = text.split_inclusive('\n').take(2).collect();
    fs::write(&path, short).unwrap();
    fs::remove_file(path.with_file_name("head.json")).unwrap();
    let (code, report) = device.verify(&["--head", &held]);
    assert_eq!(code, Some(1), "{report:#}");
    assert_eq!(report["findings"][0]["name"], "truncated");
}
