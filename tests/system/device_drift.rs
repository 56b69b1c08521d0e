//! Drift on a real daemon: what it tells, what it does about it, and what it offers to recorders.
//!
//! The stage `measure` says how many bytes a sample has. A hundred samples in a row have each size from 1 to 100 once, so that every quiet window has
//! the values of the baseline.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use hotshoe_store::{RecordedPart, Recording};
use hotshoe_tests::{DEADLINE, free_port};
use serde_json::{Value, json};

use super::governor::tree::Tree;
use super::site::{Site, ended, light, settled_on};
use super::support::{Daemon, Device, failure, success};

/// What is watched: the bytes of a sample.
const WATCHED: &str = "mean(scalars.0.value)";
/// An alert is raised and has ended as soon as it is seen.
const AT_ONCE: &str = "[alerts]\nperiod-ms = 100\nafter-s = 0\ncalm-s = 0\n";
/// What a shift adds to each size.
const SHIFT: usize = 60;
/// Samples that are fed between two looks at the status.
const BATCH: usize = 25;

/// The size of a sample.
fn bytes(number: usize) -> usize {
    1 + number * 37 % 100
}

/// A baseline of 200 samples, and the lines of a release that watches it.
fn drift(site: &Site, more: &str) -> String {
    let file = site.workspace.path("baseline.json");
    if !file.exists() {
        let folder = site.workspace.path("samples");
        fs::create_dir(&folder).unwrap();
        for number in 0..200 {
            let path = folder.join(format!("{number:03}.bin"));
            fs::write(path, vec![b'a'; bytes(number)]).unwrap();
        }
        let release = site.pack(&light(1, ""));
        success([
            "baseline",
            &text(&release.folder),
            &text(&folder),
            "--trust",
            &site.workspace.trust_file(),
            "--measure",
            WATCHED,
            "--out",
            &text(&file),
        ]);
    }
    format!(
        "[drift]\nbaseline = \"{}\"\nwindow = 100\nat-least = 50\n{more}\n",
        text(&file)
    )
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Samples without an end, shifted or not.
struct Samples<'a> {
    daemon: &'a Daemon,
    next: usize,
}

impl<'a> Samples<'a> {
    const fn of(daemon: &'a Daemon) -> Self {
        Self { daemon, next: 0 }
    }

    fn feed(&mut self, shift: usize) {
        let ids: Vec<String> = (self.next..self.next + BATCH)
            .map(|it| format!("s{it}"))
            .collect();
        let samples: Vec<(&str, Vec<u8>)> = ids
            .iter()
            .zip(self.next..)
            .map(|(id, number)| (id.as_str(), vec![b'a'; bytes(number) + shift]))
            .collect();
        self.next += BATCH;
        self.daemon.feed(&samples);
    }

    /// Feeds until the status, as JSON, is as wanted; returns it.
    fn until(&mut self, shift: usize, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let state = self.daemon.state();
            if wanted(&state) {
                return state;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "not as wanted: {state:#}\n{}",
                self.daemon.log()
            );
            self.feed(shift);
        }
    }
}

fn windows(count: u64) -> impl Fn(&Value) -> bool {
    move |state| state["drift"]["windows"].as_u64() >= Some(count)
}

/// The alerts of drift.
fn alerts(state: &Value) -> Vec<&Value> {
    let alerts = state["alerts"].as_array().into_iter().flatten();
    alerts.filter(|alert| alert["kind"] == "drift").collect()
}

/// The events of a kind.
fn events<'a>(state: &'a Value, kind: &str) -> Vec<&'a Value> {
    let events = state["events"].as_array().into_iter().flatten();
    events.filter(|event| event["kind"] == kind).collect()
}

fn metrics(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn drift_is_told_until_it_ends_and_a_quiet_run_tells_nothing() {
    let site = Site::new();
    let release = site.pack(&light(1, &drift(&site, "")));
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let more = format!("{AT_ONCE}[metrics]\nlisten = \"{address}\"\n");
    let device = site.device("cam", &release, &more);
    let daemon = device.run();
    let mut samples = Samples::of(&daemon);

    let state = samples.until(0, windows(5));
    let quiet = &state["drift"];
    assert_eq!(quiet["drifting"], false, "{state:#}");
    assert_eq!(quiet["action"], "alert");
    assert_eq!(quiet["window"], 100);
    assert!(quiet["since"].is_null());
    assert!(quiet["ratio"].as_f64().unwrap() < 1.0, "{quiet:#}");
    let value = &quiet["values"][0];
    assert_eq!(value["value"], WATCHED);
    assert_eq!(value["drifted"], false);
    let statistics = value["statistics"].as_array().unwrap();
    let named: Vec<(&Value, &Value)> = statistics
        .iter()
        .map(|it| (&it["statistic"], &it["threshold"]))
        .collect();
    assert_eq!(
        named,
        [
            (&json!("psi"), &json!(0.25)),
            (&json!("ks"), &json!(0.15)),
            (&json!("change"), &json!(15.0)),
        ]
    );
    assert!(alerts(&state).is_empty(), "{state:#}");
    assert!(events(&state, "drift_began").is_empty());
    assert!(metrics(address).contains("hotshoe_drifting 0"));

    let state = samples.until(SHIFT, |state| {
        state["drift"]["drifting"] == true && !alerts(state).is_empty()
    });
    let drifting = &state["drift"];
    assert!(drifting["since"].is_string(), "{drifting:#}");
    let [alert] = alerts(&state)[..] else {
        panic!("{state:#}");
    };
    assert_eq!(
        (&alert["severity"], &alert["subject"]),
        (&json!("warning"), &json!(WATCHED))
    );
    let [began] = events(&state, "drift_began")[..] else {
        panic!("{state:#}");
    };
    assert_eq!(began["cause"]["name"], "drift");
    assert_eq!(began["details"]["action"], "alert");
    assert_eq!(began["subject"]["name"], "light");
    let shown = success(["status", "--config", &text(&device.config)]);
    assert!(shown.contains("drift     since "), "{shown}");
    let shown = metrics(address);
    assert!(shown.contains("hotshoe_drifting 1"), "{shown}");
    for statistic in ["psi", "ks", "change"] {
        let is_shown = shown.lines().any(|line| {
            line.starts_with("hotshoe_drift{")
                && line.contains(WATCHED)
                && line.contains(&format!("statistic=\"{statistic}\""))
        });
        assert!(is_shown, "{statistic}: {shown}");
    }

    let state = samples.until(0, |state| {
        state["drift"]["drifting"] == false && alerts(state).is_empty()
    });
    assert!(state["drift"]["since"].is_null());
    assert_eq!(events(&state, "drift_ended").len(), 1, "{state:#}");
    // It is the same release all the time.
    assert_eq!(state["release"]["generation"], 1);
    assert!(metrics(address).contains("hotshoe_drifting 0"));
}

#[test]
fn a_release_that_drifts_is_left_for_the_previous_one_and_stays_left() {
    let mut site = Site::new();
    let first = site.pack(&light(1, ""));
    let second = site.pack(&light(2, &drift(&site, "action = \"previous\"")));
    let device = site.device("cam", &first, AT_ONCE);
    let daemon = device.run();
    let mut samples = Samples::of(&daemon);
    // Nothing is measured without [drift].
    assert!(daemon.state()["drift"].is_null());
    site.publish(&second);
    samples.until(0, settled_on(2));
    let state = samples.until(0, windows(2));
    assert_eq!(state["drift"]["drifting"], false, "{state:#}");
    assert_eq!(state["drift"]["action"], "previous");

    let state = samples.until(SHIFT, ended(2, "rolled-back"));
    assert_eq!(state["release"]["generation"], 1, "{state:#}");
    let rollback = &state["last_rollback"];
    assert_eq!(rollback["generation"], 2);
    assert_eq!(rollback["cause"]["name"], "drift");
    let message = rollback["cause"]["message"].as_str().unwrap();
    assert!(message.contains(WATCHED), "{message}");
    let [back] = events(&state, "release_rolled_back")[..] else {
        panic!("{state:#}");
    };
    assert_eq!(back["cause"]["name"], "drift");

    // The alert ends, since the release that serves has no baseline.
    let state = samples.until(SHIFT, |state| alerts(state).is_empty());
    assert!(state["drift"].is_null(), "{state:#}");
    site.publish(&second);
    let state = samples.until(SHIFT, |state| !state["refused"]["failed_before"].is_null());
    assert_eq!(state["release"]["generation"], 1);
    assert_eq!(events(&state, "release_rolled_back").len(), 1);
}

#[test]
fn without_a_previous_release_the_one_that_drifts_goes_on_and_says_so_once() {
    let site = Site::new();
    let release = site.pack(&light(1, &drift(&site, "action = \"previous\"")));
    let daemon = site.device("cam", &release, AT_ONCE).run();
    let mut samples = Samples::of(&daemon);
    samples.until(0, windows(1));
    let state = samples.until(SHIFT, |state| {
        !events(state, "drift_fallback_failed").is_empty()
    });
    let before = state["drift"]["windows"].as_u64().unwrap();
    let state = samples.until(SHIFT, windows(before + 2));
    assert_eq!(state["drift"]["drifting"], true, "{state:#}");
    assert_eq!(state["release"]["generation"], 1);
    assert_eq!(events(&state, "drift_fallback_failed").len(), 1);
}

#[test]
fn a_release_that_drifts_runs_in_its_mode_until_that_ends() {
    let site = Site::new();
    let modes = "[modes.full]\nlevel = 0\n[modes.careful]\nlevel = 1\n";
    let drift = drift(&site, "action = \"mode\"\nmode = \"careful\"");
    let release = site.pack(&light(1, &format!("{modes}{drift}")));
    let tree = Tree::new(site.workspace.path("tree"));
    let mut more = AT_ONCE.to_owned();
    write!(
        more,
        "[governor]\nsensors = \"{}\"\nperiod-ms = 100\nleast-time-ms = 100\ncalm-ms = 100\nmost-changes-per-hour = 1000\n",
        tree.root().display()
    )
    .unwrap();
    let daemon = site.device("cam", &release, &more).run();
    let mut samples = Samples::of(&daemon);
    let state = samples.until(0, windows(2));
    assert_eq!(state["governor"]["mode"], "full", "{state:#}");
    let state = samples.until(SHIFT, |state| state["governor"]["mode"] == "careful");
    assert_eq!(state["drift"]["drifting"], true, "{state:#}");
    // Samples in this mode are measured too, so that drift can end.
    samples.until(0, |state| state["governor"]["mode"] == "full");
}

/// `hotshoe record --why drift` of a device.
fn arguments(site: &Site, device: &Device) -> Vec<String> {
    let fixed = ["record", "--stage", "sample", "--why", "drift"];
    let mut all: Vec<String> = fixed.map(str::to_owned).into();
    all.extend(["--device", &device.name].map(str::to_owned));
    all.extend(["--count", "5", "--config", &text(&device.config)].map(str::to_owned));
    all.extend(["-o".to_owned(), text(&site.workspace.path("recorded"))]);
    all
}

const RECORDED: &str = "[data-contract]\nrecord = [\"sample\", \"insight\"]\n";
const ALLOWED: &str = "[record]\nallow = [\"sample\", \"insight\"]\n";

#[test]
fn only_rare_samples_of_a_device_that_drifts_are_recorded_to_be_labelled() {
    let site = Site::new();
    let release = site.pack(&light(1, &format!("{RECORDED}{}", drift(&site, ""))));
    let device = site.device("cam", &release, ALLOWED);
    let daemon = device.run();
    let mut recorder = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments(&site, &device))
        .arg("--json")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut samples = Samples::of(&daemon);
    samples.until(0, windows(3));
    assert!(recorder.try_wait().unwrap().is_none());
    let started = Instant::now();
    while recorder.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < DEADLINE, "{}", daemon.log());
        samples.feed(SHIFT);
    }
    let output = recorder.wait_with_output().unwrap();
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["entries"], 5, "{report}");
    let recording = Recording::open(&site.workspace.path("recorded")).unwrap();
    for entry in &recording.entries {
        let sample = recording.read(entry, &RecordedPart::Sample).unwrap();
        // At most a twentieth of the baseline is as large.
        let bytes = sample.unwrap().len();
        assert!((95..=100 + SHIFT).contains(&bytes), "{bytes}");
    }
}

#[test]
fn samples_of_drift_are_not_recorded_where_that_is_forbidden_or_nothing_is_watched() {
    let site = Site::new();
    let watched = drift(&site, "");
    for (name, release, allowed, expected) in [
        ("cam-1", watched.clone(), ALLOWED, "not_allowed_by_release"),
        (
            "cam-2",
            format!("{RECORDED}{watched}"),
            "",
            "not_allowed_by_device",
        ),
        ("cam-3", RECORDED.to_owned(), ALLOWED, "no_drift"),
    ] {
        let release = site.pack(&light(1, &release));
        let device = site.device(name, &release, allowed);
        let _daemon = device.run();
        let refused = failure(arguments(&site, &device));
        assert!(refused.starts_with(expected), "{refused}");
        assert!(!site.workspace.path("recorded").exists());
    }
}
