//! The inner loop: a change of the source is built, swapped in while the daemon serves, and tried.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use hotshoe_config::Config;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Workspace, environment, success};

/// `hotshoe dev`, which ends with the test however that ends, and its daemon with it.
struct Dev(Child);

impl Dev {
    fn interrupt(&self) {
        let pid = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            self.interrupt();
            let _ = self.0.wait();
        }
    }
}

#[test]
fn a_saved_source_serves_in_the_running_daemon() {
    let root = &environment().root;
    let workspace = Workspace::new();
    let project = workspace.path("watcher");
    let folder = project.display().to_string();
    success([
        "new", "watcher", "--lang", "rust", "--world", "policy", "--dir", &folder,
    ]);
    let dev = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(["dev", &folder, "--json", "--yes"])
        // What the crates below a component are built to is shared with the other tests.
        .env("CARGO_TARGET_DIR", root.join("target/author-build"))
        .env("HOTSHOE_TOOLS", root.join("target/tools"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut dev = Dev(dev);
    let mut lines = BufReader::new(dev.0.stdout.take().unwrap()).lines();
    let mut round = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };

    let first = round();
    assert_eq!(first["error"], Value::Null, "{first}");
    let result = &first["samples"][0]["result"];
    assert_eq!(result["release"]["generation"], 1, "{first}");

    // A source that does not compile leaves the daemon as it is.
    let source = project.join("src/lib.rs");
    let good = fs::read_to_string(&source).unwrap();
    fs::write(&source, format!("{good}\nthis is no Rust\n")).unwrap();
    let broken = round();
    assert!(
        broken["error"].as_str().unwrap().contains("watcher"),
        "{broken}"
    );
    assert_eq!(broken["swap_ms"], Value::Null);

    // The rules are data of the release: nothing is compiled, and the next release serves.
    fs::write(&source, good).unwrap();
    fs::write(project.join("rules.txt"), "* 0 critical seen {count}\n").unwrap();
    let mut changed = round();
    // The two files may come to rest apart from one another.
    while changed["samples"][0]["result"]["actions"][0]["severity"] != "critical" {
        changed = round();
    }
    assert!(changed["samples"][0]["result"]["release"]["generation"].as_u64() > Some(1));

    let status = success([
        "status",
        "--config",
        &format!("{folder}/.hotshoe/dev/hotshoe.toml"),
        "--json",
    ]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status[0]["development"], true);
    // What the release's data contract allows may be recorded.
    let config = Path::new(&folder).join(".hotshoe/dev/hotshoe.toml");
    assert_eq!(Config::load(&config).unwrap().record.allow.len(), 3);

    dev.interrupt();
    assert!(dev.0.wait().unwrap().success());
}

#[test]
fn a_device_that_is_relied_on_refuses_the_throw_away_key() {
    let workspace = Workspace::new();
    workspace.key("development");
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    workspace.trust(&["alice", "development"], 1);
    let said = crate::support::failure(["run", "--config", &device.config.display().to_string()]);
    assert!(
        said.contains("throw-away key") && said.contains("development = true"),
        "{said}"
    );
}
