//! What a build was made of, so that it is not made again of the same.
use super::{entries, write_changed};
use crate::BuildError;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Folders of a project that hold results, tests or WIT files. Below it they are folders like others.
const NO_SOURCES: [&str; 3] = ["build", "tests", "wit"];
/// Folders that hold no sources wherever they are.
const NEVER_SOURCES: [&str; 2] = ["node_modules", "__pycache__"];
/// Beside a component, what it was made of.
const MADE_OF: &str = "made-of";

/// Everything that a build reads, in short.
pub(in crate::lang) struct Sources(Sha256);

impl Sources {
    /// Beginning with texts: the WIT files, options, versions of tools. This program's own version is always among them.
    pub(in crate::lang) fn of_texts(texts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for text in [env!("CARGO_PKG_VERSION")].iter().chain(texts) {
            digest.update(text.as_bytes());
            digest.update([0]);
        }
        Self(digest)
    }

    /// And all files below a folder, by name, size and time of change; neither hidden ones nor the results of the project.
    pub(in crate::lang) fn and_folder(
        mut self,
        folder: &Path,
        project: &Path,
    ) -> Result<Self, BuildError> {
        let mut waiting = vec![folder.to_owned()];
        while let Some(folder) = waiting.pop() {
            for path in entries(&folder)? {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let left_out = name.starts_with('.')
                    || NEVER_SOURCES.contains(&name.as_str())
                    || (folder == project && NO_SOURCES.contains(&name.as_str()));
                if left_out {
                    continue;
                }
                match fs::metadata(&path) {
                    Ok(found) if found.is_dir() => waiting.push(path),
                    Ok(found) => self.file(&path, &found),
                    // It went away meanwhile, or is a link to nothing.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(BuildError::io(&path)(error)),
                }
            }
        }
        Ok(self)
    }

    fn file(&mut self, path: &Path, found: &fs::Metadata) {
        let changed = found
            .modified()
            .ok()
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let nanoseconds = changed.map(|since| since.as_nanos()).unwrap_or_default();
        self.0.update(path.to_string_lossy().as_bytes());
        self.0.update(found.len().to_le_bytes());
        self.0.update(nanoseconds.to_le_bytes());
    }

    /// The component that was made of just these, if there is one; else a promise to be kept with [`Unmade::made`].
    pub(in crate::lang) fn component(self, file: &Path) -> Result<Vec<u8>, Unmade> {
        let unmade = Unmade {
            made_of: hex::encode(self.0.finalize()),
            note: file.with_extension(MADE_OF),
        };
        if fs::read_to_string(&unmade.note).is_ok_and(|note| note == unmade.made_of)
            && let Ok(component) = fs::read(file)
        {
            return Ok(component);
        }
        // Half a build must not pass for a whole one.
        let _ = fs::remove_file(&unmade.note);
        Err(unmade)
    }
}

/// A component that is still to be made.
pub(in crate::lang) struct Unmade {
    made_of: String,
    note: PathBuf,
}

impl Unmade {
    /// It has been made.
    pub(in crate::lang) fn made(self) -> Result<(), BuildError> {
        write_changed(&self.note, self.made_of.as_bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn a_component_is_made_again_when_a_source_changes() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("build")).unwrap();
        fs::write(at("component.py"), "1").unwrap();
        let file = at("build/it.wasm");
        let ask = || {
            let sources = Sources::of_texts(&["wit"])
                .and_folder(folder.path(), folder.path())
                .unwrap();
            sources.component(&file)
        };
        let Err(unmade) = ask() else {
            panic!("there is none yet")
        };
        fs::write(&file, b"made").unwrap();
        assert!(ask().is_err());
        unmade.made().unwrap();
        // The second question took the first one's note away, which is only a build more.
        let Err(unmade) = Sources::of_texts(&["other"]).component(&file) else {
            panic!("another WIT")
        };
        unmade.made().unwrap();
        assert_eq!(
            Sources::of_texts(&["other"]).component(&file).ok(),
            Some(b"made".to_vec())
        );
        fs::write(at("component.py"), "12").unwrap();
        assert!(ask().is_err());
        // What is a result in the project is a source in a package.
        ask().err().unwrap().made().unwrap();
        fs::write(at("build/other.wasm"), "1").unwrap();
        assert!(ask().is_ok());
        fs::create_dir_all(at("vendor/package/build")).unwrap();
        fs::write(at("vendor/package/build/x.py"), "1").unwrap();
        assert!(ask().is_err());
    }
}
