//! Recordings of a running device: what is taken, what is refused, and what they are good for afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use hotshoe_infer::npz::{self, Limits};
use hotshoe_store::{RecordStage, RecordedPart, Recording};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::support::{DEADLINE, Daemon, Device, Workspace, environment, failure, hotshoe, success};

const ALL: &str = "record = [\"sample\", \"tensors\", \"insight\"]";
const ALLOWED: &str = "[record]\nallow = [\"sample\", \"tensors\", \"insight\"]";

/// A preprocessor, a real model, a postprocessor and a policy. `contract` is its data contract.
pub(crate) fn recipe(contract: &str) -> String {
    let text = Workspace::recipe("classify-angle.toml");
    text.replace(
        "\n[components.classify-angle-pre]",
        &format!("\n[data-contract]\n{contract}\n\n[components.classify-angle-pre]"),
    )
}

fn page() -> Vec<u8> {
    fs::read(environment().picture("page.png")).unwrap()
}

/// `hotshoe record` of a device of the workspace.
fn arguments(workspace: &Workspace, device: &Device, stage: &str, more: &[&str]) -> Vec<String> {
    let text = |path: PathBuf| path.display().to_string();
    let mut all: Vec<String> = ["record", "--device", &device.name, "--stage", stage]
        .map(str::to_owned)
        .into();
    all.extend(["--config".to_owned(), text(device.config.clone())]);
    all.extend(["-o".to_owned(), text(workspace.path("recorded"))]);
    all.extend(more.iter().map(|it| (*it).to_owned()));
    all
}

/// Feeds until the recorder has ended, which it does by itself.
fn fed(daemon: &Daemon, arguments: &[String]) -> Value {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments)
        .arg("--json")
        .env_remove("RUST_LOG")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let page = page();
    while child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < DEADLINE, "{}", daemon.log());
        assert!(daemon.feed(&[("page", page.clone())])[0].result.is_ok());
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    serde_json::from_str(&text).unwrap()
}

/// A recording of two samples through the whole pipeline, at this stage.
pub(crate) fn recorded(workspace: &Workspace, stage: &str) -> PathBuf {
    let release = workspace.release(&recipe(ALL));
    let device = workspace.device("cam", &release, ALLOWED);
    let daemon = device.run();
    fed(
        &daemon,
        &arguments(workspace, &device, stage, &["--count", "2"]),
    );
    workspace.path("recorded")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_recording_holds_what_came_between_and_replays_equal() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(ALL));
    let device = workspace.device("cam", &release, ALLOWED);
    let daemon = device.run();
    let report = fed(
        &daemon,
        &arguments(&workspace, &device, "infer", &["--count", "3"]),
    );
    assert_eq!(report["entries"], 3, "{report}");
    assert_eq!(report["ended"], "count");
    let folder = workspace.path("recorded");
    let recording = Recording::open(&folder).unwrap();
    recording.check().unwrap();
    assert_eq!(recording.head.stage, RecordStage::Infer);
    assert_eq!(recording.head.release.name, "classify-angle");
    let entry = &recording.entries[0];
    let read = |part| recording.read(entry, &part).unwrap().expect("a file");
    assert_eq!(read(RecordedPart::Sample), page());
    let tensors = npz::read(&read(RecordedPart::Tensors), Limits::SAMPLE).unwrap();
    let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[1..], [npz::SAMPLE, npz::SAMPLE_TYPE]);
    assert_eq!(tensors[1].1.bytes(), page());
    // What the model was given is what the preprocessor made.
    let input = RecordedPart::Input("classify-angle".to_owned());
    let inputs = npz::read(&read(input), Limits::SAMPLE).unwrap();
    assert_eq!(inputs[0].1.bytes(), tensors[0].1.bytes());
    let insight: Value = serde_json::from_slice(&read(RecordedPart::Insight)).unwrap();
    assert_eq!(insight["kind"], "classes");

    // Back through the whole pipeline.
    let toml = text(&workspace.path("release.toml"));
    let told = success([
        "test",
        &toml,
        "--recorded",
        &text(&folder),
        "--tolerance",
        "0.001",
    ]);
    assert!(told.contains("3 passed, 0 failed"), "{told}");
    // The model alone, on what it was given.
    let model = text(&environment().model("classify-angle"));
    for inputs in [folder.clone(), folder.join("inputs/classify-angle")] {
        let compared = success([
            "model",
            "compare",
            &model,
            &model,
            "--inputs",
            &text(&inputs),
            "--runs",
            "1",
            "--json",
        ]);
        let compared: Value = serde_json::from_str(&compared).unwrap();
        assert_eq!(compared["passed"], true, "{compared}");
    }
    // The model and the policy go on as they are, and the counts add up.
    assert!(daemon.status().counters.add_up());
}

#[test]
fn a_recording_becomes_self_tests() {
    let workspace = Workspace::new();
    let folder = recorded(&workspace, "pre");
    let more = format!(
        "\n[[tests]]\nname = \"cam\"\nrecorded = \"{}\"\n",
        text(&folder)
    );
    let release = workspace.release(&(recipe(ALL) + &more));
    let verified = success([
        "verify",
        &text(&release),
        "--trust",
        &workspace.trust_file(),
    ]);
    assert!(verified.contains("2 self-tests"), "{verified}");
    // They pass on a device, which tries them when it is installed.
    let device = workspace.device("other", &release, "");
    assert_eq!(
        device.run().status().release.unwrap().name,
        "classify-angle"
    );
    // The postprocessor alone needs what was not recorded.
    let post = recipe(ALL)
        .replace("[[pipeline]]\npreprocess = \"classify-angle-pre\"\n", "")
        .replace("[[pipeline]]\ninfer = \"classify-angle\"\n", "");
    fs::write(workspace.path("release.toml"), post + &more).unwrap();
    let refused = failure([
        "pack",
        &text(&workspace.path("release.toml")),
        "--out",
        &text(&workspace.path("post")),
    ]);
    assert!(refused.starts_with("not_recorded"), "{refused}");
    assert!(refused.contains("--stage infer"), "{refused}");
}

#[test]
fn a_pipeline_is_replayed_from_where_it_was_recorded() {
    let workspace = Workspace::new();
    let folder = text(&recorded(&workspace, "infer"));
    let whole = recipe(ALL);
    let toml = workspace.path("release.toml");
    let steps = [
        "preprocess = \"classify-angle-pre\"",
        "infer = \"classify-angle\"",
        "postprocess = \"classify-angle-post\"",
        "policy = \"empty-policy\"",
    ];
    // Any part of it that a release may be.
    for (from, to) in [
        (1, 4),
        (2, 4),
        (3, 4),
        (0, 1),
        (0, 2),
        (1, 2),
        (2, 3),
        (1, 3),
    ] {
        let (head, _) = whole.split_once("[[pipeline]]").unwrap();
        let part: String = steps[from..to]
            .iter()
            .map(|step| format!("[[pipeline]]\n{step}\n"))
            .collect();
        fs::write(&toml, format!("{head}{part}")).unwrap();
        let told = success([
            "test",
            &text(&toml),
            "--recorded",
            &folder,
            "--tolerance",
            "0.001",
        ]);
        assert!(
            told.contains("2 passed, 0 failed"),
            "{from} to {to}: {told}"
        );
    }
}

#[test]
fn damage_of_a_recording_is_found() {
    let workspace = Workspace::new();
    let folder = recorded(&workspace, "sample");
    let toml = text(&workspace.path("release.toml"));
    let file = folder.join("samples/0001.bin");
    let mut bytes = fs::read(&file).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&file, bytes).unwrap();
    let refused = failure(["test", &toml, "--recorded", &text(&folder)]);
    assert!(refused.starts_with("damaged_recording"), "{refused}");
    assert!(refused.contains("samples/0001.bin"), "{refused}");
    let again = failure([
        "record",
        "--site",
        "lab",
        "--device",
        "x",
        "--stage",
        "pre",
        "-o",
        &text(&folder),
        "--connect",
        "tcp/127.0.0.1:1",
    ]);
    assert!(again.starts_with("recording_exists"), "{again}");
}

#[test]
fn nothing_is_recorded_that_device_and_release_do_not_both_allow() {
    let workspace = Workspace::new();
    for (contract, allowed, stage, without, name, line) in [
        (
            ALL,
            "",
            "sample",
            None,
            "not_allowed_by_device",
            "allow = [\"sample\", \"insight\"]",
        ),
        (
            ALL,
            "[record]\nallow = [\"insight\"]",
            "pre",
            None,
            "not_allowed_by_device",
            "allow = [\"sample\", \"tensors\", \"insight\"]",
        ),
        (
            "",
            ALLOWED,
            "post",
            None,
            "not_allowed_by_release",
            "record = [\"insight\"]",
        ),
        (
            "record = [\"insight\"]",
            ALLOWED,
            "sample",
            None,
            "not_allowed_by_release",
            "record = [\"sample\", \"insight\"]",
        ),
        (
            ALL,
            ALLOWED,
            "post",
            Some("insight"),
            "nothing_to_record",
            "--without",
        ),
    ] {
        let release = workspace.release(&recipe(contract));
        let name_of = format!("cam-{name}-{stage}").replace('_', "-");
        let device = workspace.device(&name_of, &release, allowed);
        let _daemon = device.run();
        let mut more = vec!["--count", "1"];
        more.extend(
            without
                .map(|kind| ["--without", kind])
                .into_iter()
                .flatten(),
        );
        let refused = failure(arguments(&workspace, &device, stage, &more));
        assert!(refused.starts_with(name), "{refused}");
        assert!(refused.contains(line), "{refused}");
        assert!(!workspace.path("recorded").exists());
    }
}

#[test]
fn ctrl_c_ends_a_recording_with_what_there_is() {
    let workspace = Workspace::new();
    let release = workspace.release(&recipe(ALL));
    let device = workspace.device("cam", &release, ALLOWED);
    let daemon = device.run();
    // A recording of nothing is none: the folder is free for the next.
    let nothing = failure(arguments(
        &workspace,
        &device,
        "sample",
        &["--timeout", "0"],
    ));
    assert!(nothing.starts_with("nothing_recorded"), "{nothing}");
    let arguments = arguments(
        &workspace,
        &device,
        "sample",
        &["--count", "1000", "--without", "insight"],
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(&arguments)
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let folder = workspace.path("recorded");
    let started = Instant::now();
    let entries = || Recording::open(&folder).map_or(0, |it| it.entries.len());
    while entries() < 2 {
        assert!(started.elapsed() < DEADLINE, "{}", daemon.log());
        daemon.feed(&[("page", page())]);
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    let recording = Recording::open(&folder).unwrap();
    recording.check().unwrap();
    assert!(recording.entries.len() >= 2);
    assert!(
        recording.entries[0]
            .files
            .keys()
            .all(|file| file.starts_with("samples/"))
    );
    // The daemon wants nothing of it any more, and serves.
    assert!(daemon.feed(&[("page", page())])[0].result.is_ok());
    assert_eq!(
        hotshoe(["status", "--config", &text(&device.config)])
            .status
            .code(),
        Some(0)
    );
}
