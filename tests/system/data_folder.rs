//! What `reset` and `backup` take for a device's data folder, and what they leave.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::encryption::with_input;
use super::site::{Site, light};
use super::support::{Device, Workspace, failure, success};

/// A device, perhaps with a key, that has never run.
struct Installed {
    site: Site,
    device: Device,
}

impl Installed {
    fn new(more: &str) -> Self {
        let site = Site::new();
        let device = site.device("cam", &site.pack(&light(1, "")), more);
        Self { site, device }
    }

    fn encrypted() -> Self {
        let site = Site::new();
        let key = site.workspace.path("hotshoe.key").display().to_string();
        success(["secret", "key", &key]);
        let more = format!("[encryption]\nkey-file = \"{key}\"\n");
        let device = site.device("cam", &site.pack(&light(1, "")), &more);
        Self { site, device }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.workspace.path(name)
    }

    fn data(&self, name: &str) -> PathBuf {
        self.path("cam-data").join(name)
    }

    fn config(&self) -> String {
        self.device.config.display().to_string()
    }

    fn erase(&self, more: &[&str]) -> Value {
        let config = self.config();
        let erase = ["reset", "--erase", "--config", &config, "--json"];
        serde_json::from_str(&success(erase.iter().chain(more))).unwrap()
    }

    fn create(&self, name: &str) -> [String; 6] {
        let out = self.path(name).display().to_string();
        [
            "backup",
            "create",
            "--out",
            &out,
            "--config",
            &self.config(),
        ]
        .map(str::to_owned)
    }

    fn restore(&self, name: &str) -> [String; 6] {
        let from = self.path(name).display().to_string();
        [
            "backup",
            "restore",
            "--from",
            &from,
            "--config",
            &self.config(),
        ]
        .map(str::to_owned)
    }

    /// The privacy loss of the day that counts as spent.
    fn spent(&self) -> Value {
        let text = fs::read(self.data("privacy-budget.json")).unwrap();
        let budget: Value = serde_json::from_slice(&text).unwrap();
        budget["state"]["spent_millionths"].clone()
    }
}

#[test]
fn a_reset_removes_links_and_not_what_they_lead_to() {
    let device = Installed::new("");
    let other = device.path("photos");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("one"), b"1").unwrap();
    symlink(&other, device.data("album")).unwrap();
    fs::create_dir(device.data("more")).unwrap();
    symlink(&other, device.data("more/album")).unwrap();
    // Neither is it in a backup, which would not be whole.
    let said = failure(device.create("backup"));
    assert!(said.contains("album is a link to a folder"), "{said}");
    // Blobs may be on another disk.
    let disk = device.path("disk");
    fs::rename(device.data("blobs"), &disk).unwrap();
    symlink(&disk, device.data("blobs")).unwrap();
    let erased = device.erase(&[]);
    assert_eq!(erased["links"].as_array().unwrap().len(), 2, "{erased:#}");
    assert_eq!(fs::read(other.join("one")).unwrap(), b"1");
    assert_eq!(fs::read_dir(&disk).unwrap().count(), 0);
    let left: Vec<_> = fs::read_dir(device.path("cam-data"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["lock"]);
}

#[test]
fn a_backup_has_the_blobs_of_another_disk() {
    let device = Installed::new("");
    let disk = device.path("disk");
    fs::rename(device.data("blobs"), &disk).unwrap();
    symlink(&disk, device.data("blobs")).unwrap();
    success(device.create("backup"));
    let blobs = |folder: PathBuf| fs::read_dir(folder.join("sha256")).unwrap().count();
    let copied = blobs(device.path("backup").join("blobs"));
    assert!(copied > 0);
    assert_eq!(copied, blobs(disk));
}

#[test]
fn a_folder_that_no_device_used_is_not_erased_and_the_key_stays() {
    let workspace = Workspace::new();
    let (data, key) = (workspace.path("srv"), workspace.path("hotshoe.key"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("book"), b"1").unwrap();
    success(["secret", "key", &key.display().to_string()]);
    let file = workspace.path("hotshoe.toml");
    let config = |data: &str| {
        let text = format!(
            "site = \"lab\"\ndevice = \"cam\"\ndata = \"{data}\"\n[encryption]\nkey-file = \"hotshoe.key\"\n"
        );
        fs::write(&file, text).unwrap();
    };
    let text = file.display().to_string();
    let erase = ["reset", "--erase", "--config", &text];
    for name in ["srv", "missing"] {
        config(name);
        let said = failure(erase);
        assert!(said.starts_with("not_a_data_folder"), "{said}");
    }
    assert!(data.join("book").exists() && key.exists());
    assert!(!data.join("lock").exists() && !workspace.path("missing").exists());
    // A data folder that has the configuration too.
    config(".");
    fs::write(workspace.path("ledger.json"), b"{}").unwrap();
    let said = failure(erase);
    assert!(said.starts_with("data_folder_not_alone"), "{said}");
    assert!(file.exists() && key.exists());
}

#[test]
fn a_reset_can_be_repeated_and_says_whether_the_key_was_there() {
    let device = Installed::encrypted();
    let key = device.path("hotshoe.key");
    let aside = device.path("aside.key");
    fs::rename(&key, &aside).unwrap();
    assert_eq!(device.erase(&[])["key"], "missing");
    fs::rename(&aside, &key).unwrap();
    assert_eq!(device.erase(&[])["key"], "erased");
    assert!(!key.exists());
}

#[test]
fn a_reset_erases_the_file_of_a_key_that_a_tpm_sealed() {
    let device = Installed::new("");
    let key = device.path("hotshoe.tpm");
    fs::write(&key, b"sealed").unwrap();
    let text = fs::read_to_string(&device.device.config).unwrap();
    let more = format!("\n[encryption]\ntpm-file = \"{}\"\n", key.display());
    fs::write(&device.device.config, text + &more).unwrap();
    assert_eq!(device.erase(&["--keep-key"])["key"], "kept");
    assert!(key.exists());
    assert_eq!(device.erase(&[])["key"], "erased");
    assert!(!key.exists());
}

#[test]
fn a_backup_is_restored_beside_a_kept_audit_log_and_with_its_key_alone() {
    let device = Installed::encrypted();
    let config = device.config();
    with_input(&["secret", "set", "broker", "--config", &config], "word");
    let said = failure(device.create("cam-data/backup"));
    assert!(said.contains("is in the data folder"), "{said}");
    assert!(!device.data("backup").exists());
    success(device.create("backup"));
    let said = failure(device.restore("backup"));
    assert!(said.contains("reset --erase --keep-key"), "{said}");
    device.erase(&["--keep-key", "--keep-audit"]);

    // Another key does not fit, and nothing is written.
    let (key, aside) = (device.path("hotshoe.key"), device.path("aside.key"));
    fs::rename(&key, &aside).unwrap();
    success(["secret", "key", &key.display().to_string()]);
    let said = failure(device.restore("backup"));
    assert!(said.starts_with("sealed_with_another_key"), "{said}");
    assert!(!device.data("ledger.json").exists());
    fs::rename(&aside, &key).unwrap();

    success(device.restore("backup"));
    assert!(!device.data("restore.part").exists());
    let listed = success(["secret", "list", "--config", &config]);
    assert!(listed.contains("broker"), "{listed}");
    // The log goes on: it has the reset, and then the restore.
    let shown = success(["audit", "show", "--config", &config, "--json"]);
    let records: Vec<Value> = serde_json::from_str(&shown).unwrap();
    let commands: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "command")
        .map(|record| record["details"]["command"].as_str().unwrap())
        .collect();
    assert_eq!(commands, ["secret", "backup", "reset", "backup"]);
}

#[test]
fn neither_a_reset_nor_a_restore_gives_a_budget_of_privacy_back() {
    // Private telemetry may be set up later.
    let device = Installed::new("");
    success(device.create("backup"));
    device.erase(&[]);
    success(device.restore("backup"));
    // The greatest budget of a day is 10.
    assert_eq!(device.spent(), 10_000_000);
    device.erase(&[]);
    assert_eq!(device.spent(), 10_000_000);
    // A restore that ended after the budget was spent.
    fs::write(device.data("restore.part"), b"").unwrap();
    success(device.restore("backup"));
    assert!(device.data("ledger.json").exists());
}

#[test]
fn a_command_leaves_no_file_in_the_folder_of_another_user() {
    let device = Installed::encrypted();
    let folder = device.path("cam-data");
    // Only root can give a folder away.
    let own = fs::metadata(&folder).unwrap().uid();
    if own != 0 || chown(&folder, Some(54_321), None).is_err() {
        return;
    }
    let config = device.config();
    let release = device.path("missing").display().to_string();
    for command in [
        vec!["secret", "remove", "broker", "--config", &config],
        vec!["backup", "create", "--out", &release, "--config", &config],
        vec!["reset", "--erase", "--config", &config],
        vec!["install", &release, "--config", &config],
        vec!["rollback", "--config", &config],
    ] {
        let said = failure(&command);
        assert!(said.starts_with("other_owner"), "{command:?}: {said}");
        assert!(said.contains("sudo -u '#54321'"), "{said}");
    }
    assert!(!device.data("secrets.lock").exists());
    chown(&folder, Some(own), None).unwrap();
    success(["reset", "--erase", "--config", &config]);
}

/// A site with the devices `line-3` and `line-4`.
fn site(workspace: &Workspace) -> PathBuf {
    let site = workspace.path("site");
    let out = site.display().to_string();
    let devices = [
        "--device",
        "line-3",
        "--device",
        "line-4",
        "--no-passphrase",
    ];
    let init = ["site", "init", "--site", "lab", "--out", &out];
    success(init.iter().chain(&devices));
    site
}

fn on_device(command: &str, site: &Path, device: &str) -> [String; 6] {
    let site = site.display().to_string();
    ["site", command, "--site-dir", &site, "--device", device].map(str::to_owned)
}

#[test]
fn a_removal_that_was_interrupted_can_be_finished() {
    let workspace = Workspace::new();
    let site = site(&workspace);
    let rules = || fs::read_to_string(site.join("registry/acl.json")).unwrap();
    let before = rules();
    // Only a bundle and a rule are left, and then only a rule.
    fs::remove_file(site.join("devices/line-4.pub")).unwrap();
    success(on_device("remove", &site, "line-4"));
    assert!(!site.join("bundles/line-4").exists() && !rules().contains("line-4"));
    fs::write(site.join("registry/acl.json"), before).unwrap();
    success(on_device("remove", &site, "line-4"));
    assert!(!rules().contains("line-4") && rules().contains("line-3"));
    let said = failure(on_device("remove", &site, "line-4"));
    assert!(said.contains("not on the list"), "{said}");
}

#[test]
fn a_removed_name_is_not_given_to_another_device() {
    let workspace = Workspace::new();
    let site = site(&workspace);
    success(on_device("remove", &site, "line-4"));
    let again = on_device("add", &site, "line-4");
    for add in [
        again.to_vec(),
        [&again[..], &["--force".to_owned()]].concat(),
    ] {
        let said = failure(add);
        assert!(said.contains("choose another name"), "{said}");
    }
    assert!(!site.join("bundles/line-4").exists());
    success(on_device("add", &site, "line-5"));
}
