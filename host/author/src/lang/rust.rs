//! Rust: cargo, and the encoder for targets without component support.
use super::encode::encode;
use crate::{BuildError, Project, RustTarget, ToolError, Tools};
use hotshoe_devkit::toolchain::{self, TARGET, Toolchain, ToolchainChoice};
use hotshoe_devkit::{CommandError, Progress, Task, guests, process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const WASIP2: &str = "wasm32-wasip2";
/// The approximate size of rustup's download for a target.
const TARGET_BYTES: u64 = 25_000_000;
const RUSTUP: &str = "install Rust with rustup";

pub(crate) fn build(
    project: &Project,
    tools: &Tools,
    progress: &Progress,
) -> Result<Vec<u8>, BuildError> {
    let (toolchain, target) = match project.target {
        RustTarget::Unknown => (unknown(tools, progress)?, TARGET),
        RustTarget::Wasip2 => (wasip2(tools, progress)?, WASIP2),
    };
    let task = progress.spinner(&format!("compiling {}", project.name));
    let target_dir = target_dir(project, &toolchain, tools)?;
    // Another project may have a package of the same name in the same target folder, and overwrite the module before it is read.
    let _lock = lock(&target_dir)?;
    let module = compile(project, &toolchain, target, &target_dir, &task)?;
    let bytes = fs::read(&module).map_err(BuildError::io(&module))?;
    if target == WASIP2 {
        return Ok(bytes);
    }
    encode(&bytes)
}

/// The toolchain for [`TARGET`], downloaded after consent.
fn unknown(tools: &Tools, progress: &Progress) -> Result<Toolchain, ToolError> {
    let choice = ToolchainChoice::from_environment()?;
    if let Some(found) = Toolchain::find(tools.folder(), choice)? {
        return Ok(found);
    }
    tools.agree(&format!("the Rust target {TARGET}"), TARGET_BYTES)?;
    // Another process may have installed it while this one waited for the lock.
    let _lock = tools.lock()?;
    Ok(Toolchain::find_or_install(
        tools.folder(),
        choice,
        progress,
    )?)
}

/// The toolchain on the path, with [`WASIP2`].
fn wasip2(tools: &Tools, progress: &Progress) -> Result<Toolchain, ToolError> {
    if !toolchain::has_target(WASIP2)? {
        tools.agree(&format!("the Rust target {WASIP2}"), TARGET_BYTES)?;
        let _lock = tools.lock()?;
        // Another process may have added it while this one waited.
        if !toolchain::has_target(WASIP2)? {
            toolchain::add_with_rustup(WASIP2, progress)?;
        }
    }
    Ok(Toolchain::Ordinary)
}

/// Runs cargo. Returns the module of the project's library.
fn compile(
    project: &Project,
    toolchain: &Toolchain,
    target: &str,
    target_dir: &Path,
    task: &Task,
) -> Result<PathBuf, BuildError> {
    let cargo = |offline: bool| {
        let mut command = command(toolchain, target);
        command
            .args([
                "--message-format",
                "json-render-diagnostics",
                "--target-dir",
            ])
            .arg(target_dir)
            // Over the profile of the project.
            .envs(
                project
                    .debug
                    .then_some(("CARGO_PROFILE_RELEASE_STRIP", "none")),
            )
            // Cargo reads its configuration from the folder it runs in.
            .current_dir(&project.folder);
        if offline {
            command.arg("--offline");
        }
        process::run(&mut command, RUSTUP, |line| task.detail(line.trim()))
    };
    let messages = match cargo(false) {
        Err(CommandError::Failed { said, .. }) if guests::needs_network(&said) => cargo(true),
        other => other,
    };
    let advice = match &messages {
        Err(CommandError::Failed { said, .. }) if target == TARGET => needs_wasi(said),
        _ => "",
    };
    let what = format!("compile {}{advice}", project.name);
    let messages = messages.map_err(BuildError::compile(what))?;
    let mut modules = guests::modules_in(&messages).into_values();
    match (modules.next(), modules.next()) {
        (Some(module), None) => Ok(module),
        (found, _) => Err(BuildError::Sources {
            what: format!(
                "{} builds {} library for WebAssembly",
                project.folder.join("Cargo.toml").display(),
                if found.is_none() {
                    "no"
                } else {
                    "more than one"
                }
            ),
            advice: "it needs one [lib] with crate-type = [\"cdylib\"]".to_owned(),
        }),
    }
}

/// Advice for a crate that takes random numbers from the system, which there is only with WASI.
fn needs_wasi(said: &str) -> &'static str {
    if said.contains("getrandom") {
        ": the crate getrandom has no random numbers without WASI; build with `--target wasip2` and grant `wasi`, or disable the feature that needs it"
    } else {
        ""
    }
}

fn command(toolchain: &Toolchain, target: &str) -> Command {
    if target == TARGET {
        return toolchain.cargo();
    }
    let mut command = process::clean("cargo");
    command.args(["build", "--release", "--target", target]);
    command
}

/// Locks cargo's folder against other builds, until it is dropped.
fn lock(target_dir: &Path) -> Result<File, BuildError> {
    fs::create_dir_all(target_dir).map_err(BuildError::io(target_dir))?;
    let path = target_dir.join("hotshoe.lock");
    let file = File::create(&path).map_err(BuildError::io(&path))?;
    file.lock().map_err(BuildError::io(&path))?;
    Ok(file)
}

/// Cargo's target folder: CARGO_TARGET_DIR, otherwise a folder of the project.
fn target_dir(
    project: &Project,
    toolchain: &Toolchain,
    tools: &Tools,
) -> Result<PathBuf, BuildError> {
    if let Some(folder) = std::env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()) {
        let folder = Path::new(&folder);
        return std::path::absolute(folder).map_err(BuildError::io(folder));
    }
    Ok(match toolchain {
        Toolchain::Ordinary => project.shared_scratch()?.join("cargo"),
        // Shared by all projects, because it includes the compiled standard library.
        Toolchain::Debian(_) => tools.folder().join("cargo"),
    })
}
