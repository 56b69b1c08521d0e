//! `hotshoe doctor --before-shipping`, and `hotshoe soak`.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Workspace, failure, hotshoe, success};

/// The states of a finding, and what was found.
fn finding(report: &Value, what: &str) -> (String, String) {
    let findings = report["findings"].as_array().unwrap().iter();
    let mut of_it = findings.filter(|it| it["what"] == what);
    let it = of_it
        .next()
        .unwrap_or_else(|| panic!("no {what} in {report}"));
    assert!(of_it.next().is_none(), "{what} twice: {report}");
    let text = |key: &str| it[key].as_str().unwrap().to_owned();
    (text("state"), text("found"))
}

fn before_shipping(config: &Path) -> Value {
    let output = hotshoe([
        "doctor".as_ref(),
        "--before-shipping".as_ref(),
        "--minutes".as_ref(),
        "0.05".as_ref(),
        "--json".as_ref(),
        "--config".as_ref(),
        config.as_os_str(),
    ]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_device_is_rehearsed_before_it_is_shipped() {
    let workspace = Workspace::new();
    let recipe = Workspace::recipe("release.toml");
    let release = workspace.release(&recipe);
    // The heat of this machine must not decide.
    let sensors = workspace.path("sensors");
    fs::create_dir(&sensors).unwrap();
    let more = format!(
        "[governor]\nenabled = false\nsensors = \"{}\"\n",
        sensors.display()
    );
    let device = workspace.device("cam", &release, &more);
    let report = before_shipping(&device.config);
    let (state, found) = finding(&report, "start");
    assert_eq!(state, "ok", "{found}");
    assert!(
        found.contains("label-reader generation 1") && found.contains("1 self-tests"),
        "{found}"
    );
    let (state, found) = finding(&report, "rollback");
    assert_eq!(state, "warn", "{found}");
    assert!(found.contains("no release to go back to"), "{found}");
    let (state, found) = finding(&report, "latency");
    assert_eq!(state, "warn", "{found}");
    assert!(found.contains("no limit is set"), "{found}");
    assert_eq!(finding(&report, "outbox").0, "ok");
    // A busy machine may slow down within seconds.
    assert_ne!(finding(&report, "heat").0, "fail");
    assert_eq!(finding(&report, "statements").0, "warn");
    assert_eq!(finding(&report, "keys").0, "warn", "one key alone");

    // A second release: the first one can come back. Its limit is one that nothing keeps.
    let second = recipe.replace("generation = 1", "generation = 2");
    let second = second.replace(
        "[[pipeline]]\nstage",
        "[health]\nmax-latency-p95-ms = 1\n\n[[pipeline]]\nstage",
    );
    let release = workspace.release(&second);
    let config = device.config.display().to_string();
    success([
        "install",
        &release.display().to_string(),
        "--config",
        &config,
    ]);
    let report = before_shipping(&device.config);
    let (state, found) = finding(&report, "rollback");
    assert_eq!(state, "ok", "{found}");
    assert!(found.contains("generation 1 can come back"), "{found}");
    let (state, found) = finding(&report, "latency");
    assert_eq!(state, "fail", "{found}");
    assert!(found.contains("at most 1 ms"), "{found}");
    assert_eq!(report["can_ship"], false);

    let daemon = device.run();
    let (state, found) = finding(&before_shipping(&device.config), "start");
    assert_eq!(state, "fail", "{found}");
    daemon.kill();
}

#[test]
fn an_encrypted_device_is_rehearsed_with_its_key() {
    let workspace = Workspace::new();
    let key = workspace.path("hotshoe.key");
    success(["secret", "key", &key.display().to_string()]);
    let more = format!(
        "[governor]\nenabled = false\n[encryption]\nkey-file = \"{}\"\nrequired = true\n",
        key.display()
    );
    let release = workspace.release(&Workspace::recipe("release.toml"));
    let device = workspace.device("cam", &release, &more);
    let (state, found) = finding(&before_shipping(&device.config), "start");
    assert_eq!(state, "ok", "{found}");
    assert!(found.contains("label-reader generation 1"), "{found}");
    // The rehearsal leaves the compiled code as the daemon reads it.
    let daemon = device.run();
    assert!(
        !daemon.log().contains("component compiled"),
        "{}",
        daemon.log()
    );
    daemon.kill();
    fs::remove_file(key).unwrap();
    let (state, found) = finding(&before_shipping(&device.config), "start");
    assert_eq!(state, "fail", "{found}");
    assert!(found.contains("hotshoe.key"), "{found}");
}

#[test]
fn nothing_is_rehearsed_without_a_release() {
    let workspace = Workspace::new();
    let config = workspace.path("hotshoe.toml");
    fs::write(
        &config,
        "site = \"lab\"\ndevice = \"a\"\ndevelopment = true\n",
    )
    .unwrap();
    let report = before_shipping(&config);
    let (state, found) = finding(&report, "start");
    assert_eq!(state, "fail", "{found}");
    assert_eq!(report["can_ship"], false);
    assert!(!workspace.path("data").exists(), "it changes nothing");
}

/// A sample that the stage answers at once.
fn quick(workspace: &Workspace) -> (String, String) {
    let release = workspace.path("quick.toml");
    fs::write(&release, Workspace::recipe("hostile.toml")).unwrap();
    let sample = workspace.path("sample.txt");
    fs::write(&sample, "good").unwrap();
    (release.display().to_string(), sample.display().to_string())
}

#[test]
fn a_soak_swaps_rolls_back_and_counts_every_sample() {
    let workspace = Workspace::new();
    let (release, sample) = quick(&workspace);
    let report = hotshoe([
        "soak",
        &release,
        "--sample",
        &sample,
        "--minutes",
        "0.4",
        "--json",
    ]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let verdict = |what: &str| -> (bool, String) {
        let verdicts = report["verdicts"].as_array().unwrap();
        let it = verdicts.iter().find(|it| it["what"] == what);
        let it = it.unwrap_or_else(|| panic!("no {what} in {report}"));
        (
            it["is_good"].as_bool().unwrap(),
            it["found"].as_str().unwrap().to_owned(),
        )
    };
    let (is_good, found) = verdict("swaps");
    assert!(is_good, "{found}");
    let count = |of: &str| report["counts"][of].as_u64().unwrap();
    assert_eq!(
        (count("sent"), count("unanswered")),
        (count("results") + count("skipped") + count("failed"), 0),
        "{report}"
    );
    assert_eq!(report["add_up"], true);
    assert!(
        report["swaps"].as_u64() >= Some(2) && report["rollbacks"].as_u64() >= Some(1),
        "{report}"
    );
    assert!(report["sessions"].as_u64() > Some(4), "sources come and go");
    assert!(report["page_bytes"].as_u64() > Some(0), "the page is open");
    let points = report["points"].as_array().unwrap();
    assert!(
        points.len() >= 2 && points[0]["handles"].as_u64() > Some(3),
        "{report}"
    );
}

#[test]
fn a_signal_ends_a_soak_which_judges_what_there_is_and_leaves_nothing() {
    let workspace = Workspace::new();
    let (release, sample) = quick(&workspace);
    let temporary = workspace.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let mut soak = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["soak", &release, "--sample", &sample, "--minutes", "30"])
        .arg("--json")
        .env("TMPDIR", &temporary)
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut notes = BufReader::new(soak.stderr.take().unwrap()).lines();
    let note = notes.next().unwrap().unwrap();
    assert!(note.contains("samples per second at most"), "{note}");
    let pid = i32::try_from(soak.id()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::INT).unwrap();
    let output = soak.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["verdicts"].is_array(), "{report}");
    assert!(report["seconds"].as_f64() < Some(30.0 * 60.0), "{report}");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
}

#[test]
fn a_soak_by_swaps_compares_with_a_fresh_daemon() {
    let workspace = Workspace::new();
    let (release, sample) = quick(&workspace);
    let report = hotshoe([
        "soak", &release, "--sample", &sample, "--swaps", "3", "--json",
    ]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["swaps"], 3, "{report}");
    for ratios in ["sample_ratios", "swap_ratios"] {
        assert_eq!(report[ratios].as_array().unwrap().len(), 20, "{ratios}");
    }
    let wrong = workspace.path("wrong.txt");
    fs::write(&wrong, "error").unwrap();
    let failed = failure(["soak", &release, "--sample", &wrong.display().to_string()]);
    assert!(failed.starts_with("no_result"), "{failed}");
}
