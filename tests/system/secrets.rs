//! Secrets of a device through a real daemon: they reach what may read them, and stand in nothing that leaves the device or that it keeps.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hotshoe_link::FeedReply;
use hotshoe_tests::{Need, free_port, skip, until};
use rustix::process::Signal;
use serde_json::Value;

use super::encryption::{has, with_input};
use super::mqtt::{Broker, program};
use super::oip::{free_address, raw};
use super::support::{DEADLINE, Daemon, Device, Workspace, environment, failure, refusal, success};

/// A secret that no output may show. It is also a valid name of a metric, and a token.
const SECRET: &str = "word_4711_of_the_camera";
/// What stands in its place.
const MARK: &str = "[redacted]";

/// A release with a stage that lets these secrets out by every way that must not show them.
fn recipe(secrets: &str) -> String {
    format!(
        "name = \"reading\"\ngeneration = 1\nexpires-in = \"90d\"\n\
         [components.secret-stage]\nfile = \"{}\"\nworld = \"stage\"\ngrants = [\"config\", \"log\", \"metrics\"]\nsecrets = [{secrets}]\n\
         [[pipeline]]\nstage = \"secret-stage\"\n[data-contract]\nrecord = [\"insight\"]\n",
        environment().component("secret-stage").display()
    )
}

/// A device whose files are encrypted, with this in its configuration.
fn encrypted(workspace: &Workspace, release: &str, more: &str) -> Device {
    let key = workspace.path("hotshoe.key").display().to_string();
    success(["secret", "key", &key]);
    let release = workspace.release(release);
    let more = format!("[encryption]\nkey-file = \"{key}\"\nrequired = true\n{more}");
    workspace.device("cam", &release, &more)
}

fn config(device: &Device) -> String {
    device.config.display().to_string()
}

fn set(device: &Device, name: &str, value: &str) {
    let config = config(device);
    with_input(&["secret", "set", name, "--config", &config], value);
}

fn feed(daemon: &Daemon, payload: &str) -> FeedReply {
    let sample = [("sample", payload.as_bytes().to_vec())];
    daemon.feed(&sample).pop().unwrap()
}

/// The length of a secret, as the stage has read it.
fn length(daemon: &Daemon, name: &str) -> f64 {
    let reply = feed(daemon, &format!("length {name}"));
    let insight = &reply.result.unwrap()["insight"];
    insight["scalars"][0]["value"].as_f64().unwrap()
}

/// The actions on secrets in the audit log, as their records have them.
fn audited(device: &Device) -> Vec<String> {
    let config = config(device);
    let shown = success(["audit", "show", "--config", &config, "--json"]);
    assert!(!shown.contains(SECRET), "{shown}");
    let records: Vec<Value> = serde_json::from_str(&shown).unwrap();
    let details = records.iter().map(|record| &record["details"]);
    let own = details.filter(|details| details["command"] == "secret");
    own.map(|details| details["action"].as_str().unwrap().to_owned())
        .collect()
}

/// Which file that a process has open, deleted ones included, has these bytes. Sockets and pipes have none.
pub(crate) fn open_file_with(process: u32, part: &[u8]) -> Option<String> {
    let mut descriptors = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/fd")).unwrap() {
        descriptors.push(entry.unwrap().path());
    }
    assert!(!descriptors.is_empty());
    descriptors.into_iter().find_map(|path| {
        // It may be closed by now.
        let target = fs::read_link(&path).ok()?.display().to_string();
        if !fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        fs::File::open(&path).ok()?.read_to_end(&mut bytes).ok()?;
        let mut windows = bytes.windows(part.len());
        windows.any(|window| window == part).then_some(target)
    })
}

/// Records two insights while samples are fed.
fn record(daemon: &Daemon, device: &Device, out: &Path) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args([
            "record", "--device", "cam", "--stage", "post", "--count", "2",
        ])
        .args(["--config".as_ref(), device.config.as_os_str()])
        .args(["-o".as_ref(), out.as_os_str()])
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < DEADLINE, "{}", daemon.log());
        feed(daemon, "length camera");
        feed(daemon, "fail camera");
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_secret_that_a_component_reads_is_in_no_log_status_metric_error_recording_or_bundle() {
    let workspace = Workspace::new();
    let metrics = free_address();
    let more = format!(
        "[secrets]\nallow = [\"camera\"]\n[metrics]\nlisten = \"{metrics}\"\ntoken-secret = \"door\"\n\
         [record]\nallow = [\"insight\"]\n[outbox]\ndurable = {{ insight = \"normal\" }}\n\
         [log]\nfilter = \"debug,zenoh=warn\"\n"
    );
    let device = encrypted(&workspace, &recipe("\"camera\""), &more);
    let config = config(&device);
    // The token of the endpoint is a secret that is missing.
    let said = failure(["run", "--config", &config]);
    assert!(said.starts_with("unknown_secret"), "{said}");
    assert!(said.contains("metrics.token-secret"), "{said}");
    set(&device, "camera", &format!("{SECRET}\n"));
    set(&device, "other", "not for the component");
    set(&device, "door", "too short");
    let said = failure(["run", "--config", &config]);
    assert!(said.starts_with("invalid_token"), "{said}");
    assert!(!said.contains("too short"), "{said}");
    set(&device, "door", SECRET);

    let daemon = device.run();
    assert_eq!(length(&daemon, "camera"), SECRET.len() as f64);
    // Its release does not list it.
    assert_eq!(length(&daemon, "other"), 0.0);
    let (failed, panicked) = (feed(&daemon, "fail camera"), feed(&daemon, "panic camera"));
    for (reply, fault) in [(&failed, "invalid_input"), (&panicked, "trap")] {
        let body = refusal(reply);
        assert_eq!(body["fault"], fault, "{body}");
        assert!(body["message"].as_str().unwrap().contains(MARK), "{body}");
    }
    let get = |token: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
        raw(&metrics, &format!("{head}Connection: close\r\n\r\n"))
    };
    assert!(get("another-horse-battery").starts_with("HTTP/1.1 401"));
    let scraped = get(SECRET);
    assert!(scraped.contains("hotshoe_release_info"), "{scraped}");
    let recorded = workspace.path("recorded");
    record(&daemon, &device, &recorded);
    let bundle = workspace.path("support.json").display().to_string();
    success(["support", "--config", &config, "--out", &bundle]);

    let ask = |arguments: &[&str]| success([arguments, &["--config", &config, "--json"]].concat());
    let log = daemon.log();
    assert!(log.contains(&format!("the stage read {MARK}")), "{log}");
    let texts = [
        log,
        format!("{:?} {:?}", failed.result, panicked.result),
        scraped,
        serde_json::to_string(&daemon.status()).unwrap(),
        fs::read_to_string(bundle).unwrap(),
        ask(&["secret", "list"]),
        ask(&["data", "list"]),
        ask(&["audit", "show"]),
    ];
    for text in &texts {
        assert!(!text.contains(SECRET), "{text}");
    }
    assert_eq!(has(&recorded, SECRET.as_bytes()), None);
    assert_eq!(has(&workspace.path("release"), SECRET.as_bytes()), None);
    // The idle daemon, and what it leaves.
    let data = workspace.path("cam-data");
    assert_eq!(open_file_with(daemon.id(), SECRET.as_bytes()), None);
    assert_eq!(has(&data, SECRET.as_bytes()), None);
    daemon.stop();
    assert_eq!(has(&data, SECRET.as_bytes()), None);
}

#[test]
fn the_password_of_a_broker_is_a_secret_and_a_new_one_needs_no_restart() {
    let (program, libraries) = match program() {
        Ok(program) => program,
        Err(reason) => return skip(Need::DebianPackages, &reason),
    };
    let workspace = Workspace::new();
    let users = workspace.path("users");
    let made = Command::new(program.with_file_name("../bin/mosquitto_passwd"))
        .args(["-b", "-c"])
        .arg(&users)
        .args(["cam", SECRET])
        .env("LD_LIBRARY_PATH", &libraries)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let (port, file) = (free_port(), workspace.path("mosquitto.conf"));
    let text = format!(
        "user root\nallow_anonymous false\npassword_file {}\npersistence false\nlistener {port} 127.0.0.1\n",
        users.display()
    );
    fs::write(&file, text).unwrap();
    let _broker = Broker::start(program, libraries, file, port);
    let more = format!(
        "[secrets]\nallow = [\"camera\"]\n[outbox]\ndurable = {{ insight = \"normal\" }}\n\
         [outbox.mqtt]\nurl = \"mqtt://localhost:{port}\"\nusername = \"cam\"\npassword-secret = \"broker\"\n"
    );
    let device = encrypted(&workspace, &recipe("\"camera\""), &more);
    set(&device, "camera", "1234");
    let daemon = device.run();
    assert_eq!(length(&daemon, "camera"), 4.0);
    let error = |state: &Value| state["outbox"]["outlet"]["error"]["name"].clone();
    daemon.wait_until(|state| error(state) == "unknown_secret");
    set(&device, "broker", "not this one");
    daemon.wait_until(|state| error(state) == "mqtt_unreachable");
    set(&device, "broker", SECRET);
    // Connected: there is a broker, and nothing subscribes to it.
    let state = daemon.wait_until(|state| error(state) == "mqtt_no_subscriber");
    success(["secret", "remove", "camera", "--config", &config(&device)]);
    assert_eq!(length(&daemon, "camera"), 0.0);

    // One was set before the daemon ran, and the others were told to it.
    let (set, removed) = (
        "{\"set\":{\"name\":\"broker\"}}",
        "{\"remove\":{\"name\":\"camera\"}}",
    );
    let expected = ["{\"set\":{\"name\":\"camera\"}}", set, set, removed];
    until("the changes are in the audit log", || {
        audited(&device) == expected
    });

    let bundle = workspace.path("support.json").display().to_string();
    success(["support", "--config", &config(&device), "--out", &bundle]);
    for text in [
        daemon.log(),
        state.to_string(),
        fs::read_to_string(bundle).unwrap(),
    ] {
        for hidden in [SECRET, "not this one"] {
            assert!(!text.contains(hidden), "{text}");
        }
    }
    let data = workspace.path("cam-data");
    assert_eq!(open_file_with(daemon.id(), SECRET.as_bytes()), None);
    assert_eq!(has(&data, SECRET.as_bytes()), None);
    daemon.kill();
    assert_eq!(has(&data, SECRET.as_bytes()), None);
}

#[test]
fn secrets_of_a_folder_come_first_and_need_no_encryption() {
    let workspace = Workspace::new();
    // As systemd makes it for the credentials of a service.
    let folder = workspace.path("credentials");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("camera"), "four\n").unwrap();
    let release = workspace.release(&recipe("\"camera\""));
    let metrics = free_address();
    let more = format!(
        "[secrets]\nfolder = \"credentials\"\nallow = [\"camera\"]\n\
         [metrics]\nlisten = \"{metrics}\"\ntoken-secret = \"door\"\n"
    );
    let device = workspace.device("cam", &release, &more);
    let config = config(&device);
    fs::write(folder.join("door"), SECRET).unwrap();
    let listed = success(["secret", "list", "--config", &config, "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let places: Vec<_> = listed["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["name"].as_str().unwrap(), it["from"].as_str().unwrap()))
        .collect();
    assert_eq!(places, [("camera", "folder"), ("door", "folder")]);
    let removed = failure(["secret", "remove", "camera", "--config", &config]);
    assert!(removed.starts_with("secrets_without_key"), "{removed}");

    let mut daemon = device.run();
    assert_eq!(length(&daemon, "camera"), 4.0);
    // A new value applies at its next use.
    fs::write(folder.join("camera"), "longer").unwrap();
    assert_eq!(length(&daemon, "camera"), 6.0);
    let get = |token: &str| {
        let head = format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {token}\r\n");
        raw(&metrics, &format!("{head}Connection: close\r\n\r\n"))
    };
    assert!(get(SECRET).contains("hotshoe_release_info"));
    // A token is read at a reload.
    fs::write(folder.join("door"), "another-horse-battery-staple").unwrap();
    assert!(get(SECRET).contains("hotshoe_release_info"));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration was reloaded");
    assert!(get(SECRET).starts_with("HTTP/1.1 401"));
    assert!(get("another-horse-battery-staple").contains("hotshoe_release_info"));
}

#[test]
fn a_release_gets_no_secret_that_the_device_does_not_allow() {
    let workspace = Workspace::new();
    let device = workspace.device(
        "cam",
        &workspace.release(&recipe("\"camera\"")),
        "[secrets]\nallow = [\"camera\"]\n",
    );
    let folder = workspace.path("release");
    fs::remove_dir_all(&folder).unwrap();
    let text = recipe("\"camera\", \"door\"").replace("generation = 1", "generation = 2");
    let release = workspace.release(&text).display().to_string();
    let said = failure(["install", &release, "--config", &config(&device)]);
    assert!(said.starts_with("secret_not_allowed"), "{said}");
    let expected = "[secrets]\nallow = [\"camera\", \"door\"]";
    assert!(said.contains(expected), "{said}");
}
