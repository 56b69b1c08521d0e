//! What the operator of one device meets: access modes under any umask, limits of the system, a daemon that hangs or does not run.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use super::site::{Site, light};
use super::support::{Workspace, failure, limited, success};

fn mode(path: &Path) -> u32 {
    let found = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    found.permissions().mode() & 0o777
}

/// Runs `hotshoe` with the widest umask.
fn widest(arguments: &[&str]) {
    let output = limited("umask 000").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_data_folder_is_for_its_owner_alone_under_any_umask() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let config = site.workspace.path("cam.toml");
    fs::write(
        &config,
        "site = \"lab\"\ndevice = \"cam\"\ndata = \"deep/data\"\ntrust = \"trust.toml\"\n",
    )
    .unwrap();
    let config = text(&config);
    widest(&["install", &text(&first.folder), "--config", &config]);
    let data = site.workspace.path("deep/data");
    for folder in ["", "blobs", "blobs/sha256"] {
        assert_eq!(mode(&data.join(folder)), 0o700, "{folder}");
    }
    for file in ["ledger.json", "lock"] {
        assert_eq!(mode(&data.join(file)), 0o600, "{file}");
    }
    let mut blobs = 0;
    for entry in fs::read_dir(data.join("blobs/sha256")).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
        blobs += 1;
    }
    assert!(blobs > 2, "{blobs} blobs");
}

#[test]
fn keys_and_trusted_keys_are_for_their_owner_alone_under_any_umask() {
    let workspace = Workspace::new();
    let keys = workspace.path("keys");
    widest(&[
        "keygen",
        "--no-passphrase",
        "--out",
        &text(&keys),
        "--name",
        "bob",
    ]);
    assert_eq!(mode(&keys), 0o700);
    assert_eq!(mode(&keys.join("bob.key")), 0o600);
    let trust = workspace.path("trusted/trust.toml");
    let key = format!("bob={}", text(&keys.join("bob.pub")));
    widest(&["trust", "--key", &key, "--out", &text(&trust)]);
    assert_eq!(mode(&trust), 0o600);
    let site = workspace.path("lab");
    widest(&[
        "site",
        "init",
        "--site",
        "lab",
        "--out",
        &text(&site),
        "--no-passphrase",
        "--device",
        "cam",
    ]);
    assert_eq!(mode(&site), 0o700);
    let mut checked = 0;
    let mut folders = vec![site];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let is_secret = path.extension().is_some_and(|it| it == "key");
            if is_secret || path.ends_with("trust.toml") {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 4, "{checked} files");
}

#[test]
fn a_data_folder_that_others_can_read_is_a_warning() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let daemon = device.run();
    assert!(!daemon.log().contains("other users of this machine"));
    daemon.kill();
    let data = site.workspace.path("cam-data");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = device.run();
    let log = daemon.log();
    assert!(log.contains("other users of this machine"), "{log}");
    let config = text(&device.config);
    let report: Value =
        serde_json::from_str(&success(["doctor", "--json", "--config", &config])).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let modes = findings.iter().find(|it| it["what"] == "modes").unwrap();
    assert_eq!(modes["state"], "warn", "{modes}");
}

#[test]
fn too_few_file_descriptors_are_refused_with_a_sentence() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let config = text(&device.config);
    for arguments in [
        &["run", "--json", "--config", &config][..],
        &[
            "status",
            "--site",
            "lab",
            "--connect",
            "tcp/127.0.0.1:1",
            "--json",
        ],
    ] {
        let output = limited("ulimit -n 35").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let report: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(report["error"]["name"], "too_few_descriptors", "{said}");
        assert!(said.contains("ulimit -n"), "{said}");
    }
}

#[test]
fn a_status_says_whether_a_daemon_runs_and_whether_it_hangs() {
    let site = Site::new();
    let first = site.pack(&light(1, ""));
    let device = site.device("cam", &first, "");
    let config = text(&device.config);
    let said = failure(["status", "--config", &config]);
    assert!(said.starts_with("not_running"), "{said}");
    assert!(said.contains("hotshoe run"), "{said}");
    let daemon = device.run();
    success(["status", "--config", &config]);
    daemon.signal(Signal::STOP);
    let said = failure(["status", "--config", &config, "--timeout", "1"]);
    daemon.signal(Signal::CONT);
    assert!(said.starts_with("no_answer"), "{said}");
    success(["status", "--config", &config]);
}

#[test]
fn a_command_that_reads_does_not_create_the_data_folder() {
    let workspace = Workspace::new();
    let config = workspace.path("cam.toml");
    fs::write(&config, "site = \"lab\"\ndevice = \"cam\"\n").unwrap();
    let config = text(&config);
    assert_eq!(
        success(["history", "--config", &config, "--json"]).trim(),
        "[]"
    );
    let said = failure(["rollback", "--config", &config]);
    assert!(said.starts_with("not_running"), "{said}");
    assert!(!workspace.path("data").exists());
}

#[test]
fn the_doctor_names_a_release_that_is_no_longer_for_this_device() {
    let site = Site::new();
    let selected = light(1, "").replace("[health]", "[devices]\nnames = [\"cam\"]\n[health]");
    let device = site.device("cam", &site.pack(&selected), "");
    let config = text(&device.config);
    let release = || -> Value {
        let said = success(["doctor", "--json", "--config", &config]);
        let report: Value = serde_json::from_str(&said).unwrap();
        let findings = report["findings"].as_array().unwrap();
        findings
            .iter()
            .find(|it| it["what"] == "release")
            .unwrap()
            .clone()
    };
    assert_eq!(release()["state"], "ok");
    let old = fs::read_to_string(&device.config).unwrap();
    let renamed = old.replace("device = \"cam\"", "device = \"gate\"");
    fs::write(&device.config, renamed).unwrap();
    let found = release();
    assert_eq!(found["state"], "warn", "{found}");
    assert!(
        found["found"].as_str().unwrap().contains("cannot serve"),
        "{found}"
    );
}

#[test]
fn in_the_journal_each_line_has_its_priority() {
    let site = Site::new();
    let device = site.device("cam", &site.pack(&light(1, "")), "");
    let log = File::create(device.config.with_extension("log")).unwrap();
    let found = log.metadata().unwrap();
    let stream = format!("{}:{}", found.dev(), found.ino());
    let mut command = limited("");
    command
        .args(["run", "--config"])
        .arg(&device.config)
        .env("JOURNAL_STREAM", stream)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let daemon = device.run_by(command);
    let log = daemon.log();
    let mut lines = 0;
    // The last line may not be written yet.
    let (whole, _) = log.rsplit_once('\n').unwrap();
    for line in whole.lines() {
        let (priority, json) = line.split_once('>').unwrap();
        let line: Value = serde_json::from_str(json).unwrap();
        let expected = match line["level"].as_str().unwrap() {
            "ERROR" => "<3",
            "WARN" => "<4",
            "INFO" => "<6",
            _ => "<7",
        };
        assert_eq!(priority, expected, "{line}");
        lines += 1;
    }
    assert!(lines > 0);
}
