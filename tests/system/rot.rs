//! Registries that cannot store a release, lose what they stored, or share a name: they say so, and so does `publish`.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use hotshoe_tests::until;
use serde_json::Value;

use super::site::{Packed, Site, data_file, light, noise};
use super::support::{Daemon, free_endpoint, hotshoe, json_lines, success};

/// A registry in a process, which is killed when it is dropped.
struct Running {
    child: Child,
    data: PathBuf,
    log: PathBuf,
}

impl Running {
    /// A registry `name` with its data in the folder `data`, as a router.
    fn start(site: &Site, name: &str, data: &str, listen: &str, more: &[&str]) -> Self {
        let log = site.workspace.path(&format!("{data}.log"));
        let data = site.workspace.path(data);
        let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
            .args(["registry", "--site", "lab", "--router"])
            .args(["--name", name, "--listen", listen])
            .arg("--data")
            .arg(&data)
            .args(["--trust", &site.workspace.trust_file()])
            .args(more)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, data, log }
    }

    fn has_logged(&self, text: &str) -> bool {
        fs::read_to_string(&self.log)
            .unwrap_or_default()
            .contains(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A site without a publisher of its own, with one device that connects to a registry.
fn device(listen: &str) -> (Site, Daemon) {
    let mut site = Site::new();
    site.close();
    let device = another(&site, "cam", listen);
    (site, device)
}

/// A device with the first release.
fn another(site: &Site, name: &str, listen: &str) -> Daemon {
    let first = site.pack(&light(1, ""));
    site.device_at(name, &first, listen, "").run()
}

fn large(site: &Site, generation: u64) -> Packed {
    let path = site.workspace.path("filler");
    fs::write(&path, noise(generation, 2 << 20)).unwrap();
    site.pack(&light(generation, &data_file("filler", &path)))
}

/// Publishes for one device, which stages the release. The exit code and the summary.
fn publish(packed: &Packed, listen: &str) -> (Option<i32>, Value) {
    let folder = packed.folder.display().to_string();
    let output = hotshoe([
        "publish",
        &folder,
        "--site",
        "lab",
        "--connect",
        listen,
        "--expect",
        "1",
        "--stage-only",
        "--timeout",
        "100",
        "--json",
    ]);
    let lines = json_lines(&String::from_utf8(output.stdout).unwrap());
    let last = lines.last().expect("a summary");
    (output.status.code(), last["summary"].clone())
}

#[test]
fn publish_fails_if_the_registry_may_not_store_the_release() {
    let listen = free_endpoint();
    let (site, device) = device(&listen);
    let registry = Running::start(&site, "shelf", "small", &listen, &["--quota-mib", "1"]);
    let (code, summary) = publish(&large(&site, 2), &listen);
    assert_eq!(code, Some(1), "{summary:#}");
    assert_eq!(summary["ok"], false);
    // The device got it from the publisher.
    assert_eq!(summary["devices"][0]["outcome"], "staged", "{summary:#}");
    let said = &summary["registries"][0];
    assert_eq!(said["registry"], "shelf", "{summary:#}");
    assert_eq!(said["state"], "refused", "{summary:#}");
    assert_eq!(said["cause"]["name"], "above_quota", "{summary:#}");
    assert!(registry.has_logged("above_quota"));
    let status = success(["status", "--site", "lab", "--connect", &listen]);
    assert!(
        status.contains("registry shelf: 0 releases stored") && status.contains("above_quota"),
        "{status}"
    );
    let third = site.pack(&light(3, ""));
    let (code, summary) = publish(&third, &listen);
    assert_eq!(code, Some(0), "{summary:#}");
    assert_eq!(summary["registries"][0]["state"], "stored", "{summary:#}");
    drop(device);
}

#[test]
fn a_registry_whose_data_is_removed_names_the_path_and_publish_fails() {
    let listen = free_endpoint();
    let (site, device) = device(&listen);
    let registry = Running::start(&site, "shelf", "gone", &listen, &[]);
    let (code, summary) = publish(&site.pack(&light(2, "")), &listen);
    assert_eq!(code, Some(0), "{summary:#}");
    fs::remove_dir_all(registry.data.join("blobs")).unwrap();
    let (code, summary) = publish(&site.pack(&light(3, "")), &listen);
    assert_eq!(code, Some(1), "{summary:#}");
    let said = &summary["registries"][0];
    assert_eq!(said["state"], "retrying", "{summary:#}");
    assert_eq!(said["cause"]["name"], "io", "{summary:#}");
    let message = said["cause"]["message"].as_str().unwrap();
    let path = registry.data.join("blobs").display().to_string();
    assert!(message.contains(&path), "{message}");
    until("the log names it too", || registry.has_logged(&path));
    drop(device);
}

#[test]
fn a_late_device_says_why_it_waits_for_a_rotten_release_until_it_is_published_again() {
    let listen = free_endpoint();
    let (site, device) = device(&listen);
    let registry = Running::start(&site, "shelf", "rotten", &listen, &[]);
    let second = large(&site, 2);
    let (code, summary) = publish(&second, &listen);
    assert_eq!(code, Some(0), "{summary:#}");
    drop(device);
    let files = fs::read_dir(registry.data.join("blobs/sha256")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let filler = files.max_by_key(|path| path.metadata().unwrap().len());
    let filler = filler.unwrap();
    let sound = fs::read(&filler).unwrap();
    let mut bytes = sound.clone();
    bytes[1 << 20] ^= 1;
    fs::write(&filler, bytes).unwrap();

    let late = another(&site, "late", &listen);
    let state = late.wait_until(|state| !state["deploy"]["cause"].is_null());
    assert_eq!(state["deploy"]["phase"], "verified", "{state:#}");
    assert_eq!(state["deploy"]["cause"]["name"], "not_sent", "{state:#}");
    until("the registry says so", || {
        registry.has_logged("a stored blob is damaged")
    });
    let (code, summary) = publish(&second, &listen);
    assert_eq!(code, Some(0), "{summary:#}");
    assert_eq!(summary["devices"][0]["outcome"], "staged", "{summary:#}");
    assert_eq!(summary["registries"][0]["state"], "stored", "{summary:#}");
    assert_eq!(fs::read(&filler).unwrap(), sound);
}

#[test]
fn two_registries_of_one_name_notice_each_other() {
    let (east, west) = (free_endpoint(), free_endpoint());
    let mut site = Site::new();
    site.close();
    let one = Running::start(&site, "twin", "east", &east, &[]);
    let two = Running::start(&site, "twin", "west", &west, &["--connect", &east]);
    for registry in [&one, &two] {
        until("it says so", || {
            registry.has_logged("another registry of this site has the same name")
        });
    }
}
