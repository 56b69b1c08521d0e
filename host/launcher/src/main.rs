//! `cargo demo`: says what the first build does and how long it takes, fetches while cargo compiles, and then becomes the demo.
//!
//! It has no dependencies, so that it is there within a second.
#![forbid(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What a first build costs on two idle cores of 2026 (x86-64); `host/cli/src/bench/README.md` has the measurement.
const FIRST_BUILD: &str = "about 640 crates, which takes about 25 minutes on two idle cores";

/// The binary, and the one that fetches for it.
const BINARY: &str = "hotshoe";
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
            "Hotshoe: the first run compiles {FIRST_BUILD}. Models, pictures and the WebAssembly toolchain are fetched meanwhile. Later runs start at once."
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
    // From here on this process is the demo: signals and the exit code are its own.
    Err(cargo(&["run", "--quiet", "--bin", BINARY, "--"])
        .args(std::env::args_os().skip(1))
        .exec())
}

/// The demo waits for it by its lock, and reports whatever is still missing then: what this process says would stand between cargo's lines.
fn fetch(folder: &Path) {
    let started = Command::new(folder.join(FETCH))
        .arg(root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Err(error) = started {
        eprintln!(
            "warning: models are fetched after the build: {FETCH} cannot be started: {error}"
        );
    }
}

fn build(binary: &str) -> io::Result<Option<i32>> {
    cargo(&["build", "--bin", binary])
        .status()
        .map(|status| status.code())
}

/// The exit code to end with, where a build failed.
fn failed(code: Option<i32>) -> Option<ExitCode> {
    (code != Some(0))
        .then(|| ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// cargo on the whole workspace, wherever in the checkout it was called: one choice of features, hence one build.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Before a `--` that ends cargo's own arguments.
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
