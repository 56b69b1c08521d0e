//! A rollout through a real registry to real daemons: its stages, its end, and the way back.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::registry::Registry;
use super::site::{Packed, Site, light, settled_on};
use super::support::{Daemon, failure, free_endpoint, hotshoe, json_lines, success};

/// A registry that connects the site, and two devices with the first release.
pub(super) struct Scene {
    pub(super) site: Site,
    endpoint: String,
    pub(super) second: Packed,
    pub(super) first: Packed,
    pub(super) one: Daemon,
    pub(super) two: Daemon,
    _registry: Registry,
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut site = Site::new();
        site.close();
        let endpoint = free_endpoint();
        let registry = Registry::start(&site, "shelf", &endpoint, None, true);
        let first = site.pack(&light(1, ""));
        let second = site.pack(&light(2, ""));
        let one = site.device_at("one", &first, &endpoint, "").run();
        let two = site.device_at("two", &first, &endpoint, "").run();
        Self {
            site,
            endpoint,
            second,
            first,
            one,
            two,
            _registry: registry,
        }
    }

    pub(super) fn text(&self, path: &Path) -> String {
        path.display().to_string()
    }

    /// `hotshoe rollout` with a subject, and with the options of this site.
    pub(super) fn arguments(&self, action: &str, subject: &str, more: &[&str]) -> Vec<String> {
        let trust = self.site.workspace.trust_file();
        let all = [
            "rollout",
            action,
            subject,
            "--site",
            "lab",
            "--connect",
            &self.endpoint,
            "--trust",
            &trust,
            "--json",
        ];
        let all = all.iter().chain(more);
        all.map(|it| (*it).to_owned()).collect()
    }

    pub(super) fn key(&self) -> String {
        self.text(&self.site.workspace.path("alice.key"))
    }

    /// The first device, then all; each stage is watched for `watch`.
    fn start_arguments(&self, watch: &str) -> Vec<String> {
        let (key, previous) = (self.key(), self.text(&self.first.folder));
        let more = [
            "--key",
            &key,
            "--previous",
            &previous,
            "--stages",
            "100%",
            "--watch",
            watch,
            "--spread",
            "1s",
            "--first-device",
            "lab/one",
            "--min-samples",
            "0",
        ];
        self.arguments("start", &self.text(&self.second.folder), &more)
    }

    /// Begins the rollout of the second release, as a process.
    fn start(&self, watch: &str) -> Child {
        Command::new(env!("CARGO_BIN_EXE_hotshoe"))
            .args(self.start_arguments(watch))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a controller")
    }
}

/// The last line that a controller printed.
#[track_caller]
pub(crate) fn last(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = json_lines(&text).pop();
    last.unwrap_or_else(|| panic!("nothing was printed: {errors}"))
}

#[test]
fn a_rollout_passes_its_stages_and_a_reversal_takes_every_device_back() {
    let scene = Scene::new();
    let controller = scene.start("1s");
    // The first device confirms it, then the other one begins.
    scene.one.feed_until(settled_on(2));
    scene.two.feed_until(settled_on(2));
    let output = controller.wait_with_output().unwrap();
    let end = last(&output);
    assert!(output.status.success(), "{end:#}");
    assert_eq!(end["state"], "done");
    assert_eq!(end["stage"], 1);
    assert_eq!(end["stages"][1]["states"]["confirmed"], 2);

    let status = success(scene.arguments("status", "light", &[]));
    assert_eq!(json_lines(&status)[0]["state"], "done");

    let key = scene.key();
    success(scene.arguments("reverse", "light", &["--key", &key]));
    for device in [&scene.one, &scene.two] {
        let state = device.wait_until(settled_on(1));
        assert_eq!(state["last_rollback"]["generation"], 2);
        assert_eq!(state["last_rollback"]["cause"]["name"], "rollout_reversed");
    }
    // It is final.
    let refused = hotshoe(scene.arguments("resume", "light", &["--key", &key]));
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn an_abort_ends_the_controller_and_no_further_device_begins() {
    let scene = Scene::new();
    let controller = scene.start("1h");
    scene.one.feed_until(settled_on(2));
    let key = scene.key();
    let more = ["--key", &key, "--message", "wrong labels"];
    success(scene.arguments("abort", "light", &more));
    let output = controller.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let end = last(&output);
    assert_eq!(end["state"], "aborted");
    assert_eq!(end["cause"]["message"], "wrong labels");
    // A device that confirmed it keeps it, and the other one has never begun.
    assert!(settled_on(2)(&scene.one.state()));
    let other = scene.two.state();
    assert!(settled_on(1)(&other), "{other:#}");
    assert_eq!(other["deploy"]["generation"], 1, "{other:#}");
}

#[test]
fn a_plan_without_enough_signatures_is_refused_before_it_is_stated() {
    let scene = Scene::new();
    scene.site.workspace.key("bob");
    scene.site.workspace.trust(&["alice", "bob"], 2);
    let refused = failure(
        scene
            .start_arguments("1s")
            .into_iter()
            .filter(|it| it != "--json"),
    );
    assert!(refused.contains("too_few_signatures"), "{refused}");
    assert!(
        refused.contains("devices would refuse this plan"),
        "{refused}"
    );
}

#[test]
fn the_list_of_devices_has_their_hardware_and_release() {
    let scene = Scene::new();
    let listed = success([
        "devices",
        "--site",
        "lab",
        "--connect",
        &scene.endpoint,
        "--json",
    ]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let names: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["device"])
        .collect();
    assert_eq!(names, ["one", "two"]);
    for device in listed.as_array().unwrap() {
        assert_eq!(device["generation"], 1);
        assert_eq!(device["claimed"], true);
        assert!(device["class"].is_string(), "{device:#}");
    }
}
