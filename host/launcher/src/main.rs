//! `cargo demo`: announces the first build and its duration, downloads while cargo compiles, and then becomes the demo.
//!
//! It has no dependencies, so that it builds within a second.
#![forbid(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// The cost of a first build on two idle cores of 2026 (x86-64); `host/bench/README.md` has the measurement.
const FIRST_BUILD: &str = "about 590 crates, which takes about 15 minutes on two idle cores";

/// The binary of the demo.
const BINARY: &str = "hotshoe-demo";
const FETCH: &str = "hotshoe-fetch";

fn main() -> ExitCode {
    match launch() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: cannot start cargo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn launch() -> io::Result<ExitCode> {
    let built = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.to_owned()));
    if !built
        .as_deref()
        .is_some_and(|folder| folder.join(BINARY).exists())
    {
        eprintln!(
            "Hotshoe: the first run compiles {FIRST_BUILD}. Models, pictures, ONNX Runtime and the WebAssembly toolchain are downloaded meanwhile. Later runs start at once."
        );
        if let Some(code) = failed(build(FETCH)?) {
            return Ok(code);
        }
        if let Some(folder) = built {
            fetch(&folder);
        }
        if let Some(code) = failed(build(BINARY)?) {
            return Ok(code);
        }
    }
    // The demo replaces this process, so that signals and the exit code are its own.
    Err(cargo(&["run", "--quiet", "--bin", BINARY, "--"])
        .args(std::env::args_os().skip(1))
        .exec())
}

/// Starts the download. Its output is discarded, because it would mix with cargo's; the demo waits for its lock and reports what is missing.
fn fetch(folder: &Path) {
    let started = Command::new(folder.join(FETCH))
        .arg(root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        eprintln!("warning: cannot start {FETCH}: {error}; models are downloaded after the build");
    }
}

fn build(binary: &str) -> io::Result<Option<i32>> {
    cargo(&["build", "--bin", binary])
        .status()
        .map(|status| status.code())
}

/// The exit code of a failed build; none if it succeeded.
fn failed(code: Option<i32>) -> Option<ExitCode> {
    (code != Some(0))
        .then(|| ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// A cargo command on the whole workspace, whatever the current folder, so that all builds use the same features.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Before `--`, which ends cargo's own arguments.
    let (first, rest) = arguments.split_at(1);
    command
        .args(first)
        .arg("--manifest-path")
        .arg(root().join("Cargo.toml"))
        .args(rest);
    command
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
