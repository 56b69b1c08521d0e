//! A site as `hotshoe site` sets it up: certificates, access rules, and devices that sign what they say.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use hotshoe_config::{TlsConfig, ZenohConfig, ZenohMode};
use hotshoe_egress::Classifier;
use hotshoe_link::Link;
use serde_json::{Value, json};

use crate::site::recipe;
use crate::support::{DEADLINE, Workspace, failure, hotshoe, json_lines, success};

/// A `hotshoe` that goes on, killed when it is dropped.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str], log: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log).expect("a log"))
            .spawn()
            .expect("hotshoe starts");
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A site on a port of loopback, with the devices `line-3` and `line-4`.
struct SecureSite {
    workspace: Workspace,
    port: u16,
}

impl SecureSite {
    fn new() -> Self {
        let workspace = Workspace::new();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let out = workspace.path("site").display().to_string();
        let server = format!("127.0.0.1:{port}");
        let arguments = [
            "site", "init", "--site", "lab", "--out", &out, "--server", &server,
        ];
        let devices = [
            "--device",
            "line-3",
            "--device",
            "line-4",
            "--no-passphrase",
        ];
        success(arguments.iter().chain(&devices));
        Self { workspace, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.workspace.path("site").join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn endpoint(&self) -> String {
        format!("tls/127.0.0.1:{}", self.port)
    }

    fn registry(&self) -> Running {
        let config = self.text("registry/registry.toml");
        Running::start(
            &["registry", "--config", &config],
            &self.workspace.path("registry.log"),
        )
    }

    fn device(&self, name: &str) -> Running {
        let config = self.text(&format!("bundles/{name}/hotshoe.toml"));
        Running::start(
            &["run", "--config", &config],
            &self.workspace.path(&format!("{name}.log")),
        )
    }

    /// The settings of somebody who has this device's certificate.
    fn with_certificate_of(&self, device: &str) -> ZenohConfig {
        let file = |name: String| Some(self.path(&format!("bundles/{device}/{name}")));
        ZenohConfig {
            mode: ZenohMode::Client,
            connect: vec![self.endpoint()],
            tls: Some(TlsConfig {
                ca: file("ca.pem".to_owned()),
                certificate: file(format!("{device}.pem")),
                key: file(format!("{device}.key")),
                ..TlsConfig::default()
            }),
            ..ZenohConfig::default()
        }
    }

    /// The status of the site, once these devices have answered.
    fn status(&self, more: &[&str], answered: usize) -> (Option<i32>, Vec<Value>) {
        let folder = self.text("");
        let started = Instant::now();
        loop {
            let mut arguments = vec!["status", "--json", "--timeout", "10"];
            if more.is_empty() {
                arguments.extend(["--site-dir", &folder]);
            }
            arguments.extend(more);
            let output = hotshoe(&arguments);
            let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let all = all.as_array().cloned().unwrap_or_default();
            if all.iter().filter(|it| it["answered"] == true).count() >= answered {
                return (output.status.code(), all);
            }
            assert!(started.elapsed() < DEADLINE, "{all:?}");
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_site_is_set_up_published_to_and_watched_by_certificates_and_signatures() {
    let site = SecureSite::new();
    let _registry = site.registry();
    let _devices = ["line-3", "line-4"].map(|name| site.device(name));
    site.status(&[], 2);

    // A release that needs no samples, signed by the site's own key.
    let gate = "min-samples = 0\nmin-seconds = 0\n";
    let release = site.workspace.pack(&recipe(1, gate, &[], ""));
    let release = release.display().to_string();
    success(["sign", &release, "--key", &site.text("signing.key")]);
    let folder = site.text("");
    let arguments = [
        "publish",
        &release,
        "--site-dir",
        &folder,
        "--expect",
        "2",
        "--timeout",
        "100",
    ];
    let output = hotshoe(arguments.iter().chain(&["--json"]));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let summary = json_lines(&text).pop().expect("a summary")["summary"].clone();
    for device in summary["devices"].as_array().expect("devices") {
        assert_eq!(device["outcome"], "confirmed", "{text}");
        assert_eq!(device["claimed"], false, "{text}");
    }
    let (code, all) = site.status(&[], 2);
    assert_eq!(code, Some(0), "{all:?}");
    for status in &all {
        assert_eq!(status["claimed"], false, "{status:#}");
        assert_eq!(status["slots"]["live"]["generation"], 1, "{status:#}");
        let device = status["device"].as_str().expect("a name");
        let public =
            fs::read_to_string(site.path(&format!("devices/{device}.pub"))).expect("a key");
        assert_eq!(status["key"]["public_key"], public.as_str());
    }

    // Without the site's folder, the same answers are claims; without a certificate, there are none.
    let (endpoint, ca) = (site.endpoint(), site.text("ca.pem"));
    let reach = ["--site", "lab", "--connect", &endpoint, "--ca", &ca];
    let (pem, key) = (site.text("deployer.pem"), site.text("deployer.key"));
    let certificate = ["--certificate", &pem, "--certificate-key", &key];
    let flags: Vec<&str> = reach.iter().chain(&certificate).copied().collect();
    let (code, all) = site.status(&flags, 2);
    assert_eq!(
        (code, &all[0]["claimed"]),
        (Some(0), &json!(true)),
        "{all:?}"
    );
    let stranger = failure(["status"].iter().chain(&reach));
    assert!(stranger.contains("cannot reach"), "{stranger}");
    let plain = format!("tcp/127.0.0.1:{}", site.port);
    let stranger = failure(["status", "--site", "lab", "--connect", &plain]);
    assert!(stranger.contains("cannot reach"), "{stranger}");

    // Whoever has line-3's certificate answers as line-4, and is not heard.
    let liar = Link::open(&site.with_certificate_of("line-3"), "lab", "line-4").expect("a session");
    let mut forged = all[1].clone();
    forged["version"] = json!("forged");
    let _serving = liar
        .serve(&[], |_, _| {}, move || Classifier::host(&forged))
        .expect("keys");
    let (code, all) = site.status(&[], 2);
    assert_eq!(code, Some(0), "{all:?}");
    assert_eq!(all.len(), 2, "{all:?}");
    for status in &all {
        assert!(
            status.get("answers").is_none() && status["version"] != "forged",
            "{status:#}"
        );
    }
    // An order goes the same way: its answer is signed.
    let arguments = ["rollback", "--site-dir", &folder, "--device", "line-4"];
    let refused = failure(arguments);
    assert!(refused.starts_with("nothing_previous: "), "{refused}");
}

#[test]
fn a_site_s_folder_is_its_owner_s_and_is_not_replaced() {
    let site = SecureSite::new();
    for secret in [
        "ca.key",
        "deployer.key",
        "signing.key",
        "registry/registry.key",
        "bundles/line-4/line-4.key",
        "bundles/line-4/data/device.key",
    ] {
        assert_eq!(mode(&site.path(secret)), 0o600, "{secret}");
    }
    let folder = site.text("");
    let before = fs::read(site.path("ca.pem")).expect("a certificate");
    let refused = failure([
        "site",
        "init",
        "--site",
        "lab",
        "--out",
        &folder,
        "--no-passphrase",
    ]);
    assert!(refused.contains("already exists"), "{refused}");
    assert_eq!(
        fs::read(site.path("ca.pem")).expect("a certificate"),
        before
    );
    let config = fs::read_to_string(site.path("bundles/line-4/hotshoe.toml")).expect("a file");
    assert!(config.contains("statements = \"signed\""), "{config}");

    // A device that made its key itself.
    site.workspace.key("own");
    let own = site.workspace.path("own.pub").display().to_string();
    let add = |device: &str, more: &[&str]| {
        let mut arguments = vec!["site", "add", "--site-dir", &folder, "--device", device];
        arguments.extend(more);
        hotshoe(&arguments)
    };
    assert!(add("line-5", &["--key", &own]).status.success());
    let listed = fs::read(site.path("devices/line-5.pub")).expect("a key");
    assert_eq!(listed, fs::read(own).expect("a key"));
    assert!(!site.path("bundles/line-5/data").exists());
    let rules = fs::read_to_string(site.path("registry/acl.json")).expect("rules");
    for device in ["line-3", "line-4", "line-5"] {
        assert!(rules.contains(device), "{rules}");
    }
    let refused =
        |device: &str| failure(["site", "add", "--site-dir", &folder, "--device", device]);
    let said = refused("line-5");
    assert!(said.contains("already on the list"), "{said}");
    assert!(add("line-5", &["--force"]).status.success());
    assert_ne!(
        fs::read(site.path("devices/line-5.pub")).expect("a key"),
        listed
    );
    // A name that has other rights, or leads elsewhere.
    for (wrong, why) in [
        ("registry", "cannot be called"),
        ("deployer", "cannot be called"),
        ("..", "not only dots"),
        (".", "not only dots"),
        ("a/b", "device"),
        ("", "device"),
        ("*", "device"),
    ] {
        let said = refused(wrong);
        assert!(said.contains(why), "{wrong}: {said}");
    }
    let both = ["zenoh-acl", "--site", "lab", "--device", "registry"];
    assert!(!hotshoe(both).status.success());
}

#[test]
fn beyond_this_machine_nothing_opens_without_certificates_unless_it_is_said() {
    let workspace = Workspace::new();
    let release = workspace
        .release(&recipe(1, "", &[], ""))
        .display()
        .to_string();
    let (data, trust) = (
        workspace.path("registry").display().to_string(),
        workspace.trust_file(),
    );
    let registry = [
        "registry", "--site", "lab", "--data", &data, "--trust", &trust,
    ];
    let open = ["--listen", "tcp/0.0.0.0:0"];
    let mut refused = vec![failure(registry.iter().chain(&open))];
    refused.push(failure([
        "publish",
        &release,
        "--site",
        "lab",
        "--listen",
        "tcp/0.0.0.0:0",
    ]));
    refused.push(failure([
        "status",
        "--site",
        "lab",
        "--connect",
        "tcp/192.0.2.1:7447",
    ]));
    let config = |zenoh: &str| {
        let path = workspace.path("hotshoe.toml");
        let text = format!("site = \"lab\"\ndevice = \"a\"\n[zenoh]\n{zenoh}\n");
        fs::write(&path, text).expect("a configuration");
        path.display().to_string()
    };
    for zenoh in [
        "listen = [\"tcp/127.0.0.1:0\", \"tcp/[::]:0\"]",
        "listen = [\"tls/0.0.0.0:0\"]",
        "connect = [\"tcp/192.0.2.1:7447\"]",
        "scouting = true",
    ] {
        let path = config(zenoh);
        refused.push(failure(["run", "--config", &path]));
        let report = hotshoe(["doctor", "--json", "--config", &path]);
        assert_eq!(finding(&report.stdout), "fail", "{zenoh}");
    }
    for error in refused {
        assert!(error.starts_with("insecure_endpoint: "), "{error}");
        assert!(
            error.contains("hotshoe site init") && error.contains("insecure = true"),
            "{error}"
        );
    }
    let path = config("listen = [\"tcp/0.0.0.0:0\"]\ninsecure = true");
    let report = hotshoe(["doctor", "--json", "--config", &path]);
    assert_eq!(finding(&report.stdout), "warn");
    // Said so, it opens.
    let log = workspace.path("registry.log");
    let mut arguments: Vec<&str> = registry.iter().chain(&open).copied().collect();
    arguments.extend(["--insecure", "--json"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(File::create(&log).expect("a log"))
        .spawn()
        .expect("hotshoe starts");
    let out = child.stdout.take().expect("its output");
    let _running = Running(child);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a line");
    assert!(
        line.contains("\"locators\""),
        "{line}{}",
        fs::read_to_string(log).unwrap_or_default()
    );
}

/// The state of what the doctor finds of Zenoh.
fn finding(report: &[u8]) -> String {
    let report: Value = serde_json::from_slice(report).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let zenoh = findings.iter().find(|it| it["what"] == "zenoh");
    zenoh.expect("a finding")["state"]
        .as_str()
        .expect("a state")
        .to_owned()
}

#[test]
fn a_device_makes_its_key_at_its_first_start() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(1, "min-samples = 1\nmin-seconds = 0\n", &[], ""));
    let device = workspace.device("a", &release, "");
    let secret = workspace.path("a-data/device.key");
    assert!(!secret.exists());
    let daemon = device.run();
    assert_eq!(mode(&secret), 0o600);
    let first = daemon.status().key.expect("a key");
    let public = fs::read_to_string(workspace.path("a-data/device.pub")).expect("a public key");
    assert_eq!(first.public_key, public);
    daemon.stop();
    // It stays; one that cannot be used keeps no device from serving.
    let daemon = device.run();
    assert_eq!(daemon.status().key, Some(first));
    daemon.stop();
    fs::write(&secret, "damaged").expect("a file");
    let daemon = device.run();
    assert_eq!(daemon.status().key, None);
    let fed = daemon.feed(&[("one", b"abc".to_vec())]);
    assert!(fed[0].result.is_ok(), "{:?}", fed[0].result);
    assert!(daemon.log().contains("device.key"), "{}", daemon.log());
}
