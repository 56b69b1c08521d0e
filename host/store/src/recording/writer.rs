use std::fs;
use std::path::{Path, PathBuf};

use hotshoe_base::disk::Disk;
use hotshoe_sealing::AtRest;
use hotshoe_trust::Blob;

use super::{Manifest, RECORDING_FILE, RecordedEntry, RecordedPart, RecordingError, RecordingHead};
use crate::blob_error::BlobError;

/// `recording.json` is rewritten when this fraction of its entries is new: a 16th. Rewriting it for each entry would be quadratic.
const NEW_PART: usize = 16;

/// Writes a recording entry by entry. The folder is a valid recording at any time, but may lack up to the newest 16th of the entries
/// until [`Self::finish`].
#[derive(Debug)]
pub struct RecordingWriter {
    folder: PathBuf,
    at_rest: AtRest,
    manifest: Manifest,
    /// Entries that `recording.json` has.
    saved: usize,
}

impl RecordingWriter {
    /// Begins a recording in a folder without one.
    ///
    /// # Errors
    /// [`RecordingError::Exists`], [`RecordingError::Write`].
    pub fn create(folder: &Path, head: RecordingHead) -> Result<Self, RecordingError> {
        Self::create_at_rest(folder, head, AtRest::plain())
    }

    /// [`Self::create`], with files that may be sealed.
    ///
    /// # Errors
    /// The same.
    pub fn create_at_rest(
        folder: &Path,
        head: RecordingHead,
        at_rest: AtRest,
    ) -> Result<Self, RecordingError> {
        if folder.join(RECORDING_FILE).exists() {
            return Err(RecordingError::Exists {
                folder: folder.to_owned(),
            });
        }
        make(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            at_rest,
            manifest: Manifest {
                head,
                entries: Vec::new(),
            },
            saved: 0,
        })
    }

    /// Number of entries.
    pub const fn len(&self) -> usize {
        self.manifest.entries.len()
    }

    /// Whether it has no entries.
    pub const fn is_empty(&self) -> bool {
        self.manifest.entries.is_empty()
    }

    /// Adds a sample with its files, which are named by its number. `ending` is the file extension of the sample.
    ///
    /// # Errors
    /// [`RecordingError::Write`]; the entry is not in the recording then.
    pub fn add(
        &mut self,
        mut entry: RecordedEntry,
        ending: &str,
        parts: &[(RecordedPart, Vec<u8>)],
    ) -> Result<(), RecordingError> {
        let number = self.len();
        for (part, bytes) in parts {
            let ending = match part {
                RecordedPart::Sample => ending,
                RecordedPart::Insight => "json",
                RecordedPart::Tensors | RecordedPart::Outputs | RecordedPart::Input(_) => "npz",
            };
            let folder = part.folder();
            make(&self.folder.join(&folder))?;
            let mut name = format!("{}/{number:04}.{ending}", folder.display());
            // A model may run several times for one sample.
            let mut again = 1;
            while entry.files.contains_key(&name) {
                again += 1;
                name = format!("{}/{number:04}-{again}.{ending}", folder.display());
            }
            write(&self.at_rest, &self.folder.join(&name), bytes)?;
            entry.files.insert(name, Blob::of(bytes));
        }
        self.manifest.entries.push(entry);
        let new = self.len().saturating_sub(self.saved);
        if new.saturating_mul(NEW_PART) < self.len() {
            return Ok(());
        }
        let written = self.finish();
        if written.is_err() {
            self.manifest.entries.pop();
        }
        written
    }

    /// Writes the entries that `recording.json` lacks. Call it at the end of a recording, also after an error.
    ///
    /// # Errors
    /// [`RecordingError::Write`].
    pub fn finish(&mut self) -> Result<(), RecordingError> {
        if self.saved < self.len() {
            self.write_manifest()?;
            self.saved = self.len();
        }
        Ok(())
    }

    fn write_manifest(&self) -> Result<(), RecordingError> {
        let path = self.folder.join(RECORDING_FILE);
        let text =
            serde_json::to_vec_pretty(&self.manifest).map_err(|source| RecordingError::Json {
                path: path.clone(),
                source: source.into(),
            })?;
        write(&self.at_rest, &path, &text)
    }
}

fn make(folder: &Path) -> Result<(), RecordingError> {
    fs::create_dir_all(folder)
        .map_err(BlobError::write(folder))
        .map_err(|source| RecordingError::Write(Box::new(source)))
}

fn write(at_rest: &AtRest, path: &Path, bytes: &[u8]) -> Result<(), RecordingError> {
    // People hand recordings on.
    at_rest
        .replace(&Disk::shared(), path, bytes)
        .map_err(BlobError::write(path))
        .map_err(|source| RecordingError::Write(Box::new(source)))
}

/// Writes a file that is not sealed, in a folder that may be missing.
pub(super) fn write_plain(path: &Path, bytes: &[u8]) -> Result<(), RecordingError> {
    make(hotshoe_base::disk::parent(path))?;
    write(&AtRest::plain(), path, bytes)
}
