//! A Rust toolchain that can build for `wasm32-unknown-unknown`: the one that is there, else rustup's, else Debian's.
use crate::debian::{self, Debian, DebianError};
use crate::process::{self, CommandError};
use crate::progress::Progress;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

/// What the components are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian's compiler is put, below a folder of tools.
const DEBIAN: &str = "wasm-toolchain";

/// The environment variable that chooses the toolchain: `auto` (the default), `rustup` or `debian`.
pub const SETTING: &str = "HOTSHOE_WASM_TOOLCHAIN";

/// Which ways to a toolchain may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// What is installed, else rustup, else Debian's packages.
    Auto,
    /// What is installed, else rustup.
    Rustup,
    /// Debian's packages, even where the target is installed.
    Debian,
}

impl Setting {
    /// Reads [`SETTING`].
    pub fn from_environment() -> Result<Self, ToolchainError> {
        Self::parse(std::env::var_os(SETTING))
    }

    fn parse(value: Option<OsString>) -> Result<Self, ToolchainError> {
        let Some(value) = value else {
            return Ok(Self::Auto);
        };
        match value.to_str() {
            Some("" | "auto") => Ok(Self::Auto),
            Some("rustup") => Ok(Self::Rustup),
            Some("debian") => Ok(Self::Debian),
            _ => Err(ToolchainError::Setting(value)),
        }
    }
}

/// Why there is no toolchain.
#[derive(Debug, Error)]
pub enum ToolchainError {
    /// [`SETTING`] has another value than those that are known.
    #[error("{SETTING} is {0:?}; it may be auto, rustup or debian")]
    Setting(OsString),
    /// rustc itself does not run.
    #[error("rustc does not run")]
    Rustc(#[source] CommandError),
    /// rustup could not add the target, and nothing else was to be tried.
    #[error("rustup could not add the target {target}{}", instead(target))]
    Rustup {
        /// The target.
        target: &'static str,
        /// What rustup said.
        #[source]
        source: CommandError,
    },
    /// rustup says that it added the target, yet rustc has no standard library for it.
    #[error(
        "rustc has no standard library for {0} although rustup added it; is rustc another one than rustup's?"
    )]
    NotAdded(&'static str),
    /// Neither rustup nor Debian's packages served.
    #[error(
        "rustup could not add the target {TARGET} ({rustup}), and Debian's packages could not be used either"
    )]
    Neither {
        /// Why rustup could not.
        rustup: String,
        /// Why Debian's packages could not be used.
        #[source]
        debian: DebianError,
    },
    /// Debian's packages were asked for and could not be used.
    #[error("Debian's packages cannot be used")]
    Debian(#[source] DebianError),
}

/// A toolchain for [`TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The `cargo` and `rustc` on the path have the target.
    Ordinary,
    /// Debian's `rustc` in a folder of its own, with the standard library built from source.
    Debian(Debian),
}

impl Toolchain {
    /// The toolchain that is there: nothing is fetched.
    pub fn find(tools: &Path, setting: Setting) -> Result<Option<Self>, ToolchainError> {
        if setting != Setting::Debian && has_target(TARGET)? {
            return Ok(Some(Self::Ordinary));
        }
        if setting == Setting::Rustup {
            return Ok(None);
        }
        Ok(debian::find(&tools.join(DEBIAN)).map(Self::Debian))
    }

    /// Finds a toolchain or installs one, Debian's below the folder `tools`, and says what it did.
    pub fn find_or_install(
        tools: &Path,
        setting: Setting,
        progress: &Progress,
    ) -> Result<Self, ToolchainError> {
        if let Some(found) = Self::find(tools, setting)? {
            return Ok(found);
        }
        let folder = tools.join(DEBIAN);
        if setting == Setting::Debian {
            return debian::install(&folder, progress)
                .map(Self::Debian)
                .map_err(ToolchainError::Debian);
        }
        match add_with_rustup(TARGET, progress) {
            Ok(()) => Ok(Self::Ordinary),
            Err(error) if setting == Setting::Rustup => Err(error),
            Err(error) => {
                let rustup = first_line(&error);
                progress.say(&format!(
                    "{rustup}; taking Debian's packages for WebAssembly instead"
                ));
                debian::install(&folder, progress)
                    .map(Self::Debian)
                    .map_err(|debian| ToolchainError::Neither { rustup, debian })
            }
        }
    }

    /// `cargo` set up to build with this toolchain, with no trace of an outer cargo in its environment.
    pub fn cargo(&self) -> Command {
        let mut command = process::clean("cargo");
        command.args(["build", "--release", "--target", TARGET]);
        if let Self::Debian(debian) = self {
            debian.apply(&mut command);
        }
        command
    }

    /// One word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ordinary => "rustup",
            Self::Debian(_) => "debian",
        }
    }
}

/// Adds a target to the toolchain on the path.
pub fn add_with_rustup(target: &'static str, progress: &Progress) -> Result<(), ToolchainError> {
    let task = progress.spinner(&format!("adding the Rust target {target} with rustup"));
    let mut command = process::clean("rustup");
    command.args(["target", "add", target]);
    process::run(&mut command, "install Rust with rustup", |line| {
        task.detail(line)
    })
    .map_err(|source| ToolchainError::Rustup { target, source })?;
    if !has_target(target)? {
        return Err(ToolchainError::NotAdded(target));
    }
    task.done("added");
    Ok(())
}

/// Does the `rustc` on the path have a standard library for the target?
pub fn has_target(target: &str) -> Result<bool, ToolchainError> {
    let folder =
        rustc(&["--print", "target-libdir", "--target", target]).map_err(ToolchainError::Rustc)?;
    Ok(std::fs::read_dir(folder.trim()).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    }))
}

fn rustc(arguments: &[&str]) -> Result<String, CommandError> {
    let mut command = process::clean("rustc");
    command.args(arguments);
    process::run(&mut command, "install Rust with rustup", |_| {})
}

/// The linker for WebAssembly that comes with the `rustc` on the path.
pub(crate) fn rust_lld() -> Result<PathBuf, CommandError> {
    let folder = rustc(&["--print", "target-libdir"])?;
    let target = Path::new(folder.trim()).parent().unwrap_or(Path::new(""));
    Ok(target.join("bin").join("rust-lld"))
}

/// What to do where rustup cannot: Debian has a compiler for the one target.
fn instead(target: &str) -> String {
    if target == TARGET {
        format!("; {SETTING}=debian takes Debian's packages instead")
    } else {
        String::new()
    }
}

fn first_line(error: &ToolchainError) -> String {
    match error {
        ToolchainError::Rustup { source, .. } => {
            let text = source.to_string();
            let line = text
                .lines()
                .find(|line| line.starts_with("error"))
                .or(text.lines().next())
                .unwrap_or_default();
            format!("rustup cannot add {TARGET} ({line})")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_setting_is_one_of_three_words() {
        let parse = |text: &str| Setting::parse(Some(OsString::from(text)));
        assert_eq!(Setting::parse(None).unwrap(), Setting::Auto);
        assert_eq!(parse("").unwrap(), Setting::Auto);
        assert_eq!(parse("rustup").unwrap(), Setting::Rustup);
        assert_eq!(parse("debian").unwrap(), Setting::Debian);
        assert!(
            parse("Debian")
                .unwrap_err()
                .to_string()
                .contains("auto, rustup or debian")
        );
    }
}
