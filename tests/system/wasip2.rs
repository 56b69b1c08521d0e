//! Components with WASI 0.2 imports: they run where the release grants `wasi` and the device allows it, and nowhere else.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hotshoe_tests::{Need, skip};

use crate::support::{Workspace, environment, failure, hotshoe, json_lines, success};

const TARGET: &str = "wasm32-wasip2";

/// A guest as `rustc` links it for WASI 0.2, or why it cannot be built here.
pub(crate) fn component(package: &str) -> Result<PathBuf, String> {
    let root = &environment().root;
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|error| format!("rustc cannot be started: {error}"))?;
    let folder = PathBuf::from(String::from_utf8_lossy(&libraries.stdout).trim());
    if !libraries.status.success() || !folder.exists() {
        return Err(format!(
            "rustc has no {TARGET}; `rustup target add {TARGET}` gets it"
        ));
    }
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--package",
            package,
            "--target",
            TARGET,
        ])
        .arg("--manifest-path")
        .arg(root.join("guests/Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target/guests-build"))
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let file = package.replace('-', "_");
    Ok(root.join(format!("target/guests-build/{TARGET}/release/{file}.wasm")))
}

/// The configuration of a device that allows what these tests grant.
fn allowing_wasi(workspace: &Workspace) -> PathBuf {
    let config = workspace.path("hotshoe.toml");
    let text = "site = \"lab\"\ndevice = \"a\"\nallow = [\"vision\", \"wasi\"]\n";
    fs::write(&config, text).unwrap();
    config
}

#[test]
fn wasi_is_granted_by_the_release_and_allowed_by_the_device() {
    let component = match component("empty-policy") {
        Ok(component) => component,
        Err(reason) => {
            return skip(Need::Wasip2, &reason);
        }
    };
    let plain = environment()
        .component("empty-policy")
        .display()
        .to_string();
    let recipe =
        Workspace::recipe("classify-angle.toml").replace(&plain, &component.display().to_string());
    let workspace = Workspace::new();
    let said = workspace.refusal(&workspace.release(&recipe));
    assert!(
        said.contains("wasi:") && said.contains("does not grant"),
        "{said}"
    );

    let granted = recipe.replace(
        "world = \"policy\"",
        "world = \"policy\"\ngrants = [\"wasi\"]",
    );
    let release = workspace.release(&granted);
    let said = workspace.refusal(&release);
    assert!(said.contains("this device does not allow"), "{said}");

    let config = allowing_wasi(&workspace);
    let (release, config) = (release.display().to_string(), config.display().to_string());
    let page = environment().picture("page.png").display().to_string();
    let told = success(["exec", &release, &page, "--config", &config]);
    assert!(told.contains("\"action\":\"publish\""), "{told}");
    fs::remove_file(config.clone()).unwrap();
    assert!(failure(["exec", &release, &page, "--config", &config]).contains("hotshoe.toml"));
}

#[test]
fn a_component_that_sleeps_meets_its_deadline() {
    let component = match component("hostile") {
        Ok(component) => component,
        Err(reason) => {
            return skip(Need::Wasip2, &reason);
        }
    };
    let plain = environment().component("hostile").display().to_string();
    let recipe = Workspace::recipe("hostile.toml")
        .replace(&plain, &component.display().to_string())
        .replace(
            "world = \"preprocessor\"",
            "world = \"preprocessor\"\ngrants = [\"wasi\"]",
        );
    let workspace = Workspace::new();
    let release = workspace.release(&recipe).display().to_string();
    let config = allowing_wasi(&workspace).display().to_string();
    let inputs = ["sleep", "good"].map(|payload| {
        fs::write(workspace.path(payload), payload).unwrap();
        workspace.path(payload).display().to_string()
    });
    let output = hotshoe([
        "exec", &release, &inputs[0], &inputs[1], "--config", &config,
    ]);
    let results = json_lines(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(results[0]["error"]["fault"], "deadline", "{results:?}");
    assert_eq!(results[1]["error"], serde_json::Value::Null, "{results:?}");
}
