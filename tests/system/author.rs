//! From `hotshoe new` to a release that runs, and what is said where it does not.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hotshoe_tests::{Need, skip};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Workspace, environment, failure, hotshoe, json_lines, success};

/// Held by a test that changes sources and builds them: cargo tells the projects' copies of the SDK apart by their times alone, so that another
/// test's build between the change and its build would hide the change.
static SOURCES: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    SOURCES.lock()
}

const WORLDS: [&str; 4] = ["preprocessor", "postprocessor", "policy", "stage"];

/// `hotshoe` with the checkout's folder of tools, and one folder for all that cargo makes.
fn author<I, S>(arguments: I) -> Output
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let target = environment().root.join("target");
    Command::new(env!("CARGO_BIN_EXE_hotshoe"))
        .args(arguments)
        .env("HOTSHOE_TOOLS", target.join("tools"))
        .env("CARGO_TARGET_DIR", target.join("author-build"))
        .env_remove("RUST_LOG")
        .output()
        .expect("hotshoe starts")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Standard output and error of a run that must have ended so.
fn said(output: &Output, code: i32) -> String {
    let all = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{all}");
    all
}

/// A new project in a folder of its own. Names differ, since cargo's folder is shared.
fn project(folder: &TempDir, name: &str, world: &str) -> PathBuf {
    let project = folder.path().join(name);
    success([
        "new",
        name,
        "--lang",
        "rust",
        "--world",
        world,
        "--dir",
        &text(&project),
    ]);
    project
}

fn build(project: &Path) -> Output {
    author(["build", &text(project), "--yes", "--json"])
}

/// Builds and runs a project on its own sample; what `exec` says.
fn run(project: &Path, name: &str, sample: &str) -> Value {
    let workspace = Workspace::new();
    let release = workspace.path("release");
    let manifest = text(&project.join("release.toml"));
    success(["pack", &manifest, "--out", &text(&release)]);
    workspace.sign(&release, "alice");
    let output = workspace.exec(&release, &[project.join(sample)]);
    let told = json_lines(&said(&output, 0)).remove(0);
    assert_eq!(told["release"]["name"], name, "{told}");
    told
}

#[test]
fn every_template_in_rust_builds_and_gives_what_is_expected() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    for (world, sample, needs) in [
        (
            "preprocessor",
            "tests/picture.png",
            &["config", "vision"][..],
        ),
        ("postprocessor", "tests/outputs.npz", &["config", "vision"]),
        ("policy", "tests/insight.json", &["data"]),
        (
            "stage",
            "tests/picture.png",
            &["config", "data", "vision", "wasi-nn"],
        ),
    ] {
        let name = format!("plain-{world}");
        let project = project(&folder, &name, world);
        let output = build(&project);
        let built: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", said(&output, 0)));
        let component = &built["components"][0];
        assert_eq!(component["name"], name.as_str());
        let found: Vec<&String> = component["needs"].as_object().unwrap().keys().collect();
        assert_eq!(found, needs, "{world}");
        assert!(
            component["bytes"].as_u64().unwrap() < 200_000,
            "{component}"
        );
        let file = text(&project.join("build").join(format!("{name}.wasm")));
        let shown: Value = serde_json::from_str(&success(["inspect", &file, "--json"])).unwrap();
        let languages = shown["languages"].as_array().unwrap();
        assert!(languages.contains(&"Rust".into()), "{shown}");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(shown["producers"]["hotshoe"], version, "{shown}");
        let told = run(&project, &name, sample);
        if world == "preprocessor" {
            assert_eq!(
                told["insight"]["content_type"], "application/x-npz",
                "{told}"
            );
            continue;
        }
        let expected = fs::read_to_string(project.join("tests/expected.json")).unwrap();
        let mut expected: Value = serde_json::from_str(&expected).unwrap();
        if world == "policy" {
            assert_eq!(told["actions"], expected["actions"]);
            expected = expected["insight"].take();
        }
        match world {
            // The model's own arithmetic decides the last digits.
            "stage" => assert_eq!(told["insight"]["classes"][0]["label"], "dark"),
            _ => assert_eq!(told["insight"], expected),
        }
    }
}

#[test]
fn a_folder_says_what_to_do_next_and_is_never_overwritten() {
    let folder = TempDir::new().unwrap();
    let project = folder.path().join("mine");
    let arguments = [
        "new", "my-part", "--lang", "rust", "--world", "policy", "--dir",
    ];
    let told = success(arguments.into_iter().chain([text(&project).as_str()]));
    for wanted in ["hotshoe build", "hotshoe test", "release.toml", "README.md"] {
        assert!(told.contains(wanted), "{told}");
    }
    let again = failure(arguments.into_iter().chain([text(&project).as_str()]));
    assert!(again.starts_with("not_empty: "), "{again}");
    let bad = failure(["new", "My Part", "--lang", "rust", "--world", "policy"]);
    assert!(
        bad.starts_with("bad_name: ") && bad.contains("count-people"),
        "{bad}"
    );
    let cobol = hotshoe(["new", "a", "--lang", "cobol", "--world", "policy"]);
    let cobol = said(&cobol, 2);
    assert!(
        cobol.contains("rust, c, cpp, python, js, ts, go"),
        "{cobol}"
    );
    let world = said(
        &hotshoe(["new", "a", "--lang", "go", "--world", "filter"]),
        2,
    );
    assert!(
        world.contains("preprocessor, postprocessor, policy, stage"),
        "{world}"
    );
}

/// What `build --json` says of its failure: its name, its message and causes.
fn refusal(output: &Output) -> (String, String) {
    let all = said(output, 1);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{all}"));
    let error = &report["error"];
    let name = error["name"].as_str().unwrap_or("-").to_owned();
    (name, format!("{} {}", error["message"], error["causes"]))
}

#[test]
fn what_does_not_fit_is_said_in_words_with_the_line_to_change() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let project = project(&folder, "misfit-policy", "policy");
    let manifest = project.join("release.toml");
    let plain = fs::read_to_string(&manifest).unwrap();

    // A grant less than it needs.
    fs::write(
        &manifest,
        plain.replace("grants = [\"data\"]", "grants = [\"log\"]"),
    )
    .unwrap();
    let line = plain
        .lines()
        .position(|line| line.starts_with("grants"))
        .unwrap()
        + 1;
    let (name, told) = refusal(&build(&project));
    assert_eq!(name, "not_granted", "{told}");
    for wanted in [
        "hotshoe:pipeline/data@0.1.0".to_owned(),
        format!("release.toml, line {line}: grants = [\\\"log\\\", \\\"data\\\"]"),
    ] {
        assert!(told.contains(&wanted), "{wanted} in {told}");
    }
    assert!(
        !project.join("build").exists(),
        "what does not fit is not written"
    );

    // Another world than the one that it implements.
    fs::write(
        &manifest,
        plain.replace("world = \"policy\"", "world = \"stage\""),
    )
    .unwrap();
    let (name, told) = refusal(&build(&project));
    assert_eq!(name, "missing_export", "{told}");
    assert!(
        told.contains("hotshoe:pipeline/process@0.1.0") && told.contains("decide@0.1.0"),
        "{told}"
    );

    // Interfaces of a version that is not served, exported and imported.
    fs::write(&manifest, &plain).unwrap();
    let files =
        ["wit", "hotshoe-sdk/rust/src"].map(|folder| fs::read_dir(project.join(folder)).unwrap());
    for path in files
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
    {
        if path.is_file() {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace("@0.1.0", "@0.9.0")).unwrap();
        }
    }
    let (name, told) = refusal(&build(&project));
    assert_eq!(name, "wrong_version", "{told}");
    for wanted in [
        "imports hotshoe:pipeline/data@0.9.0",
        "exports hotshoe:pipeline/decide@0.9.0",
        "hotshoe wit --vendor",
    ] {
        assert!(told.contains(wanted), "{wanted} in {told}");
    }

    // A function that only newer interfaces have, under a version that is served.
    success(["wit", "--vendor", &text(&project.join("wit"))]);
    for path in fs::read_dir(project.join("hotshoe-sdk/rust/src")).unwrap() {
        let path = path.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("@0.9.0", "@0.1.0")).unwrap();
    }
    let host = project.join("wit/host.wit");
    let newer = fs::read_to_string(&host).unwrap().replace(
        "read: func(name: string)",
        "peek: func(name: string) -> result<list<u8>, error>;\n  @since(version = 0.1.0)\n  read: func(name: string)",
    );
    fs::write(&host, newer).unwrap();
    let source = project.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(
        &source,
        text.replace("data::read(\"rules\")", "data::peek(\"rules\")"),
    )
    .unwrap();
    let (name, told) = refusal(&build(&project));
    assert_eq!(name, "wrong_types", "{told}");
    assert!(told.contains("`peek`"), "{told}");
}

#[test]
fn sources_that_do_not_compile_are_quoted() {
    let _alone = alone();
    let folder = TempDir::new().unwrap();
    let project = project(&folder, "broken-policy", "policy");
    fs::write(project.join("src/lib.rs"), "fn decide( {").unwrap();
    let (name, told) = refusal(&build(&project));
    assert_eq!(name, "does_not_compile", "{told}");
    assert!(told.contains("src/lib.rs"), "{told}");
    fs::write(project.join("Cargo.toml"), "").unwrap();
    fs::remove_file(project.join("Cargo.toml")).unwrap();
    fs::remove_dir_all(project.join("src")).unwrap();
    let (name, told) = refusal(&build(&project));
    assert_eq!(name, "unknown_language", "{told}");
    let (_, told) = refusal(&author(["build", &text(folder.path()), "--json"]));
    assert!(told.contains("release.toml"), "{told}");
}

#[test]
fn a_component_with_wasi_asks_for_its_grant() {
    let _alone = alone();
    let root = &environment().root;
    let folder = root.join("target/author-build");
    let has_target = hotshoe_devkit::toolchain::has_target("wasm32-wasip2");
    if !has_target.is_ok_and(|it| it) {
        return skip(Need::Wasip2, "rustc has no wasm32-wasip2");
    }
    assert!(!folder.is_file());
    let place = TempDir::new().unwrap();
    let project = project(&place, "wasi-policy", "policy");
    let build = || {
        author([
            "build",
            &text(&project),
            "--target",
            "wasip2",
            "--yes",
            "--json",
        ])
    };
    let (name, told) = refusal(&build());
    assert_eq!(name, "not_granted", "{told}");
    assert!(
        told.contains("wasi:") && told.contains("\\\"data\\\", \\\"wasi\\\""),
        "{told}"
    );
    let manifest = project.join("release.toml");
    let plain = fs::read_to_string(&manifest).unwrap();
    fs::write(
        &manifest,
        plain.replace("[\"data\"]", "[\"data\", \"wasi\"]"),
    )
    .unwrap();
    said(&build(), 0);
    assert!(project.join("build/wasi-policy.wasm").is_file());
}

#[test]
fn the_wit_files_are_shown_and_vendored() {
    for world in WORLDS {
        let shown = success(["wit", "--world", world]);
        assert!(shown.contains(&format!("world {world} {{")), "{shown}");
    }
    let folder = TempDir::new().unwrap();
    let place = text(folder.path());
    success(["wit", "--vendor", &place]);
    for file in ["types.wit", "worlds.wit", "deps/wasi-nn/wasi-nn.wit"] {
        let own = fs::read(environment().root.join("wit").join(file)).unwrap();
        assert_eq!(fs::read(folder.path().join(file)).unwrap(), own, "{file}");
    }
}
