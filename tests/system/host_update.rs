//! The daemon's program is replaced by a release of kind `host`, and goes back if the new one is not confirmed.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hotshoe_config::Config;
use hotshoe_link::Client;
use hotshoe_trust::{Digest, ReleaseKind};
use serde_json::Value;

use super::site::{Packed, Site, light};
use super::support::{DEADLINE, Daemon, Device, success};

const HOTSHOE: &str = env!("CARGO_BIN_EXE_hotshoe");

/// A program that says a version and does this otherwise.
fn program(then: &str) -> String {
    format!("#!/bin/sh\n[ \"$1\" = --version ] && echo 'hotshoe 9.9.9' && exit 0\n{then}\n")
}

/// The daemon itself, as another program.
pub(crate) fn other_hotshoe(mark: &str) -> String {
    program(&format!("# {mark}\nexec '{HOTSHOE}' \"$@\""))
}

/// A release with a program for this platform.
pub(crate) fn host(site: &Site, generation: u64, program: &str, health: &str) -> Packed {
    let file = site.workspace.path(&format!("program-{generation}"));
    fs::write(&file, program).unwrap();
    site.pack(&format!(
        "kind = \"host\"\nname = \"hotshoe.host\"\ngeneration = {generation}\nexpires-in = \"365d\"\n\
         [health]\nmin-seconds = 0\n{health}\n[data.{}]\nfile = \"{}\"\nmedia-type = \"application/octet-stream\"\n",
        ReleaseKind::platform(),
        file.display()
    ))
}

/// Starts the device's daemon below the supervisor.
fn supervised(device: &Device) -> Daemon {
    let supervisor = Path::new(HOTSHOE).with_file_name("hotshoe-supervisor");
    assert!(
        supervisor.exists(),
        "build it with `cargo build --bin hotshoe-supervisor`"
    );
    let config = Config::load(&device.config).unwrap();
    let mut command = Command::new(supervisor);
    command
        .arg("--data")
        .arg(config.data)
        .args([HOTSHOE, "run", "--config"])
        .arg(&device.config)
        .stderr(File::create(device.config.with_extension("log")).unwrap());
    device.run_by(command)
}

/// Waits until the status of the device is as wanted, over restarts of its daemon.
pub(crate) fn wait(device: &Device, wanted: impl Fn(&Value) -> bool) -> Value {
    let zenoh = Config::load(&device.config).unwrap().zenoh.client();
    let began = Instant::now();
    let mut last = Value::Null;
    while began.elapsed() < DEADLINE {
        let Ok(client) = Client::open(&zenoh) else {
            continue;
        };
        let found = client.statuses(Some("lab"), Some(&device.name), Duration::from_secs(2));
        if let Some(status) = found.unwrap_or_default().pop() {
            last = serde_json::to_value(status).unwrap();
            if wanted(&last) {
                return last;
            }
        }
    }
    let log = fs::read_to_string(device.config.with_extension("log")).unwrap_or_default();
    panic!("not as wanted: {last:#}\n{log}");
}

/// Whether this generation is live, and runs.
pub(crate) fn is_live(generation: u64, program: &str) -> impl Fn(&Value) -> bool {
    let digest = Digest::of(program.as_bytes()).to_string();
    move |state| {
        let host = &state["kinds"]["host"];
        host["slots"]["live"]["generation"] == generation
            && host["slots"]["trial"].is_null()
            && host["program"] == digest.as_str()
    }
}

/// The phases of the `host` releases in the history of the device.
fn history(device: &Device) -> Vec<String> {
    let config = device.config.display().to_string();
    let text = success(["history", "--json", "--config", &config]);
    let events: Vec<Value> = serde_json::from_str(&text).unwrap();
    let of_host = events.iter().filter(|it| it["name"] == "hotshoe.host");
    of_host
        .map(|it| it["phase"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_program_is_tried_confirmed_and_left_again_for_the_one_before_it() {
    let mut site = Site::new();
    let release = site.pack(&light(1, ""));
    let device = site.device("cam", &release, "");
    let daemon = supervised(&device);
    assert_eq!(daemon.state()["kinds"], Value::Null);
    let first = other_hotshoe("first");
    let packed = host(&site, 1, &first, "");
    site.publish(&packed);
    wait(&device, is_live(1, &first));
    let second = other_hotshoe("second");
    let packed = host(&site, 2, &second, "");
    site.publish(&packed);
    let state = wait(&device, is_live(2, &second));
    assert_eq!(state["kinds"]["host"]["slots"]["previous"]["generation"], 1);
    // It ends before it is confirmed: the second one runs again, and the release is remembered.
    let bad = host(&site, 3, &program("exit 1"), "tries = 0\n");
    site.publish(&bad);
    let failed = |state: &Value| {
        let deploy = &state["deploy"];
        deploy["generation"] == 3 && deploy["phase"] == "rolled-back"
    };
    let is_back = is_live(2, &second);
    // Phase and slots are one status.
    let state = wait(&device, failed);
    assert!(is_back(&state), "{state:#}");
    assert_eq!(
        state["deploy"]["cause"]["name"], "died_in_trial",
        "{state:#}"
    );
    // One that never says that it is good, until its deadline.
    let silent = host(
        &site,
        4,
        &program("exec sleep 600"),
        "confirm-after-seconds = 2\n",
    );
    site.publish(&silent);
    let failed = |state: &Value| {
        let deploy = &state["deploy"];
        deploy["generation"] == 4 && deploy["phase"] == "rolled-back"
    };
    let state = wait(&device, failed);
    assert!(is_back(&state), "{state:#}");
    assert_eq!(
        state["deploy"]["cause"]["name"], "not_confirmed",
        "{state:#}"
    );
    assert_eq!(state["release"]["generation"], 1);
    let phases = history(&device);
    assert!(daemon.stop().success());
    assert!(phases.contains(&"rolled-back".to_owned()), "{phases:?}");
    // The same from the folder, without a daemon.
    assert_eq!(history(&device), phases);
    // A power cut at the end, and a start: the second one runs.
    let daemon = supervised(&device);
    let state = wait(&device, is_live(2, &second));
    assert_eq!(state["release"]["generation"], 1);
    assert!(daemon.stop().success());
}

#[test]
fn a_program_that_does_not_run_here_is_refused_before_it_is_tried() {
    let mut site = Site::new();
    let release = site.pack(&light(1, ""));
    let device = site.device("cam", &release, "");
    let daemon = supervised(&device);
    let packed = host(&site, 1, "not a program", "");
    site.publish(&packed);
    let state = daemon.wait_until(|state| state["deploy"]["phase"] == "failed");
    assert_eq!(
        state["deploy"]["cause"]["name"], "program_refused",
        "{state:#}"
    );
    assert!(state["kinds"]["host"]["slots"]["trial"].is_null());
    assert!(daemon.stop().success());
}

#[test]
fn without_the_supervisor_the_device_says_what_is_missing_and_runs_on() {
    let mut site = Site::new();
    let release = site.pack(&light(1, ""));
    let device = site.device("cam", &release, "");
    let daemon = device.run();
    let packed = host(&site, 1, &other_hotshoe("first"), "");
    site.publish(&packed);
    let state = daemon.wait_until(|state| state["deploy"]["cause"]["name"] == "no_supervisor");
    assert_eq!(state["deploy"]["waiting"], "retry", "{state:#}");
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    assert!(daemon.stop().success());
}
