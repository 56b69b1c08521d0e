//! One pinned Python wheel, downloaded with pip and read as a zip archive.
use crate::files;
use crate::process::{self, CommandError};
use crate::progress::{Progress, Task};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;

/// How often the size of a download is polled.
const POLL: Duration = Duration::from_millis(100);

/// A pinned wheel.
#[derive(Debug, Clone, Copy)]
pub struct Wheel {
    /// Its name in the package index.
    pub project: &'static str,
    /// The exact version.
    pub version: &'static str,
    /// Size in bytes.
    pub size: u64,
    /// In lower-case hexadecimal.
    pub sha256: &'static str,
    /// The interpreter and platform that the wheel was built for, or none if it fits all. They need not match this
    /// machine: only data is read from the wheel.
    pub built_for: Option<BuiltFor>,
    /// The files to extract.
    pub members: &'static [Member],
    /// A folder to extract with all its files.
    pub tree: Option<Tree>,
}

/// The compatibility tags of a wheel for one interpreter.
#[derive(Debug, Clone, Copy)]
pub struct BuiltFor {
    /// For example `3.11`.
    pub python: &'static str,
    /// For example `cp311`, or `none`.
    pub abi: &'static str,
    /// For example `manylinux_2_28_x86_64`.
    pub platform: &'static str,
}

/// A file inside a wheel.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Its path inside the wheel.
    pub path: &'static str,
    /// Its path below the fixtures' folder.
    pub to: &'static str,
    /// Size in bytes.
    pub size: u64,
    /// In lower-case hexadecimal.
    pub sha256: &'static str,
}

/// A folder inside a wheel. The digest of the wheel pins all its files.
#[derive(Debug, Clone, Copy)]
pub struct Tree {
    /// Its path inside the wheel, with a slash at the end.
    pub path: &'static str,
    /// Its path below the fixtures' folder.
    pub to: &'static str,
}

/// The file in an unpacked [`Tree`] with the digest of the wheel that it came from.
const TREE_DIGEST: &str = "wheel.sha256";

/// Why a wheel's files could not be downloaded or extracted.
#[derive(Debug, Error)]
pub enum WheelError {
    /// pip is not installed, or the download failed.
    #[error(
        "cannot download {wheel} with pip; the package registry must be reachable the first time"
    )]
    Download {
        /// Project and version.
        wheel: String,
        /// pip's error.
        #[source]
        source: CommandError,
    },
    /// The content differs from the pinned digest.
    #[error("{wheel} is not the pinned file: sha256 {found}, expected {expected}")]
    OtherContent {
        /// Project and version, or the file inside it.
        wheel: String,
        /// The digest found.
        found: String,
        /// The pinned digest.
        expected: String,
    },
    /// A file could not be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The archive lacks a file or is damaged.
    #[error("cannot read {member} inside {wheel}")]
    Archive {
        /// Project and version.
        wheel: String,
        /// The file inside it.
        member: String,
        /// The archive reader's error.
        #[source]
        source: zip::result::ZipError,
    },
}

impl Wheel {
    fn label(&self) -> String {
        format!("{} {}", self.project, self.version)
    }

    /// The paths below `folder` that are absent or differ from the pinned bytes. A tree that was unpacked completely is
    /// not read again.
    pub fn missing(&self, folder: &Path) -> Vec<&'static str> {
        let members = self
            .members
            .iter()
            .filter(|member| !files::holds(&folder.join(member.to), member.size, member.sha256))
            .map(|member| member.to);
        let tree = self.tree.map(|tree| tree.to).filter(|to| {
            let digest = fs::read_to_string(folder.join(to).join(TREE_DIGEST));
            digest.ok().as_deref() != Some(self.sha256)
        });
        members.chain(tree).collect()
    }

    /// Downloads the wheel into a temporary folder and puts its files below `folder`.
    pub fn fetch(&self, folder: &Path, progress: &Progress) -> Result<(), WheelError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| WheelError::Io { path, source }
        };
        fs::create_dir_all(folder).map_err(io(folder))?;
        let scratch = tempfile::Builder::new()
            .prefix("wheel-")
            .tempdir_in(folder)
            .map_err(io(folder))?;
        let task = progress.bar(&format!("downloading {}", self.label()), self.size);
        self.download(scratch.path(), &task)?;
        let path = only_wheel(scratch.path()).map_err(io(scratch.path()))?;
        let bytes = fs::read(&path).map_err(io(&path))?;
        self.check(&self.label(), &bytes, self.sha256)?;
        for member in self.members {
            self.extract(&path, member, folder)?;
        }
        let mut files = self.members.len();
        if let Some(tree) = self.tree {
            let unpacked = scratch.path().join("tree");
            files += self.unpack(&path, tree, &unpacked)?;
            let place = folder.join(tree.to);
            // Remove the tree of an older pin.
            fs::remove_dir_all(&place).ok();
            fs::rename(&unpacked, &place).map_err(io(&place))?;
        }
        task.done(&format!("{files} files, sha256 as pinned"));
        Ok(())
    }

    /// Writes the files of a tree into the folder `to`, and returns their number.
    fn unpack(&self, wheel: &Path, tree: Tree, to: &Path) -> Result<usize, WheelError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| WheelError::Io { path, source }
        };
        let archive = |source| WheelError::Archive {
            wheel: self.label(),
            member: tree.path.to_owned(),
            source,
        };
        let file = File::open(wheel).map_err(io(wheel))?;
        let mut zip = zip::ZipArchive::new(file).map_err(archive)?;
        let mut files = 0;
        for position in 0..zip.len() {
            let mut entry = zip.by_index(position).map_err(archive)?;
            // The digest of the archive was checked; a path outside the folder would still not belong to the tree.
            let path = entry.enclosed_name();
            let Some(path) =
                path.and_then(|path| Some(to.join(path.strip_prefix(tree.path).ok()?)))
            else {
                continue;
            };
            if entry.is_dir() {
                continue;
            }
            let folder = path.parent().unwrap_or(to);
            fs::create_dir_all(folder).map_err(io(folder))?;
            let mut file = File::create(&path).map_err(io(&path))?;
            io::copy(&mut entry, &mut file).map_err(io(&path))?;
            if entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0) {
                files::make_executable(&path).map_err(io(&path))?;
            }
            files += 1;
        }
        let digest = to.join(TREE_DIGEST);
        fs::write(&digest, self.sha256).map_err(io(&digest))?;
        Ok(files)
    }

    fn download(&self, scratch: &Path, task: &Task) -> Result<(), WheelError> {
        let mut command = self.pip(scratch);
        let done = AtomicBool::new(false);
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    task.at(bytes_below(scratch).min(self.size));
                    std::thread::sleep(POLL);
                }
            });
            let result = process::run(
                &mut command,
                "install Python 3 with pip (Debian: python3 python3-pip)",
                |_| {},
            );
            done.store(true, Ordering::Relaxed);
            result
        });
        result.map(drop).map_err(|source| WheelError::Download {
            wheel: self.label(),
            source: name_missing_pip(source),
        })
    }

    fn pip(&self, scratch: &Path) -> Command {
        let mut command = Command::new("python3");
        command
            .args([
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-input",
                "--no-deps",
            ])
            .args([
                "--disable-pip-version-check",
                "--only-binary=:all:",
                "--dest",
            ])
            .arg(scratch)
            // pip downloads here before it moves the file, so the progress can be observed.
            .env("TMPDIR", scratch)
            // `download` installs nothing, so the rule against installing outside a virtual environment does not apply.
            .env("PIP_REQUIRE_VIRTUALENV", "0");
        if let Some(built_for) = self.built_for {
            command
                .args([
                    "--implementation",
                    "cp",
                    "--python-version",
                    built_for.python,
                ])
                .args(["--abi", built_for.abi, "--platform", built_for.platform]);
        }
        command.arg(format!("{}=={}", self.project, self.version));
        command
    }

    fn extract(&self, wheel: &Path, member: &Member, folder: &Path) -> Result<(), WheelError> {
        let io = |source| WheelError::Io {
            path: wheel.to_owned(),
            source,
        };
        let archive = |source| WheelError::Archive {
            wheel: self.label(),
            member: member.path.to_owned(),
            source,
        };
        let mut zip = zip::ZipArchive::new(File::open(wheel).map_err(io)?).map_err(archive)?;
        let entry = zip.by_name(member.path).map_err(archive)?;
        let mut bytes = Vec::new();
        // One byte more than expected is enough to detect other content.
        entry
            .take(member.size + 1)
            .read_to_end(&mut bytes)
            .map_err(io)?;
        self.check(member.path, &bytes, member.sha256)?;
        let path = folder.join(member.to);
        files::write_whole(&path, &bytes).map_err(|source| WheelError::Io { path, source })
    }

    fn check(&self, what: &str, bytes: &[u8], expected: &str) -> Result<(), WheelError> {
        let found = files::sha256(bytes);
        if found == expected {
            return Ok(());
        }
        Err(WheelError::OtherContent {
            wheel: what.to_owned(),
            found,
            expected: expected.to_owned(),
        })
    }
}

/// Turns the failure of Python without pip into an error that says what to install.
fn name_missing_pip(error: CommandError) -> CommandError {
    match error {
        CommandError::Failed { said, .. } if said.contains("No module named pip") => {
            CommandError::Missing {
                program: "python3 -m pip".to_owned(),
                advice: "install pip (Debian: python3-pip)".to_owned(),
            }
        }
        other => other,
    }
}

fn only_wheel(folder: &Path) -> io::Result<PathBuf> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::NotFound,
        "pip downloaded no wheel",
    ))
}

/// The size of all files below a folder; files that vanish in the meantime are not counted.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() {
                bytes_below(&entry.path())
            } else {
                metadata.len()
            })
        })
        .sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::io::Write;

    const WHEEL: Wheel = Wheel {
        project: "cases",
        version: "1",
        size: 0,
        sha256: "not checked here",
        built_for: None,
        members: &[],
        tree: Some(Tree {
            path: "data/node/",
            to: "cases",
        }),
    };

    #[test]
    fn a_tree_is_unpacked_whole_and_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cases.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        for name in ["data/node/one/model", "data/node/two", "data/other", "more"] {
            zip.start_file(name, options).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        assert_eq!(WHEEL.missing(folder.path()), ["cases"]);
        let to = folder.path().join("cases");
        assert_eq!(WHEEL.unpack(&path, WHEEL.tree.unwrap(), &to).unwrap(), 2);
        let text = fs::read_to_string(to.join("one/model")).unwrap();
        assert_eq!(text, "data/node/one/model");
        assert!(to.join("two").is_file());
        assert!(!folder.path().join("other").exists());
        assert!(WHEEL.missing(folder.path()).is_empty());
    }
}
