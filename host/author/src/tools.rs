//! Compilers and bundlers of languages, downloaded by package clients into a folder of Hotshoe: pinned by version and digest, and only after
//! consent.
use hotshoe_devkit::process;
use hotshoe_devkit::wheel::{self, BuiltFor, Tree, WheelError};
use hotshoe_devkit::{CommandError, Progress};
use sha2::{Digest, Sha256};
use std::env::consts::{ARCH, OS};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

mod node;

pub use node::{Node, NpmLock};

/// The environment variable that names the folder of tools.
pub const FOLDER: &str = "HOTSHOE_TOOLS";
/// The contents of a wheel, below its folder.
const UNPACKED: &str = "files";
/// The advice if Python is missing, which all downloads with pip need.
const PYTHON: &str = "install Python 3 with pip (Debian: python3 python3-pip)";
/// The oldest Python that the tools' wheels accept.
const OLDEST_PYTHON: (u32, u32) = (3, 9);

/// Whether downloads are allowed.
#[derive(Debug, Clone, Copy)]
pub enum Consent {
    /// All downloads are allowed.
    Given,
    /// Ask the user with this function, which gets the question.
    Ask(fn(&str) -> bool),
    /// Downloads are not allowed.
    NotGiven,
}

/// A package on PyPI, pinned for each supported system.
#[derive(Debug, Clone, Copy)]
pub struct Wheel {
    /// The name on PyPI.
    pub name: &'static str,
    /// The exact version.
    pub version: &'static str,
    /// A short description: `the C compiler`.
    pub what: &'static str,
    /// The files, one per system.
    pub files: &'static [WheelFile],
}

/// The file of a [`Wheel`] for one system.
#[derive(Debug, Clone, Copy)]
pub struct WheelFile {
    /// The operating system, as in [`std::env::consts::OS`].
    pub os: &'static str,
    /// The architecture, as in [`std::env::consts::ARCH`].
    pub arch: &'static str,
    /// The compatibility tags, for pip.
    pub built_for: Option<BuiltFor>,
    /// The size in bytes.
    pub size: u64,
    /// The SHA-256, in lower-case hexadecimal.
    pub sha256: &'static str,
}

impl WheelFile {
    /// A file of programs, which do not depend on the version of Python.
    pub const fn of_programs(
        os: &'static str,
        arch: &'static str,
        platform: &'static str,
        size: u64,
        sha256: &'static str,
    ) -> Self {
        let built_for = BuiltFor {
            python: "3.11",
            abi: "none",
            platform,
        };
        Self {
            os,
            arch,
            built_for: Some(built_for),
            size,
            sha256,
        }
    }
}

/// Why a tool is not available.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It must be downloaded, without consent.
    #[error("{what} ({size}) is missing; add --yes to download it into {folder}")]
    NotAllowed {
        /// The tool, with its version.
        what: String,
        /// The size of the download.
        size: String,
        /// The folder of tools.
        folder: PathBuf,
    },
    /// The tool is not available for this system.
    #[error("there is no {what} for {OS} on {ARCH}; {advice}")]
    NoneForThisSystem {
        /// The tool.
        what: String,
        /// What to do instead.
        advice: String,
    },
    /// A wheel could not be downloaded.
    #[error("cannot get {what}")]
    Wheel {
        /// The tool, with its version.
        what: String,
        /// Why.
        #[source]
        source: WheelError,
    },
    /// Another package client failed.
    #[error("cannot get {what}")]
    Client {
        /// The tool, with its version.
        what: String,
        /// Why.
        #[source]
        source: CommandError,
    },
    /// A prerequisite is missing or too old.
    #[error("{what}; {advice}")]
    Missing {
        /// The problem.
        what: String,
        /// What to do.
        advice: String,
    },
    /// There is no toolchain for Rust.
    #[error("cannot get a Rust toolchain for WebAssembly")]
    Rust(#[from] hotshoe_devkit::toolchain::ToolchainError),
    /// The folder of tools could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// There is no home folder for tools.
    #[error("there is no folder for tools; set {FOLDER}")]
    NoHome,
}

impl ToolError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotAllowed { .. } => "tool_not_allowed",
            Self::NoneForThisSystem { .. } => "tool_unsupported_system",
            Self::Wheel { .. } | Self::Client { .. } => "tool_not_fetched",
            Self::Missing { .. } | Self::Rust(_) => "tool_missing",
            Self::Io { .. } => "io",
            Self::NoHome => "no_tools_folder",
        }
    }
}

/// The folder of tools, and whether downloads into it are allowed.
#[derive(Debug, Clone)]
pub struct Tools {
    folder: PathBuf,
    consent: Consent,
    progress: Progress,
}

impl Tools {
    /// The user's folder of tools: `$HOTSHOE_TOOLS`, or `$XDG_CACHE_HOME/hotshoe/tools`, or `~/.cache/hotshoe/tools`.
    pub fn of_person(consent: Consent, progress: &Progress) -> Result<Self, ToolError> {
        let folder = folder_from(|name| std::env::var_os(name)).ok_or(ToolError::NoHome)?;
        Ok(Self::at(&folder, consent, progress))
    }

    /// Tools in the given folder.
    pub fn at(folder: &Path, consent: Consent, progress: &Progress) -> Self {
        Self {
            folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
            consent,
            progress: progress.clone(),
        }
    }

    /// The folder of tools.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of an unpacked wheel, downloaded if missing: `folder.join("ziglang/zig")`.
    pub fn wheel(&self, wheel: &Wheel) -> Result<PathBuf, ToolError> {
        let label = format!("{} {}", wheel.name, wheel.version);
        let what = format!("{}, {label}", wheel.what);
        let file = wheel
            .files
            .iter()
            .find(|file| (file.os, file.arch) == (OS, ARCH))
            .ok_or_else(|| ToolError::NoneForThisSystem {
                what: label.clone(),
                advice: "build on another system; the component runs everywhere".to_owned(),
            })?;
        let pinned = wheel::Wheel {
            project: wheel.name,
            version: wheel.version,
            size: file.size,
            sha256: file.sha256,
            built_for: file.built_for,
            members: &[],
            tree: Some(Tree {
                path: "",
                to: UNPACKED,
            }),
        };
        let folder = self
            .folder
            .join(format!("{}-{}", wheel.name, wheel.version));
        let is_there = || pinned.missing(&folder).is_empty();
        if !is_there() {
            self.agree(&what, file.size)?;
            let _lock = self.lock()?;
            // Another process may have downloaded it while this one waited.
            if !is_there() {
                pinned
                    .fetch(&folder, &self.progress)
                    .map_err(|source| ToolError::Wheel {
                        what: label,
                        source,
                    })?;
            }
        }
        Ok(folder.join(UNPACKED))
    }

    /// The Python on the path that runs tools.
    pub fn python(&self) -> Result<PathBuf, ToolError> {
        let ask = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)";
        let mut command = Command::new("python3");
        command.args(["-c", ask]);
        let missing = |what: String| ToolError::Missing {
            what,
            advice: PYTHON.to_owned(),
        };
        let said = process::run(&mut command, PYTHON, |_| {})
            .map_err(|error| missing(format!("there is no Python: {error}")))?;
        let mut words = said.trim().splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
        let version = number().zip(number()).unwrap_or_default();
        if version < OLDEST_PYTHON {
            return Err(missing(format!("Python is too old: {said}")));
        }
        Ok(words.next().map_or_else(|| "python3".into(), PathBuf::from))
    }

    /// Checks that a download of this size is allowed, and asks the user if needed.
    pub fn agree(&self, what: &str, bytes: u64) -> Result<(), ToolError> {
        let size = megabytes(bytes);
        let agreed = match self.consent {
            Consent::Given => true,
            Consent::NotGiven => false,
            Consent::Ask(ask) => ask(&format!(
                "This needs {what} ({size}). Download it into {}?",
                self.folder.display()
            )),
        };
        if agreed {
            return Ok(());
        }
        Err(ToolError::NotAllowed {
            what: what.to_owned(),
            size,
            folder: self.folder.clone(),
        })
    }

    /// Locks the folder against downloads of other processes, until it is dropped.
    pub(crate) fn lock(&self) -> Result<File, ToolError> {
        let path = self.folder.join("fetch.lock");
        fs::create_dir_all(&self.folder).map_err(at(&self.folder))?;
        let file = File::create(&path).map_err(at(&path))?;
        file.lock().map_err(at(&path))?;
        Ok(file)
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> ToolError {
    let path = path.to_owned();
    move |source| ToolError::Io { path, source }
}

fn folder_from(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(folder) = set(FOLDER) {
        return Some(folder.into());
    }
    let cache = set("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(set("HOME")?).join(".cache")))?;
    Some(cache.join("hotshoe").join("tools"))
}

/// The first bytes of a digest, for the name of a folder.
fn short_digest(text: &str) -> String {
    hex::encode(Sha256::digest(text)).chars().take(12).collect()
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const NOTHING: Wheel = Wheel {
        name: "no-such-package",
        version: "1",
        what: "a test compiler",
        files: &[WheelFile {
            os: OS,
            arch: ARCH,
            built_for: None,
            size: 12_345_678,
            sha256: "0",
        }],
    };

    #[test]
    fn nothing_is_downloaded_without_consent() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |consent| {
            Tools::at(folder.path(), consent, &Progress::silent())
                .wheel(&NOTHING)
                .unwrap_err()
                .to_string()
        };
        let text = refused(Consent::NotGiven);
        assert!(
            text.contains("a test compiler, no-such-package 1 (12.3 MB)"),
            "{text}"
        );
        assert!(text.contains("--yes"), "{text}");
        assert_eq!(refused(Consent::Ask(|_| false)), text);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_unsupported_system_is_reported_before_consent_is_asked() {
        let wheel = Wheel {
            files: &[],
            ..NOTHING
        };
        let tools = Tools::at(Path::new("nowhere"), Consent::NotGiven, &Progress::silent());
        let error = tools.wheel(&wheel).unwrap_err();
        assert!(
            matches!(error, ToolError::NoneForThisSystem { .. }),
            "{error}"
        );
    }

    #[test]
    fn the_folder_follows_the_environment() {
        let with = |set: &[(&str, &str)]| {
            folder_from(|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            })
        };
        let home = ("HOME", "/home/me");
        assert_eq!(
            with(&[home]).unwrap(),
            Path::new("/home/me/.cache/hotshoe/tools")
        );
        assert_eq!(
            with(&[home, ("XDG_CACHE_HOME", "/c")]).unwrap(),
            Path::new("/c/hotshoe/tools")
        );
        assert_eq!(with(&[home, (FOLDER, "/t")]).unwrap(), Path::new("/t"));
        assert_eq!(with(&[]), None);
    }
}
