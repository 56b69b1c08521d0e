//! Values that a device and its site both write, also while they are cut off from each other.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use hotshoe_tests::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::proxy::Cable;
use crate::support::{DEADLINE, Daemon, Device, Workspace, failure, free_endpoint, success};

/// A device with shared values, whose site reaches it by a cable.
struct Line {
    workspace: Workspace,
    device: Device,
    cable: Cable,
}

impl Line {
    fn new() -> Self {
        let workspace = Workspace::new();
        let endpoint = free_endpoint();
        let (_, port) = endpoint.rsplit_once(':').unwrap();
        let cable = Cable::to(port.parse().unwrap());
        let config = workspace.path("line-4.toml");
        let text = format!(
            "site = \"lab\"\ndevice = \"line-4\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[deploy]\nstatements = \"signed\"\n\
             [shared-data.list]\nrule = \"append\"\nmax-items = 3\n[shared-data.latest]\nrule = \"last-writer-wins\"\n\
             [shared-data.setting]\nrule = \"remote-wins\"\nmax-bytes = 100\n"
        );
        fs::write(&config, text).unwrap();
        Self {
            workspace,
            device: Device {
                name: "line-4".to_owned(),
                config,
            },
            cable,
        }
    }

    fn text(&self, name: &str) -> String {
        self.workspace.path(name).display().to_string()
    }

    /// The arguments of a command at the site, without a key.
    fn at_site(&self, command: &[&str]) -> Vec<String> {
        let cable = self.cable.endpoint();
        let options = ["--site", "lab", "--device", "line-4", "--connect", &cable];
        let all = ["shared-data"].iter().chain(command).chain(&options);
        all.map(|it| (*it).to_owned()).collect()
    }

    /// Runs a command at the site, by `alice` with a replica.
    fn site(&self, command: &[&str]) -> Value {
        let mut all = self.at_site(command);
        let own = [
            "--replica".to_owned(),
            self.text("replica"),
            "--key".to_owned(),
            self.text("alice.key"),
            "--json".to_owned(),
        ];
        all.extend(own);
        serde_json::from_str(&success(all)).unwrap()
    }

    /// Runs a command on the device.
    fn local(&self, command: &[&str]) -> Value {
        let data = self.text("data");
        let options = ["--data", &data, "--json"];
        let all = ["shared-data"].iter().chain(command).chain(&options);
        serde_json::from_str(&success(all)).unwrap()
    }

    fn run(&self) -> Daemon {
        self.device.run()
    }

    /// Starts `sync --follow` at the site.
    fn follow(&self) -> Follower {
        let (replica, key) = (self.text("replica"), self.text("alice.key"));
        let own = ["--replica", &replica, "--key", &key, "--json"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
            .args(self.at_site(&["sync", "--follow"]))
            .args(own)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Follower { child, lines }
    }
}

/// `sync --follow` as a process, killed when it is dropped.
struct Follower {
    child: Child,
    /// What it prints.
    lines: Receiver<Value>,
}

impl Follower {
    /// Waits for an exchange after which a value is this.
    fn wait_for(&self, name: &str, value: &Value) {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap();
            let mut views = line["values"].as_array().unwrap().iter();
            let view = views.find(|view| view["name"] == name).unwrap();
            if view["value"] == *value {
                return;
            }
        }
    }

    /// Ends it by a signal.
    fn end(mut self) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Without a command after the reconnection, and without a write.
#[test]
fn a_site_that_follows_exchanges_at_each_change_and_once_the_link_is_back() {
    let line = Line::new();
    let daemon = line.run();
    let follower = line.follow();
    follower.wait_for("latest", &Value::Null);
    line.local(&["set", "latest", "here"]);
    follower.wait_for("latest", &json!("here"));

    line.cable.cut_after(0);
    // The replica is free for other commands.
    let written = line.site(&["set", "setting", "site"]);
    assert_eq!(written["delivered"], false, "{written}");
    assert!(!line.cable.is_connected());
    line.local(&["set", "setting", "device"]);
    line.local(&["append", "list", "device"]);
    line.cable.mend();
    follower.wait_for("list", &json!(["device"]));
    until("the device has the write of the site", || {
        line.local(&["get", "setting"])["value"] == "site"
    });

    // The device comes back, and the cable stays.
    daemon.kill();
    let written = line.site(&["set", "latest", "away"]);
    assert_eq!(written["delivered"], false, "{written}");
    let _daemon = line.run();
    follower.wait_for("latest", &json!("away"));
    until("the device has the second write of the site", || {
        line.local(&["get", "latest"])["value"] == "away"
    });
    follower.end();
}

#[test]
fn both_ends_write_while_they_are_cut_off_and_show_the_same_after() {
    let line = Line::new();
    let daemon = line.run();
    let values = line.site(&["sync"]);
    let names: Vec<&Value> = values["values"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 3);
    assert_eq!(names[0]["name"], "latest");
    assert_eq!(names[0]["value"], Value::Null);
    let first = line.site(&["set", "setting", "first"]);
    assert_eq!(
        (&first["value"], &first["delivered"]),
        (&json!("first"), &json!(true))
    );
    assert_eq!(line.local(&["get", "setting"])["value"], "first");

    // The next byte from the device cuts the cable.
    line.cable.cut_after(0);
    for command in [
        ["set", "latest", "site"],
        ["append", "list", "site"],
        ["set", "setting", "site"],
    ] {
        let written = line.site(&command);
        assert_eq!(written["delivered"], false, "{written}");
    }
    for command in [
        ["set", "latest", "device"],
        ["append", "list", "device"],
        ["set", "setting", "device"],
    ] {
        line.local(&command);
    }
    let pending = line.local(&["get", "setting"]);
    assert_eq!(
        (&pending["value"], &pending["pending"]),
        (&json!("device"), &json!(true))
    );
    assert_eq!(line.local(&["get", "list"])["value"], json!(["device"]));

    // What was answered is on the disk.
    daemon.kill();
    let _daemon = line.run();
    assert_eq!(line.local(&["get", "latest"])["value"], "device");
    line.cable.mend();
    let at_site = line.site(&["sync"]);
    let on_device = line.local(&["list"]);
    assert_eq!(at_site, on_device);
    let shown: Vec<(&Value, &Value)> = at_site["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (&it["value"], &it["pending"]))
        .collect();
    assert_eq!(
        shown,
        [
            (&json!("device"), &json!(false)),
            (&json!(["site", "device"]), &json!(false)),
            (&json!("site"), &json!(false)),
        ]
    );
    // Both ends drop the same items of a full list.
    line.local(&["append", "list", "3"]);
    assert_eq!(
        line.site(&["append", "list", "4"])["value"],
        json!(["device", 3, 4])
    );
    assert_eq!(
        line.local(&["get", "list"])["value"],
        json!(["device", 3, 4])
    );
}

#[test]
fn only_a_trusted_key_writes_for_the_site() {
    let line = Line::new();
    let _daemon = line.run();
    line.workspace.key("mallory");
    let mallory = line.text("mallory.key");
    let alice = line.text("alice.key");
    let set = ["set", "latest", "1"];
    let by = |key: &str, command: &[&str]| {
        let mut all = line.at_site(command);
        all.extend(["--key".to_owned(), key.to_owned()]);
        failure(all)
    };
    let unsigned = failure(line.at_site(&set));
    assert!(unsigned.starts_with("unsigned: "), "{unsigned}");
    let unknown = by(&mallory, &set);
    assert!(unknown.starts_with("unknown_signer: "), "{unknown}");
    let missing = by(&alice, &["set", "none", "1"]);
    assert!(missing.starts_with("unknown_value: "), "{missing}");
    let list = by(&alice, &["set", "list", "1"]);
    assert!(list.starts_with("other_rule: "), "{list}");
    // With its quotes, one byte more than `max-bytes`.
    let long = "x".repeat(99);
    let large = by(&alice, &["set", "setting", &long]);
    assert!(large.starts_with("value_too_large: "), "{large}");
    // Anyone who reaches the device reads.
    let mut get = line.at_site(&["get", "latest"]);
    get.push("--json".to_owned());
    let got: Value = serde_json::from_str(&success(get)).unwrap();
    assert_eq!(got["value"], Value::Null);
}

#[test]
fn a_damaged_file_is_set_aside_and_the_site_s_replica_restores_it() {
    let line = Line::new();
    let daemon = line.run();
    line.site(&["append", "list", "1"]);
    line.local(&["append", "list", "2"]);
    line.site(&["sync"]);
    daemon.kill();
    let file = line.workspace.path("data/shared-data.json");
    let damaged = fs::read_to_string(&file)
        .unwrap()
        .replace("\"wall-ms\"", "\"wall\"");
    fs::write(&file, &damaged).unwrap();
    let mut daemon = line.run();
    let set_aside = line.workspace.path("data/shared-data.damaged.json");
    assert_eq!(fs::read_to_string(set_aside).unwrap(), damaged);
    daemon.wait_for_log("damaged_shared_data");
    assert_eq!(line.local(&["get", "list"])["value"], json!([]));
    line.site(&["sync"]);
    assert_eq!(line.local(&["get", "list"])["value"], json!([1, 2]));
}

#[test]
fn a_write_on_the_device_is_in_its_audit_log_and_a_read_is_not() {
    let line = Line::new();
    let _daemon = line.run();
    line.local(&["set", "latest", "1"]);
    line.local(&["get", "latest"]);
    line.local(&["list"]);
    let data = line.text("data");
    let refused = failure(["shared-data", "append", "latest", "2", "--data", &data]);
    assert!(refused.starts_with("other_rule: "), "{refused}");
    let commands = || -> Vec<Value> {
        let shown = [
            "audit", "show", "--data", &data, "--kind", "command", "--json",
        ];
        serde_json::from_str(&success(shown)).unwrap()
    };
    until("the commands are recorded", || commands().len() == 2);
    let expected = [
        (json!({"set": {"name": "latest", "value": 1}}), "done"),
        (
            json!({"append": {"name": "latest", "value": 2}}),
            "other_rule",
        ),
    ];
    for (record, (action, outcome)) in commands().iter().zip(expected) {
        assert_eq!(record["actor"]["who"], "operator");
        let details = &record["details"];
        assert_eq!(details["command"], "shared-data");
        assert_eq!(details["outcome"], outcome);
        let found: Value = serde_json::from_str(details["action"].as_str().unwrap()).unwrap();
        assert_eq!(found, action);
    }
}

#[test]
fn a_write_of_the_site_is_in_the_audit_log_with_its_signer_and_a_refused_one_too() {
    let line = Line::new();
    let _daemon = line.run();
    line.site(&["set", "setting", "first"]);
    // Changes nothing.
    line.site(&["sync"]);
    let unsigned = failure(line.at_site(&["set", "latest", "1"]));
    assert!(unsigned.starts_with("unsigned: "), "{unsigned}");
    line.workspace.key("mallory");
    let mut forged = line.at_site(&["set", "latest", "1"]);
    forged.extend(["--key".to_owned(), line.text("mallory.key")]);
    let unknown = failure(forged);
    assert!(unknown.starts_with("unknown_signer: "), "{unknown}");

    let data = line.text("data");
    let records = |kind: &str| -> Vec<Value> {
        let shown = ["audit", "show", "--data", &data, "--kind", kind, "--json"];
        serde_json::from_str(&success(shown)).unwrap()
    };
    until("the refusals are recorded", || {
        records("shared_data_refused").len() >= 2
    });
    let written = records("shared_data_written");
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!(
        written[0]["actor"],
        json!({"who": "deployer", "keys": ["alice"]})
    );
    assert_eq!(written[0]["details"]["name"], "setting");
    // The text of the value, which is JSON.
    assert_eq!(written[0]["details"]["value"], "\"first\"");
    let refused = records("shared_data_refused");
    let reasons: Vec<&Value> = refused.iter().map(|it| &it["details"]["reason"]).collect();
    assert_eq!(reasons[..2], ["unsigned", "unknown_signer"]);
    assert_eq!(refused[0]["actor"], json!({"who": "deployer", "keys": []}));
}
