//! Encryption at rest of a real daemon: a real model, another key, a changed bit in every file, and kills while files become encrypted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use hotshoe_daemon::command::Command as Order;
use hotshoe_daemon::control;
use hotshoe_tests::until;
use serde_json::Value;

use super::encryption::{has, with_input};
use super::secrets::open_file_with;
use super::site::{Site, data_file, light, noise};
use super::support::{DEADLINE, Device, Workspace, environment, failure, success};

/// What an encrypted file begins with.
const SEALED: &[u8] = b"HSEALED1";

/// The lines of `[encryption]` with a new key of the workspace.
fn encryption(workspace: &Workspace, key: &str) -> String {
    let path = workspace.path(key).display().to_string();
    success(["secret", "key", &path]);
    format!("[encryption]\nkey-file = \"{path}\"\n")
}

fn config(device: &Device) -> String {
    device.config.display().to_string()
}

/// All files below a folder, by their paths in it. Sockets and locks are left out.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let is_lock = path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .ends_with("lock");
            if about.is_dir() {
                folders.push(path);
            } else if about.is_file() && !is_lock {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Makes the files of a folder these again, and removes all others.
fn restore(folder: &Path, wanted: &BTreeMap<PathBuf, Vec<u8>>) {
    for name in files(folder).keys() {
        if !wanted.contains_key(name) {
            fs::remove_file(folder.join(name)).unwrap();
        }
    }
    for (name, bytes) in wanted {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if fs::read(&path).ok().as_ref() != Some(bytes) {
            fs::write(path, bytes).unwrap();
        }
    }
}

/// A start of the daemon, which may fail.
struct Start {
    child: Child,
    log: PathBuf,
}

/// How a start ended.
#[derive(Debug)]
enum Started {
    /// It serves, with this status.
    Runs(Value),
    /// It ended with an error of this name.
    Refused(String),
}

impl Start {
    fn of(device: &Device) -> Self {
        let log = device.config.with_extension("log");
        let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
            .args(["run", "--json", "--config"])
            .arg(&device.config)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it answers or has ended.
    fn settled(&mut self, data: &Path) -> Started {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < DEADLINE, "{}", self.log());
            if let Some(status) = self.child.try_wait().unwrap() {
                let mut text = String::new();
                let mut stdout = self.child.stdout.take().unwrap();
                stdout.read_to_string(&mut text).unwrap();
                assert_eq!(status.code(), Some(1), "{text} {}", self.log());
                let report: Value = serde_json::from_str(&text).unwrap();
                let name = report["error"]["name"].as_str();
                let name = name.unwrap_or_else(|| panic!("an error without a name: {report:#}"));
                return Started::Refused(name.to_owned());
            }
            if let Ok(status) = control::call(data, &Order::Status) {
                return Started::Runs(status);
            }
        }
    }

    /// Ends it as a power cut would.
    fn kill(self) {
        drop(self);
    }
}

impl Drop for Start {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_idle_daemon_has_no_file_with_bytes_of_its_models() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let more = encryption(&workspace, "hotshoe.key") + "required = true\n";
    let device = workspace.device("a", &release, &more);
    // A part of the weights that is found nowhere else: it has many different bytes.
    let model = fs::read(environment().model("classify-angle")).unwrap();
    let is_known = |part: &&[u8]| part.iter().collect::<std::collections::BTreeSet<_>>().len() > 32;
    let second_half = &model[model.len() / 2..];
    let known = second_half.chunks_exact(64).find(is_known).unwrap();
    assert!(has(&release, known).is_some());
    let data = workspace.path("a-data");
    assert_eq!(has(&data, known), None);
    let page = fs::read(environment().picture("page.png")).unwrap();
    for _ in 0..2 {
        let daemon = device.run();
        let samples = [("1", page.clone()), ("2", page.clone())];
        assert!(daemon.feed(&samples).iter().all(|it| it.result.is_ok()));
        assert_eq!(open_file_with(daemon.id(), known), None);
        let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
        let cores = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let words: Vec<_> = cores.unwrap().split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "no core with keys");
        assert_eq!(has(&data, known), None);
        daemon.kill();
        assert_eq!(has(&data, known), None);
    }
}

#[test]
fn another_key_and_no_key_are_named_and_change_nothing() {
    let site = Site::new();
    let workspace = &site.workspace;
    let own = encryption(workspace, "own.key");
    let outbox = "[outbox]\ndurable = { insight = \"normal\" }\n";
    let packed = site.pack(&light(1, ""));
    let device = site.device("cam", &packed, &format!("{outbox}{own}"));
    let (config, data) = (config(&device), workspace.path("cam-data"));
    with_input(
        &["secret", "set", "broker", "--config", &config],
        "opensesame",
    );
    let daemon = device.run();
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    daemon.stop();
    let before = files(&data);
    let text = fs::read_to_string(&device.config).unwrap();
    let other = encryption(workspace, "other.key");
    for (encryption, name) in [
        (other.as_str(), "sealed_with_another_key"),
        ("", "sealed_without_key"),
    ] {
        fs::write(&device.config, text.replace(&own, encryption)).unwrap();
        let said = failure(["run", "--config", &config]);
        assert!(said.starts_with(name), "{said}");
        assert!(said.contains("[encryption]"), "{said}");
        let said = failure(["rollback", "--config", &config]);
        assert!(said.starts_with(name), "{said}");
        // It could be read with the right key all the time.
        let after = files(&data);
        let changed = before
            .iter()
            .filter(|(name, bytes)| after.get(*name) != Some(*bytes));
        let changed: Vec<_> = changed.map(|(name, _)| name).collect();
        assert!(changed.is_empty(), "{changed:?}");
    }
    fs::write(&device.config, text).unwrap();
    let daemon = device.run();
    assert_eq!(daemon.status().release.map(|it| it.generation), Some(1));
    let listed = success(["data", "list", "--config", &config, "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["sources"][0]["records"], 1, "{listed:#}");
}

#[test]
fn a_changed_bit_in_any_encrypted_file_is_noticed_and_in_any_other_one_is_survived() {
    let site = Site::new();
    let workspace = &site.workspace;
    let file = workspace.path("weights.bin");
    fs::write(&file, noise(5, 100_000)).unwrap();
    let packed = site.pack(&light(1, &data_file("weights", &file)));
    let more = encryption(workspace, "hotshoe.key")
        + "required = true\n[outbox]\ndurable = { insight = \"normal\" }\n";
    let device = site.device("cam", &packed, &more);
    let (config, data) = (config(&device), workspace.path("cam-data"));
    with_input(
        &["secret", "set", "broker", "--config", &config],
        "opensesame",
    );
    let daemon = device.run();
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    daemon.stop();
    let whole = files(&data);
    let sealed = |it: &&PathBuf| whole[*it].starts_with(SEALED);
    // Blobs, compiled code, the device's key, the key of records and the secrets.
    assert!(
        whole.keys().filter(sealed).count() > 6,
        "{:?}",
        whole.keys()
    );
    for (name, bytes) in &whole {
        if bytes.is_empty() {
            continue;
        }
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        fs::write(data.join(name), &changed).unwrap();
        let is_sealed = bytes.starts_with(SEALED);
        let of_secrets = name == Path::new("secrets.sealed");
        if of_secrets {
            let said = failure(["secret", "list", "--config", &config]);
            assert!(said.starts_with("sealed_file_damaged"), "{said}");
        }
        let mut start = Start::of(&device);
        let started = start.settled(&data);
        let log = start.log();
        assert!(!log.contains("panicked"), "{}: {log}", name.display());
        match &started {
            Started::Runs(status) => assert!(status.is_object(), "{status}"),
            Started::Refused(cause) => assert!(!cause.is_empty(), "{log}"),
        }
        if is_sealed && !of_secrets {
            let is_noticed = matches!(started, Started::Refused(_))
                || ["damaged", "not used", "cannot be read", "cannot be used"]
                    .iter()
                    .any(|text| log.contains(text));
            assert!(is_noticed, "{}: {started:?} {log}", name.display());
        }
        start.kill();
        restore(&data, &whole);
    }
    let daemon = device.run();
    assert_eq!(daemon.status().release.map(|it| it.generation), Some(1));
}

#[test]
fn kills_while_files_become_encrypted_lose_nothing() {
    const FILES: u64 = 6;
    let site = Site::new();
    let workspace = &site.workspace;
    let contents: Vec<Vec<u8>> = (0..FILES).map(|it| noise(100 + it, 3_000_000)).collect();
    let mut more = String::new();
    for (number, bytes) in contents.iter().enumerate() {
        let file = workspace.path(&format!("weights-{number}.bin"));
        fs::write(&file, bytes).unwrap();
        more += &data_file(&format!("weights-{number}"), &file);
    }
    let device = site.device("cam", &site.pack(&light(1, &more)), "");
    let daemon = device.run();
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    daemon.stop();
    let data = workspace.path("cam-data");
    assert!(has(&data, &contents[0][1_000_000..1_000_032]).is_some());

    let text = fs::read_to_string(&device.config).unwrap();
    fs::write(&device.config, text + &encryption(workspace, "hotshoe.key")).unwrap();
    // The blobs, not what is being written beside them.
    let blobs = || -> Vec<bool> {
        let folder = fs::read_dir(data.join("blobs/sha256")).unwrap();
        let paths = folder.map(|entry| entry.unwrap().path());
        let paths = paths.filter(|path| path.file_name().is_some_and(|name| name.len() == 64));
        paths
            .map(|path| {
                let mut first = [0; SEALED.len()];
                let read = File::open(path).and_then(|mut file| file.read_exact(&mut first));
                read.is_ok() && first == *SEALED
            })
            .collect()
    };
    let all = blobs().len();
    let sealed = || blobs().into_iter().filter(|is_sealed| *is_sealed).count();
    assert_eq!(sealed(), 0);
    for least in 1..=all {
        let start = Start::of(&device);
        until("one more blob is encrypted", || sealed() >= least);
        start.kill();
    }
    let daemon = device.run();
    assert_eq!(daemon.status().release.map(|it| it.generation), Some(1));
    assert!(daemon.feed(&[("2", b"abc".to_vec())])[0].result.is_ok());
    assert_eq!((sealed(), blobs().len()), (all, all));
    for bytes in &contents {
        assert_eq!(has(&data, &bytes[1_000_000..1_000_032]), None);
        assert_eq!(
            open_file_with(daemon.id(), &bytes[1_000_000..1_000_032]),
            None
        );
    }
}

/// The details of the operator's commands in the audit log.
fn commands(config: &str) -> Vec<(String, Value)> {
    let shown = success(["audit", "show", "--config", config, "--json"]);
    let records: Vec<Value> = serde_json::from_str(&shown).unwrap();
    let details = records.iter().filter(|record| record["kind"] == "command");
    details
        .map(|record| {
            let details = &record["details"];
            let command = details["command"].as_str().unwrap().to_owned();
            (command, details["action"].clone())
        })
        .collect()
}

#[test]
fn the_privacy_budget_survives_a_kill_a_restart_and_a_backup() {
    let site = Site::new();
    let workspace = &site.workspace;
    let more = encryption(workspace, "hotshoe.key")
        + "[outbox]\nenabled = true\n\
           [private-telemetry]\nwindow-s = 60\n[private-telemetry.figures.samples]\nkind = \"count\"\n";
    let device = site.device("cam", &site.pack(&light(1, "")), &more);
    let (config, data) = (config(&device), workspace.path("cam-data"));
    let spent = || -> Value {
        let text = fs::read(data.join("privacy-budget.json")).unwrap();
        let budget: Value = serde_json::from_slice(&text).unwrap();
        budget["state"]["spent_millionths"].clone()
    };
    let published = || -> bool {
        let listed = success(["data", "list", "--config", &config, "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let mut sources = listed["sources"].as_array().unwrap().iter();
        sources.any(|it| it["source"] == "figures" && it["records"] == 1)
    };
    let daemon = device.run();
    assert!(daemon.feed(&[("1", b"abc".to_vec())])[0].result.is_ok());
    // The figures of a window are a record.
    daemon.wait_until(|state| state["outbox"]["records"] == 1);
    assert!(published());
    daemon.kill();
    // 60 s of the 86,400 s of a day, of an epsilon of 1.
    assert_eq!(spent(), 694);
    let daemon = device.run();
    assert!(published());
    assert_eq!(spent(), 694);
    daemon.stop();

    let backup = workspace.path("backup").display().to_string();
    success(["backup", "create", "--out", &backup, "--config", &config]);
    let erase = ["reset", "--erase", "--keep-key", "--config", &config];
    success(erase);
    success(["backup", "restore", "--from", &backup, "--config", &config]);
    let of = |command: &str, action: &str| (command.to_owned(), Value::from(action));
    let expected = [of("backup", "create"), of("backup", "restore")];
    assert_eq!(commands(&config), expected);
    // It is not known what was spent since the backup, so all of it was: the greatest budget is 10.
    assert_eq!(spent(), 10_000_000);
    let daemon = device.run();
    assert!(published());
    daemon.kill();
    assert_eq!(spent(), 10_000_000);

    // The log of what happened can stay.
    success(erase.into_iter().chain(["--keep-audit"]));
    let mut left: Vec<_> = fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["audit", "lock", "privacy-budget.json"]);
    let last = commands(&config).pop().unwrap();
    assert_eq!(last, ("reset".to_owned(), Value::Null));
}
