//! What a stolen disk does not show: an encrypted data folder, secrets, backups, and what is erased.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::site::{Site, data_file, light, noise};
use super::support::{Device, Workspace, failure, hotshoe, success};

/// The id of a sample, which its insight has.
const ID: &str = "of-a-person-4711";
/// The value of a secret.
const SECRET: &str = "password-of-the-broker-42";

/// Whether any file below a folder has these bytes.
pub(crate) fn has(folder: &Path, part: &[u8]) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = if path.is_dir() {
            has(&path, part)
        } else {
            // A socket cannot be read.
            let bytes = fs::read(&path).unwrap_or_default();
            let mut windows = bytes.windows(part.len());
            windows.any(|window| window == part).then_some(path)
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// Runs `hotshoe` with a text on its standard input.
pub(crate) fn with_input(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// A device whose files are encrypted, with a release that has a file of noise in place of a model.
struct Encrypted {
    site: Site,
    device: Device,
    model: Vec<u8>,
    key: PathBuf,
}

impl Encrypted {
    fn new(more: &str) -> Self {
        let site = Site::new();
        let model = noise(11, 200_000);
        let file = site.workspace.path("weights.bin");
        fs::write(&file, &model).unwrap();
        let first = site.pack(&light(1, &data_file("weights", &file)));
        let key = site.workspace.path("hotshoe.key");
        success(["secret", "key", &key.display().to_string()]);
        let more = format!(
            "[encryption]\nkey-file = \"{}\"\nrequired = true\n[outbox]\ndurable = {{ insight = \"normal\" }}\n{more}",
            key.display()
        );
        let device = site.device("cam", &first, &more);
        Self {
            site,
            device,
            model,
            key,
        }
    }

    fn config(&self) -> String {
        self.device.config.display().to_string()
    }

    fn data(&self) -> PathBuf {
        self.site.workspace.path("cam-data")
    }

    fn path(&self, name: &str) -> String {
        self.site.workspace.path(name).display().to_string()
    }

    /// Fails if a file of the device shows anything.
    fn shows_nothing(&self) {
        for part in [
            &self.model[100_000..100_032],
            ID.as_bytes(),
            SECRET.as_bytes(),
            b"PRIVATE KEY",
        ] {
            let shown = String::from_utf8_lossy(part);
            assert_eq!(has(&self.data(), part), None, "{shown}");
        }
    }
}

#[test]
fn the_files_of_an_encrypted_device_show_no_model_no_record_no_secret_and_no_key() {
    let device = Encrypted::new("");
    let config = device.config();
    with_input(
        &["secret", "set", "broker", "--config", &config],
        &format!("{SECRET}\n"),
    );
    device.shows_nothing();
    let daemon = device.device.run();
    for reply in daemon.feed(&[(ID, b"abc".to_vec())]) {
        assert!(reply.result.is_ok());
    }
    // It is idle: what it has open shows nothing either.
    device.shows_nothing();
    assert!(!daemon.log().contains(SECRET));
    daemon.stop();
    device.shows_nothing();

    // All of it is there after a restart.
    let daemon = device.device.run();
    assert_eq!(daemon.status().release.map(|it| it.generation), Some(1));
    let listed = success(["data", "list", "--config", &config, "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["sources"][0]["records"], 1, "{listed:#}");
    let listed = success(["secret", "list", "--config", &config, "--json"]);
    assert!(!listed.contains(SECRET), "{listed}");
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["secrets"][0]["name"], "broker", "{listed:#}");
    assert_eq!(listed["secrets"][0]["from"], "stored");
    daemon.stop();
    let removed = ["secret", "remove", "broker", "--config", &config];
    success(removed);
    assert!(failure(removed).starts_with("unknown_secret"));
}

#[test]
fn a_daemon_without_the_key_of_its_files_does_not_start_and_makes_no_other_one() {
    let device = Encrypted::new("");
    let config = device.config();
    let aside = device.site.workspace.path("aside.key");
    fs::rename(&device.key, &aside).unwrap();
    let said = failure(["run", "--config", &config]);
    assert!(said.starts_with("sealing_key_missing"), "{said}");
    assert!(said.contains("restore it from its copy"), "{said}");
    assert!(!device.key.exists());
    let said = failure(["secret", "list", "--config", &config]);
    assert!(said.starts_with("sealing_key_missing"), "{said}");
    let finding = || -> Value {
        let output = hotshoe(["doctor", "--json", "--config", &config]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut findings = report["findings"].as_array().unwrap().iter();
        let found = findings.find(|it| it["what"] == "encryption");
        found.unwrap()["state"].clone()
    };
    assert_eq!(finding(), "fail");
    fs::rename(&aside, &device.key).unwrap();
    // It is on the disk that it protects.
    assert_eq!(finding(), "warn");
    let daemon = device.device.run();
    assert_eq!(daemon.status().release.map(|it| it.generation), Some(1));
}

#[test]
fn a_bundle_for_support_has_no_secret_and_no_text_that_may_be_one() {
    let device = Encrypted::new("[record]\nallow = [\"sample\"]\n");
    let config = device.config();
    // A secret that an operator used as a label, by mistake.
    let text = fs::read_to_string(&device.device.config).unwrap();
    let text = text.replace(
        "[zenoh]\n",
        &format!("[labels]\nowner = \"{SECRET}\"\n[zenoh]\n"),
    );
    fs::write(&device.device.config, text).unwrap();
    with_input(&["secret", "set", "broker", "--config", &config], SECRET);
    let daemon = device.device.run();
    for reply in daemon.feed(&[(ID, b"abc".to_vec())]) {
        assert!(reply.result.is_ok());
    }
    let out = device.path("support.json");
    success(["support", "--config", &config, "--out", &out]);
    let text = fs::read_to_string(&out).unwrap();
    for hidden in [SECRET, "PRIVATE KEY"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bundle["config"]["site"], "lab");
    assert_eq!(bundle["config"]["labels"]["owner"], "[redacted]");
    assert_eq!(bundle["status"]["labels"]["owner"], "[redacted]");
    assert_eq!(bundle["missing"], Value::Array(Vec::new()), "{text}");
    let files = bundle["files"].as_array().unwrap();
    let blobs = |file: &&Value| file["path"].as_str().unwrap().starts_with("blobs/");
    assert!(files.iter().filter(blobs).count() > 3);
    assert!(files.iter().filter(blobs).all(|it| it["encrypted"] == true));
    // It is not written over.
    failure(["support", "--config", &config, "--out", &out]);
    drop(daemon);
}

#[test]
fn a_backup_is_encrypted_and_restores_what_a_reset_erased() {
    let device = Encrypted::new("");
    let config = device.config();
    let daemon = device.device.run();
    for reply in daemon.feed(&[(ID, b"abc".to_vec())]) {
        assert!(reply.result.is_ok());
    }
    let backup = device.path("backup");
    let create = ["backup", "create", "--out", &backup, "--config", &config];
    assert!(failure(create).starts_with("in_use"));
    assert!(failure(["reset", "--erase", "--config", &config]).starts_with("in_use"));
    daemon.stop();
    success(create);
    for part in [ID.as_bytes(), &device.model[100_000..100_032]] {
        assert_eq!(has(Path::new(&backup), part), None);
    }
    let restore = ["backup", "restore", "--from", &backup, "--config", &config];
    let said = failure(restore);
    assert!(said.contains("is not empty"), "{said}");

    let erase = [
        "reset",
        "--erase",
        "--keep-key",
        "--config",
        &config,
        "--json",
    ];
    let erased: Value = serde_json::from_str(&success(erase)).unwrap();
    assert_eq!(erased["key"], "kept", "{erased:#}");
    assert!(erased["files"].as_u64().unwrap() > 5);
    let left: Vec<_> = fs::read_dir(device.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"]);

    // A changed byte of the backup is found before anything is written.
    let ledger = Path::new(&backup).join("ledger.json");
    let whole = fs::read(&ledger).unwrap();
    fs::write(&ledger, [&whole[..], b" "].concat()).unwrap();
    let said = failure(restore);
    assert!(said.contains("damaged"), "{said}");
    fs::write(&ledger, whole).unwrap();
    success(restore);
    let daemon = device.device.run();
    assert_eq!(daemon.status().release.map(|it| it.generation), Some(1));
    let listed = success(["data", "list", "--config", &config, "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["sources"][0]["records"], 1, "{listed:#}");
    daemon.stop();

    let erase = ["reset", "--erase", "--config", &config, "--json"];
    let erased: Value = serde_json::from_str(&success(erase)).unwrap();
    assert_eq!(erased["key"], "erased", "{erased:#}");
    assert!(!device.key.exists());
}

#[test]
fn a_device_that_is_removed_from_a_site_has_no_key_there() {
    let workspace = Workspace::new();
    let site = workspace.path("site");
    let out = site.display().to_string();
    success([
        "site",
        "init",
        "--site",
        "lab",
        "--out",
        &out,
        "--server",
        "127.0.0.1:7447",
        "--device",
        "line-3",
        "--device",
        "line-4",
        "--no-passphrase",
    ]);
    let rules = || fs::read_to_string(site.join("registry/acl.json")).unwrap();
    assert!(rules().contains("line-4"));
    let remove = |device: &str| {
        let remove = ["site", "remove", "--site-dir", &out, "--device", device];
        remove.map(str::to_owned)
    };
    success(remove("line-4"));
    assert!(!rules().contains("line-4") && rules().contains("line-3"));
    assert!(!site.join("devices/line-4.pub").exists());
    assert!(!site.join("bundles/line-4").exists());
    assert!(site.join("bundles/line-3").exists());
    let said = failure(remove("line-4"));
    assert!(said.contains("not on the list"), "{said}");
}
