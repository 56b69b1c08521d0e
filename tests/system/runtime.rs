//! `hotshoe runtime fetch`: what it brings, what a device then runs, and what neither accepts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hotshoe_tests::{Need, skip};
use serde_json::Value;

use crate::doctor::finding;
use crate::model::json;
use crate::support::{Workspace, environment, failure, success};

/// The variables of a user whose data is in `data`, with no other library of ONNX Runtime.
fn user(command: &mut Command, data: &Path) {
    command
        .env("XDG_DATA_HOME", data)
        .env_remove("ORT_DYLIB_PATH")
        .env_remove("RUST_LOG");
}

/// Runs `hotshoe ... --json` for that user with these variables, and returns its exit code and its answer.
fn hotshoe(data: &Path, arguments: &[&str], more: &[(&str, &Path)]) -> (Option<i32>, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotshoe"));
    user(&mut command, data);
    let output = command
        .args(arguments)
        .arg("--json")
        .envs(more.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), json(&text))
}

fn fetch(data: &Path, more: &[(&str, &Path)]) -> (Option<i32>, Value) {
    hotshoe(data, &["runtime", "fetch"], more)
}

#[test]
fn a_device_runs_what_was_fetched_and_refuses_it_changed() {
    let workspace = Workspace::new();
    let data = workspace.path("user");
    let (code, report) = fetch(&data, &[]);
    let name = report["error"]["name"].as_str();
    if matches!(
        name,
        Some("runtime_unsupported_system" | "runtime_not_downloaded")
    ) {
        skip(Need::OnnxRuntime, &report.to_string());
        return;
    }
    assert_eq!(
        (code, &report["fetched"]),
        (Some(0), &true.into()),
        "{report}"
    );
    assert_eq!(report["loaded"], true, "{report}");
    let library = PathBuf::from(report["path"].as_str().unwrap());
    assert_eq!(library, data.join("hotshoe/onnxruntime/libonnxruntime.so"));
    assert!(library.with_file_name("LICENSE").is_file());
    let files: Vec<_> = fs::read_dir(data.join("hotshoe")).unwrap().collect();
    assert_eq!(files.len(), 1, "nothing else is left: {files:?}");

    // Again, with neither Python nor a network.
    let (code, again) = fetch(&data, &[("PATH", &workspace.path("nothing"))]);
    assert_eq!(
        (code, &again["fetched"]),
        (Some(0), &false.into()),
        "{again}"
    );
    assert_eq!(again["digest"], report["digest"]);

    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let device = workspace.device("a", &release, "");
    let config = device.config.display().to_string();
    let doctor = || {
        let (_, report) = hotshoe(&data, &["doctor", "--config", &config], &[]);
        finding(&report, "ONNX Runtime")
    };
    let found = doctor();
    assert_eq!(found["state"], "ok", "{found}");
    let said = found["found"].as_str().unwrap();
    assert!(
        said.starts_with(report["version"].as_str().unwrap())
            && said.contains("its digest as it must be"),
        "{said}"
    );
    let page = fs::read(environment().picture("page.png")).unwrap();
    // A daemon of that user: the backend of its model, and why.
    let serve = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hotshoe"));
        user(&mut command, &data);
        let log = fs::File::create(device.config.with_extension("log")).unwrap();
        command.args(["run", "--config", &config]);
        command.stdout(Stdio::null()).stderr(log);
        let daemon = device.run_by(command);
        assert!(daemon.feed(&[("1", page.clone())])[0].result.is_ok());
        let [model] = daemon.status().models.try_into().unwrap();
        let log = daemon.log();
        assert!(daemon.stop().success());
        (model.backend, model.reason, log)
    };
    let (_, reason, log) = serve();
    assert!(!reason.contains("no ONNX Runtime"), "{reason}");
    assert!(log.contains("ONNX Runtime loaded"), "{log}");

    let mut bytes = fs::read(&library).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&library, &bytes).unwrap();
    let found = doctor();
    assert_eq!(found["state"], "warn", "{found}");
    assert!(
        found["found"]
            .as_str()
            .unwrap()
            .contains("it has the digest")
    );
    let (backend, reason, log) = serve();
    assert_eq!(backend, "tract");
    assert!(
        reason.contains("no ONNX Runtime") && reason.contains("it has the digest"),
        "{reason}"
    );
    assert!(!log.contains("ONNX Runtime loaded"), "{log}");

    // Fetching mends it.
    let (code, mended) = fetch(&data, &[]);
    assert_eq!(
        (code, &mended["fetched"]),
        (Some(0), &true.into()),
        "{mended}"
    );
    assert_eq!(doctor()["state"], "ok");
}

#[test]
fn a_device_that_needs_the_library_refuses_another_one() {
    let workspace = Workspace::new();
    let release = workspace.release(&Workspace::recipe("classify-angle.toml"));
    let library = workspace.path("libonnxruntime.so");
    fs::write(&library, "another library").unwrap();
    let config = workspace.path("hotshoe.toml");
    let text = format!(
        "site = \"lab\"\ndevice = \"a\"\n[inference]\nbackend = \"ort\"\nlibrary = \"{}\"\nlibrary-digest = \"sha256:{}\"\n",
        library.display(),
        "0".repeat(64)
    );
    fs::write(&config, &text).unwrap();
    let (release, config_file) = (release.display().to_string(), config.display().to_string());
    let said = failure(["install", &release, "--config", &config_file]);
    assert!(said.starts_with("changed_runtime: "), "{said}");
    assert!(said.contains("hotshoe runtime fetch"), "{said}");

    // With an automatic choice, tract serves.
    fs::write(&config, text.replace("\"ort\"", "\"auto\"")).unwrap();
    success(["install", &release, "--config", &config_file]);
}

#[test]
fn what_cannot_be_fetched_says_why_and_leaves_nothing() {
    let workspace = Workspace::new();
    let (data, wheels) = (workspace.path("user"), workspace.path("wheels"));
    fs::create_dir(&wheels).unwrap();
    // pip takes wheels of this folder alone.
    let offline = [
        ("PIP_CONFIG_FILE", Path::new("/dev/null")),
        ("PIP_NO_INDEX", Path::new("1")),
        ("PIP_FIND_LINKS", &wheels),
    ];
    let fetch = |more: &[(&str, &Path)]| {
        let variables = [&offline, more].concat();
        let arguments = ["runtime", "fetch", "--processor", "aarch64"];
        let (code, report) = hotshoe(&data, &arguments, &variables);
        assert_eq!(code, Some(1), "{report}");
        let library = data.join("hotshoe/onnxruntime/libonnxruntime.so");
        assert!(!library.exists(), "{report}");
        report["error"].clone()
    };
    let missing = fetch(&[]);
    assert_eq!(missing["name"], "runtime_not_downloaded", "{missing}");
    assert!(
        missing.to_string().contains("No matching distribution"),
        "{missing}"
    );

    let no_python = fetch(&[("PATH", &wheels)]);
    assert_eq!(no_python["name"], "runtime_not_downloaded", "{no_python}");
    assert!(
        no_python.to_string().contains("install Python 3"),
        "{no_python}"
    );

    // A package of that name, version and processor with another library.
    let wheel = wheels.join("onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_aarch64.whl");
    let script = "import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    about = 'onnxruntime-1.31.1.dist-info/'
    wheel.writestr(about + 'METADATA', 'Metadata-Version: 2.1\\nName: onnxruntime\\nVersion: 1.31.1\\n')
    wheel.writestr(about + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\n')
    wheel.writestr('onnxruntime/capi/libonnxruntime.so.1.31.1', 'another library')";
    let made = Command::new("python3")
        .args(["-c", script])
        .arg(&wheel)
        .status();
    assert!(made.unwrap().success());
    let other = fetch(&[]);
    assert_eq!(other["name"], "runtime_other_content", "{other}");

    let unknown = crate::support::hotshoe(["runtime", "fetch", "--processor", "riscv64"]);
    assert_eq!(unknown.status.code(), Some(2));
}
