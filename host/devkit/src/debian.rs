//! Debian's Rust compiler, unpacked into a folder: for machines where rustup cannot download the target.
//!
//! It installs nothing and needs no root: packages are downloaded and unpacked, and the standard library is built from source together
//! with the components.
use crate::files;
use crate::process::{self, CommandError};
use crate::progress::Progress;
use crate::rustc;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use thiserror::Error;

const ADVICE: &str = "this needs Debian 12 or later, or a derived system";
/// The packages of the compiler; the names of others follow from their dependencies.
const COMPILER: &str = "rustc-web";
const LIBRARY: &str = "libstd-rust-web-dev";
const SOURCE: &str = "rust-web-src";
/// The folder of our own package index.
const INDEX: &str = "apt";
/// The file that is written last, which marks a complete folder.
const READY: &str = "ready.json";

/// Why Debian's packages could not be used.
#[derive(Debug, Error)]
pub enum DebianError {
    /// apt or dpkg failed or is missing.
    #[error("cannot {what}")]
    Tool {
        /// The action.
        what: String,
        /// The error of the program.
        #[source]
        source: CommandError,
    },
    /// The package index has no such dependency.
    #[error("the package {package} has no dependency {wanted}")]
    NoDependency {
        /// The package.
        package: String,
        /// The prefix of the dependency.
        wanted: &'static str,
    },
    /// A file is missing.
    #[error("{what} is not at {path}")]
    NotFound {
        /// The file.
        what: &'static str,
        /// Its expected path.
        path: PathBuf,
    },
    /// The folder could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// The unpacked compiler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debian {
    /// A script that starts the compiler with its own libraries.
    rustc: PathBuf,
    /// rust-lld, from the toolchain on the path.
    linker: PathBuf,
}

impl Debian {
    /// Makes `cargo build` use this compiler and build the standard library.
    pub(crate) fn apply(&self, cargo: &mut Command) {
        cargo
            .arg("-Zbuild-std=std,panic_abort")
            .env("RUSTC", &self.rustc)
            // A stable compiler builds its standard library only with this variable.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &self.linker);
    }

    fn is_unpacked(&self) -> bool {
        self.rustc.is_file() && self.linker.is_file()
    }
}

/// The complete compiler in the folder, if there is one.
pub(crate) fn find(folder: &Path) -> Option<Debian> {
    let bytes = fs::read(folder.join(READY)).ok()?;
    let known: Debian = serde_json::from_slice(&bytes).ok()?;
    known.is_unpacked().then_some(known)
}

/// Downloads the packages and unpacks them into the folder.
pub(crate) fn install(folder: &Path, progress: &Progress) -> Result<Debian, DebianError> {
    let ready = folder.join(READY);
    // Remove an incomplete earlier attempt.
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(at(folder))?;
    }
    fs::create_dir_all(folder).map_err(at(folder))?;
    let task = progress.spinner("downloading Debian's Rust compiler for WebAssembly");
    let say = |line: &str| task.detail(line);
    let packages = download(folder, &say)?;
    for package in &packages {
        say(&format!("unpacking {}", package.display()));
        let mut command = Command::new("dpkg");
        command.arg("-x").arg(package).arg(folder);
        tool(&mut command, "unpack a package", &say)?;
        fs::remove_file(package).map_err(at(package))?;
    }
    // Our package index is large and no longer needed.
    let index = folder.join(INDEX);
    if index.exists() {
        fs::remove_dir_all(&index).map_err(at(&index))?;
    }
    let debian = assemble(folder)?;
    let version = tool(
        Command::new(&debian.rustc).arg("--version"),
        "start the unpacked compiler",
        &say,
    )?;
    let bytes = serde_json::to_vec_pretty(&debian).unwrap_or_default();
    files::write_whole(&ready, &bytes).map_err(at(&ready))?;
    task.done(&format!(
        "{} in {}; nothing was installed",
        version.trim(),
        folder.display()
    ));
    Ok(debian)
}

/// Downloads the packages and returns their files.
fn download(folder: &Path, say: &dyn Fn(&str)) -> Result<Vec<PathBuf>, DebianError> {
    let apt = Apt::with_an_index(folder, COMPILER, say)?;
    let library = apt.dependency(LIBRARY, "libstd-rust-web-1", say)?;
    let llvm = apt.dependency(&library, "libllvm", say)?;
    let names = [COMPILER, LIBRARY, &library, SOURCE, &llvm];
    say(&format!("downloading {}", names.join(", ")));
    let mut command = apt.command("apt-get");
    command.arg("download").args(names).current_dir(folder);
    tool(&mut command, "download Debian's packages", say)?;
    packages_in(folder)
}

/// Unpacks one of Debian's packages, without its dependencies, into a folder below `target`, unless it exists.
///
/// # Errors
/// [`DebianError`]: apt or dpkg is missing, or there is no such package.
pub fn debian_package(root: &Path, name: &str) -> Result<PathBuf, DebianError> {
    let all = root.join("target").join("fixtures").join("debian");
    let folder = all.join(name);
    fs::create_dir_all(&all).map_err(at(&all))?;
    // Several processes may need it at once.
    let lock = all.join("lock");
    let _lock = fs::File::create(&lock)
        .and_then(|file| file.lock().map(|()| file))
        .map_err(at(&lock))?;
    if folder.exists() {
        return Ok(folder);
    }
    let quiet = |_: &str| ();
    let unfinished = tempfile::tempdir_in(&all).map_err(at(&all))?;
    let apt = Apt::with_an_index(unfinished.path(), name, &quiet)?;
    let mut command = apt.command("apt-get");
    command
        .args(["download", name])
        .current_dir(unfinished.path());
    tool(&mut command, "download one of Debian's packages", &quiet)?;
    let unpacked = unfinished.path().join("unpacked");
    for package in packages_in(unfinished.path())? {
        let mut command = Command::new("dpkg");
        command.arg("-x").arg(&package).arg(&unpacked);
        tool(&mut command, "unpack a package", &quiet)?;
    }
    fs::rename(&unpacked, &folder).map_err(at(&folder))?;
    Ok(folder)
}

fn packages_in(folder: &Path) -> Result<Vec<PathBuf>, DebianError> {
    let entries = fs::read_dir(folder).map_err(at(folder))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    Ok(paths.filter(is_package).collect())
}

/// apt, with the machine's package index or, if that is missing or old, with our own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn with_an_index(
        folder: &Path,
        package: &str,
        say: &dyn Fn(&str),
    ) -> Result<Self, DebianError> {
        let machines = Self {
            options: Vec::new(),
        };
        if machines.has_package(package, say)? {
            return Ok(machines);
        }
        say("reading Debian's package index");
        let state = folder.join(INDEX);
        fs::create_dir_all(state.join("lists/partial")).map_err(at(&state))?;
        let ours = Self {
            options: [
                format!("Dir::State={}", state.display()),
                format!("Dir::State::lists={}", state.join("lists").display()),
                format!("Dir::Cache={}", state.display()),
                "Dir::State::status=/var/lib/dpkg/status".to_owned(),
            ]
            .into_iter()
            .flat_map(|option| ["-o".to_owned(), option])
            .collect(),
        };
        tool(
            ours.command("apt-get").arg("update"),
            "read Debian's package index",
            say,
        )?;
        Ok(ours)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // The output is parsed, so it must not be translated.
        command.args(&self.options).env("LC_ALL", "C");
        command
    }

    fn has_package(&self, package: &str, say: &dyn Fn(&str)) -> Result<bool, DebianError> {
        let mut command = self.command("apt-cache");
        command.args(["policy", package]);
        let policy = tool(&mut command, "ask apt for a package", say)?;
        Ok(policy.contains("Candidate:") && !policy.contains("Candidate: (none)"))
    }

    fn dependency(
        &self,
        package: &str,
        wanted: &'static str,
        say: &dyn Fn(&str),
    ) -> Result<String, DebianError> {
        let mut command = self.command("apt-cache");
        command.args(["depends", package]);
        let text = tool(&mut command, "ask apt what a package needs", say)?;
        dependency_in(&text, wanted).ok_or_else(|| DebianError::NoDependency {
            package: package.to_owned(),
            wanted,
        })
    }
}

/// The first dependency with this prefix, in the output of `apt-cache depends`.
fn dependency_in(text: &str, beginning: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.to_ascii_lowercase().starts_with(beginning))
        .map(str::to_owned)
}

/// Finds the files in the unpacked tree and writes the script that starts the compiler.
fn assemble(folder: &Path) -> Result<Debian, DebianError> {
    let found = |what, path: PathBuf| {
        if path.is_file() {
            Ok(path)
        } else {
            Err(DebianError::NotFound { what, path })
        }
    };
    let compiler = found("the compiler", folder.join("usr/bin/rustc"))?;
    let linker = rustc::rust_lld().map_err(|source| DebianError::Tool {
        what: "ask rustc for its folder".to_owned(),
        source,
    })?;
    let linker = found("rust-lld (it comes with rustup's toolchain)", linker)?;
    let libraries = libraries(&folder.join("usr/lib"))?;
    let rustc = folder.join("rustc");
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {} \"$@\"\n",
        quoted(&libraries),
        quoted(&compiler)
    );
    files::write_whole(&rustc, script.as_bytes()).map_err(at(&rustc))?;
    files::make_executable(&rustc).map_err(at(&rustc))?;
    Ok(Debian { rustc, linker })
}

/// The folder of shared libraries, named after the machine (`x86_64-linux-gnu`).
fn libraries(parent: &Path) -> Result<PathBuf, DebianError> {
    let entries = fs::read_dir(parent).map_err(at(parent))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.is_dir() && path.to_string_lossy().ends_with("-linux-gnu"))
        .ok_or_else(|| DebianError::NotFound {
            what: "the folder of shared libraries",
            path: parent.to_owned(),
        })
}

/// A path as one word of a shell script.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

fn tool(command: &mut Command, what: &str, say: &dyn Fn(&str)) -> Result<String, DebianError> {
    process::run(command, ADVICE, |line| say(line)).map_err(|source| DebianError::Tool {
        what: what.to_owned(),
        source,
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> DebianError {
    let path = path.to_owned();
    move |source| DebianError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_versioned_dependency_is_found_by_the_beginning_of_its_name() {
        let text = "libstd-rust-web-dev\n  Depends: gcc\n  Depends: libstd-rust-web-1.96\n  Suggests: libllvm-19\n";
        assert_eq!(
            dependency_in(text, "libstd-rust-web-1").as_deref(),
            Some("libstd-rust-web-1.96")
        );
        assert_eq!(dependency_in(text, "libllvm"), None);
    }

    #[test]
    fn a_quote_in_a_path_stays_one_word() {
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
