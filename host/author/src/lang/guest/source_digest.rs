//! A digest of a build's inputs, so that it is not repeated for the same inputs.
use super::{entries, write_changed};
use crate::BuildError;
use sha2::{Digest, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Folders without sources, at the top of a project.
const NO_SOURCES: [&str; 3] = ["build", "tests", "wit"];
/// Folders without sources, at any depth.
const NEVER_SOURCES: [&str; 2] = ["node_modules", "__pycache__"];
/// The extension of the file with the digest, beside a component.
const MADE_OF: &str = "made-of";

/// A digest of everything that a build reads.
pub(in crate::lang) struct SourceDigest(Sha256);

impl SourceDigest {
    /// A digest of texts: the WIT files, options, versions of tools. Always includes this program's version.
    pub(in crate::lang) fn of_texts(texts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for text in [env!("CARGO_PKG_VERSION")].iter().chain(texts) {
            digest.update(text.as_bytes());
            digest.update([0]);
        }
        Self(digest)
    }

    /// Adds all files below a folder, by name, size and modification time, except hidden files and build output.
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
                    // it was removed in the meantime, or is a dangling link.
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

    /// The component that was built from the same inputs, if there is one; otherwise a [`PendingBuild`].
    pub(in crate::lang) fn component(self, file: &Path) -> Result<Vec<u8>, PendingBuild> {
        let pending = PendingBuild {
            made_of: hex::encode(self.0.finalize()),
            note: file.with_extension(MADE_OF),
        };
        if fs::read_to_string(&pending.note).is_ok_and(|note| note == pending.made_of)
            && let Ok(component) = fs::read(file)
        {
            return Ok(component);
        }
        // An incomplete build must not count as complete.
        let _ = fs::remove_file(&pending.note);
        Err(pending)
    }
}

/// A build that is not complete yet.
pub(in crate::lang) struct PendingBuild {
    made_of: String,
    note: PathBuf,
}

impl PendingBuild {
    /// Records that the build is complete.
    pub(in crate::lang) fn complete(self) -> Result<(), BuildError> {
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
            let sources = SourceDigest::of_texts(&["wit"])
                .and_folder(folder.path(), folder.path())
                .unwrap();
            sources.component(&file)
        };
        let Err(pending) = ask() else {
            panic!("nothing is built yet")
        };
        fs::write(&file, b"made").unwrap();
        assert!(ask().is_err());
        pending.complete().unwrap();
        // The second question removed the first one's record, which only causes another build.
        let Err(pending) = SourceDigest::of_texts(&["other"]).component(&file) else {
            panic!("another WIT")
        };
        pending.complete().unwrap();
        assert_eq!(
            SourceDigest::of_texts(&["other"]).component(&file).ok(),
            Some(b"made".to_vec())
        );
        fs::write(at("component.py"), "12").unwrap();
        assert!(ask().is_err());
        // A folder `build` is output in the project, but a source in a package.
        ask().err().unwrap().complete().unwrap();
        fs::write(at("build/other.wasm"), "1").unwrap();
        assert!(ask().is_ok());
        fs::create_dir_all(at("vendor/package/build")).unwrap();
        fs::write(at("vendor/package/build/x.py"), "1").unwrap();
        assert!(ask().is_err());
    }
}
