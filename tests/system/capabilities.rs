//! What components reach beyond the host's own interfaces: folders, sockets, requests, lines of the log, and messages of their own. Each takes the release's
//! word and the device's.

#[path = "capabilities/folders.rs"]
mod folders;
#[path = "capabilities/messages.rs"]
mod messages;
#[path = "capabilities/network.rs"]
mod network;

use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_tests::{Need, skip};
use serde_json::Value;

use crate::support::{Workspace, failure, hotshoe, json_lines};
use crate::wasip2;

/// A guest of WASI 0.2, unless it cannot be built here: then the test is skipped.
fn guest(package: &str) -> Option<PathBuf> {
    wasip2::component(package)
        .map_err(|reason| skip(Need::Wasip2, &reason))
        .ok()
}

/// A release of one stage, `more` being the lines of its table.
fn recipe(component: &Path, more: &str) -> String {
    format!(
        "name = \"reach\"\ngeneration = 1\nexpires-in = \"90d\"\n[components.reach]\nfile = \"{}\"\nworld = \"stage\"\n{more}\n[[pipeline]]\nstage = \"reach\"\n",
        component.display()
    )
}

/// One device, and what it says to releases and samples.
struct Bench {
    workspace: Workspace,
    config: PathBuf,
}

impl Bench {
    /// A device with this in its configuration, and WASI allowed.
    fn new(more: &str) -> Self {
        let workspace = Workspace::new();
        let config = workspace.path("hotshoe.toml");
        let bench = Self { workspace, config };
        bench.configure("[\"wasi\", \"wasi-sockets\", \"wasi-http\"]", more);
        bench
    }

    fn configure(&self, allow: &str, more: &str) {
        let text = format!("site = \"lab\"\ndevice = \"a\"\nallow = {allow}\n{more}\n");
        fs::write(&self.config, text).unwrap();
    }

    fn arguments(&self, recipe: &str, commands: &str) -> Vec<String> {
        let release = self.workspace.release(recipe);
        let sample = self.workspace.path("sample.txt");
        fs::write(&sample, commands).unwrap();
        let text = |path: &Path| path.display().to_string();
        let config = text(&self.config);
        vec![
            "exec".to_owned(),
            text(&release),
            text(&sample),
            "--config".to_owned(),
            config,
        ]
    }

    /// What the device makes of one sample of these commands, and what it says meanwhile.
    fn report(&self, recipe: &str, commands: &str) -> (Value, String) {
        let output = hotshoe(self.arguments(recipe, commands));
        // The log's lines are JSON.
        let said = String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"");
        let mut lines = json_lines(&String::from_utf8_lossy(&output.stdout));
        let report = lines.pop().unwrap_or_else(|| panic!("no report: {said}"));
        (report, said)
    }

    /// The outcome of each command, and what was said.
    fn outcomes(&self, recipe: &str, commands: &str) -> (Vec<String>, String) {
        let (report, said) = self.report(recipe, commands);
        let scalars = report["insight"]["scalars"].as_array();
        let scalars = scalars.unwrap_or_else(|| panic!("{report} {said}"));
        let names = scalars
            .iter()
            .map(|scalar| scalar["name"].as_str().unwrap());
        (names.map(str::to_owned).collect(), said)
    }

    /// Why the device does not take the release.
    fn refusal(&self, recipe: &str) -> String {
        failure(self.arguments(recipe, "name x"))
    }
}

#[test]
fn a_component_has_no_environment_and_its_outputs_are_lines_of_the_log() {
    let Some(component) = guest("capable") else {
        return;
    };
    let workspace = Workspace::new();
    let text = recipe(&component, "grants = [\"wasi\"]");
    let release = workspace.release(&text);
    let device = workspace.device_with("a", &release, "allow = [\"wasi\"]", "");
    let mut daemon = device.run();
    let fed = daemon.feed(&[
        ("quiet", b"environment\nprint 2\npart".to_vec()),
        ("loud", b"print 400".to_vec()),
    ]);
    let body = fed[0].result.as_ref().unwrap();
    assert_eq!(
        body["insight"]["scalars"][0]["name"],
        "0 variables, 0 arguments"
    );
    daemon.wait_for_log("an error line 1");
    // Of the 800 lines of the second sample as many are written as of the import `log` would be: 100 in a second.
    let log = daemon.log();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert!(
        lines("an output line 1") >= 1 && log.contains("INFO"),
        "{log}"
    );
    assert!(lines("line 399") == 0, "{log}");
    assert!(lines("output line") + lines("error line") <= 300, "{log}");
    assert!(daemon.stop().success());
}
