//! Another implementation of Zenoh, from PyPI, publishes a sample and reads the insight.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use hotshoe_tests::{Need, skip};
use serde_json::Value;

use crate::support::{Workspace, environment, lines};

/// The PyPI package, in the version that the host's own crate has.
const PACKAGE: &str = "eclipse-zenoh==1.10.2";

/// Publishes `argv[3]` to the device behind `argv[1]` and prints the insight; `argv[2]` is the device's key.
const CLIENT: &str = r#"
import json, queue, sys, zenoh

endpoint, root, picture = sys.argv[1:]
config = zenoh.Config()
config.insert_json5("connect/endpoints", json.dumps([endpoint]))
config.insert_json5("scouting/multicast/enabled", "false")
with zenoh.open(config) as session:
    heard = queue.Queue()
    listener = session.declare_subscriber(root + "/output/insight", heard.put)
    # The device must know of the listener before it publishes: an answer to a query comes after the declaration.
    list(session.get(root + "/status"))
    with open(picture, "rb") as file:
        session.put(root + "/input/python", file.read(), encoding=zenoh.Encoding("image/png"), attachment=b"from-python")
    print(heard.get(timeout=120).payload.to_string())
"#;

/// Where packages from PyPI are, installed once under `name`, or why they cannot be had. Their versions are all given: nothing else
/// is fetched for them. They are lines of a requirements file: where one has a `--hash`, pip wants the digest of each.
pub(crate) fn installed(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let all = environment().root.join("target/fixtures/python");
    let folder = all.join(name);
    fs::create_dir_all(&all).map_err(|error| format!("{}: {error}", all.display()))?;
    // Several test processes may want them at once; it is let go when it is dropped.
    let lock = File::create(all.join("lock")).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.map_err(|error| format!("the lock of {}: {error}", all.display()))?;
    if folder.exists() {
        return Ok(folder);
    }
    let unfinished = all.join(format!("{name}.part"));
    // What a run that was ended left.
    fs::remove_dir_all(&unfinished).ok();
    let requirements = all.join(format!("{name}.txt"));
    fs::write(&requirements, packages.join("\n"))
        .map_err(|error| format!("{}: {error}", requirements.display()))?;
    let pip = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(&unfinished)
        .arg("--requirement")
        .arg(&requirements)
        .output()
        .map_err(|error| format!("python3 cannot be started: {error}"))?;
    if !pip.status.success() {
        let said = String::from_utf8_lossy(&pip.stderr);
        let last = said.lines().last().unwrap_or("nothing").to_owned();
        return Err(format!("pip cannot install {name}: {last}"));
    }
    fs::rename(&unfinished, &folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

#[test]
fn a_python_program_is_served() {
    let package = match installed(&PACKAGE.replace("==", "-"), &[PACKAGE]) {
        Ok(package) => package,
        Err(reason) => return skip(Need::PythonPackages, &reason),
    };
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("release.toml"));
    let device = workspace.device("a", &release, "");
    let daemon = device.run();
    let output = Command::new("python3")
        .args(["-c", CLIENT])
        .arg(&daemon.status().session.locators[0])
        .arg("hotshoe/lab/a")
        .arg(environment().picture("page.png"))
        .env("PYTHONPATH", package)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let insight: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(insight["id"], "from-python");
    assert_eq!(lines(&insight["insight"]).len(), 5);
}
