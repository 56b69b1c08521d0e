//! A Rust toolchain for `wasm32-unknown-unknown`: the installed one, or rustup's, or Debian's.
use crate::debian::{self, Debian, DebianError};
use crate::process::{self, CommandError};
use crate::progress::Progress;
use crate::rustc;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use thiserror::Error;

/// The target of components.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// The folder of Debian's compiler, below a folder of tools.
const DEBIAN: &str = "wasm-toolchain";

/// The environment variable that chooses the toolchain: `auto` (the default), `rustup` or `debian`.
pub const TOOLCHAIN_VARIABLE: &str = "HOTSHOE_WASM_TOOLCHAIN";

/// The choice of a toolchain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolchainChoice {
    /// The installed one, or rustup's, or Debian's packages.
    Auto,
    /// The installed one, or rustup's.
    Rustup,
    /// Debian's packages, even if the target is installed.
    Debian,
}

impl ToolchainChoice {
    /// Reads [`TOOLCHAIN_VARIABLE`].
    pub fn from_environment() -> Result<Self, ToolchainError> {
        Self::parse(std::env::var_os(TOOLCHAIN_VARIABLE))
    }

    fn parse(value: Option<OsString>) -> Result<Self, ToolchainError> {
        let Some(value) = value else {
            return Ok(Self::Auto);
        };
        match value.to_str() {
            Some("" | "auto") => Ok(Self::Auto),
            Some("rustup") => Ok(Self::Rustup),
            Some("debian") => Ok(Self::Debian),
            _ => Err(ToolchainError::Choice(value)),
        }
    }
}

/// Why there is no toolchain.
#[derive(Debug, Error)]
pub enum ToolchainError {
    /// [`TOOLCHAIN_VARIABLE`] has an unknown value.
    #[error("{TOOLCHAIN_VARIABLE} is {0:?}; expected auto, rustup or debian")]
    Choice(OsString),
    /// rustc itself does not run.
    #[error("rustc does not run")]
    Rustc(#[source] CommandError),
    /// rustup could not add the target, and there is no alternative.
    #[error("rustup could not add the target {target}{}", instead(target))]
    Rustup {
        /// The target.
        target: &'static str,
        /// The error of rustup.
        #[source]
        source: CommandError,
    },
    /// rustup added the target, but rustc has no standard library for it.
    #[error(
        "rustc has no standard library for {0} although rustup added it; check that rustc is rustup's"
    )]
    NotAdded(&'static str),
    /// Neither rustup nor Debian's packages work.
    #[error(
        "rustup could not add the target {TARGET} ({rustup}), and Debian's packages cannot be used either"
    )]
    Neither {
        /// Why rustup failed.
        rustup: String,
        /// Why Debian's packages cannot be used.
        #[source]
        debian: DebianError,
    },
    /// Debian's packages were chosen, and cannot be used.
    #[error("Debian's packages cannot be used")]
    Debian(#[source] DebianError),
}

/// A toolchain for [`TARGET`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The `cargo` and `rustc` on the path have the target.
    Ordinary,
    /// Debian's `rustc` in its own folder, with the standard library built from source.
    Debian(Debian),
}

impl Toolchain {
    /// Finds a toolchain, without downloads.
    pub fn find(tools: &Path, choice: ToolchainChoice) -> Result<Option<Self>, ToolchainError> {
        if choice != ToolchainChoice::Debian && has_target(TARGET)? {
            return Ok(Some(Self::Ordinary));
        }
        if choice == ToolchainChoice::Rustup {
            return Ok(None);
        }
        Ok(debian::find(&tools.join(DEBIAN)).map(Self::Debian))
    }

    /// Finds a toolchain or installs one, Debian's below the folder `tools`.
    pub fn find_or_install(
        tools: &Path,
        choice: ToolchainChoice,
        progress: &Progress,
    ) -> Result<Self, ToolchainError> {
        if let Some(found) = Self::find(tools, choice)? {
            return Ok(found);
        }
        let folder = tools.join(DEBIAN);
        if choice == ToolchainChoice::Debian {
            return debian::install(&folder, progress)
                .map(Self::Debian)
                .map_err(ToolchainError::Debian);
        }
        match add_with_rustup(TARGET, progress) {
            Ok(()) => Ok(Self::Ordinary),
            Err(error) if choice == ToolchainChoice::Rustup => Err(error),
            Err(error) => {
                let rustup = first_line(&error);
                progress.say(&format!(
                    "{rustup}; using Debian's packages for WebAssembly instead"
                ));
                debian::install(&folder, progress)
                    .map(Self::Debian)
                    .map_err(|debian| ToolchainError::Neither { rustup, debian })
            }
        }
    }

    /// A `cargo build` command with this toolchain, without the environment of an outer cargo.
    pub fn cargo(&self) -> Command {
        let mut command = process::clean("cargo");
        command.args(["build", "--release", "--target", TARGET]);
        if let Self::Debian(debian) = self {
            debian.apply(&mut command);
        }
        command
    }

    /// The name of the toolchain.
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

/// Whether the `rustc` on the path has a standard library for the target.
pub fn has_target(target: &str) -> Result<bool, ToolchainError> {
    let folder = rustc::output(&["--print", "target-libdir", "--target", target])
        .map_err(ToolchainError::Rustc)?;
    Ok(std::fs::read_dir(folder.trim()).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
    }))
}

/// The advice if rustup fails; Debian has a compiler for only one target.
fn instead(target: &str) -> String {
    if target == TARGET {
        format!("; set {TOOLCHAIN_VARIABLE}=debian to use Debian's packages instead")
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
    fn the_choice_is_one_of_three_words() {
        let parse = |text: &str| ToolchainChoice::parse(Some(OsString::from(text)));
        assert_eq!(ToolchainChoice::parse(None).unwrap(), ToolchainChoice::Auto);
        assert_eq!(parse("").unwrap(), ToolchainChoice::Auto);
        assert_eq!(parse("rustup").unwrap(), ToolchainChoice::Rustup);
        assert_eq!(parse("debian").unwrap(), ToolchainChoice::Debian);
        assert!(
            parse("Debian")
                .unwrap_err()
                .to_string()
                .contains("auto, rustup or debian")
        );
    }
}
