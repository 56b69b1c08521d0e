//! Recordings: the inputs and results of a device, as a folder that can be replayed.
//!
//! `recording.json` names every file with its digest: `samples/0000.png`, `tensors/0000.npz` (what the preprocessor made, with the
//! sample in the member `sample.npy`), `outputs/0000.npz` (what the last model made, likewise), `insights/0000.json`, and
//! `inputs/MODEL/0000.npz` (what each model was given). Files that are not named there are ignored.

mod error;
mod replay;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf};

use hotshoe_base::format::FileFormat;
use hotshoe_sealing::{AtRest, sealed_bytes};
use hotshoe_trust::{Blob, Digest, strict_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::blob_error::{BlobError, read_below};

pub use error::RecordingError;
pub use replay::{NotRecorded, Replay};
pub use writer::RecordingWriter;

/// The file with the list of entries.
pub const RECORDING_FILE: &str = "recording.json";
/// Most entries of a recording.
pub const MAX_RECORDED: u64 = 10_000;
/// Largest file of a recording, in bytes: 256 MiB.
pub const MAX_RECORDED_BYTES: u64 = 256 << 20;
/// Largest `recording.json`, in bytes: 64 MiB.
const MANIFEST_BYTES: u64 = 64 << 20;
/// The format of `recording.json`.
const FORMAT: FileFormat = FileFormat::new(1, 1);

/// The step from which a recording can be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordStage {
    /// The samples as they arrived.
    Sample,
    /// The tensors of preprocessors as well.
    Pre,
    /// The outputs of models as well.
    Infer,
    /// The insights only.
    Post,
}

impl RecordStage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Sample, Self::Pre, Self::Infer, Self::Post];
}

impl fmt::Display for RecordStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sample => "sample",
            Self::Pre => "pre",
            Self::Infer => "infer",
            Self::Post => "post",
        })
    }
}

/// A kind of file in a recording.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedPart {
    /// The sample as it arrived.
    Sample,
    /// The output of the preprocessor.
    Tensors,
    /// The output of the last model.
    Outputs,
    /// The insight.
    Insight,
    /// The input of one model.
    Input(String),
}

impl RecordedPart {
    /// The folder below the recording's.
    pub fn folder(&self) -> PathBuf {
        match self {
            Self::Sample => "samples".into(),
            Self::Tensors => "tensors".into(),
            Self::Outputs => "outputs".into(),
            Self::Insight => "insights".into(),
            Self::Input(model) => Path::new("inputs").join(model),
        }
    }
}

/// The release that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRelease {
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// The digest of its manifest.
    pub digest: Digest,
}

/// The metadata of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingHead {
    /// Version of the format.
    format: u32,
    /// The site of the device.
    pub site: String,
    /// The device.
    pub device: String,
    /// The release that served.
    pub release: RecordedRelease,
    /// The step from which it can be replayed.
    pub stage: RecordStage,
}

impl RecordingHead {
    /// The metadata of a new recording.
    pub const fn new(
        site: String,
        device: String,
        release: RecordedRelease,
        stage: RecordStage,
    ) -> Self {
        Self {
            format: FORMAT.written(),
            site,
            device,
            release,
            stage,
        }
    }
}

/// One sample with its results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedEntry {
    /// The sample's id.
    pub id: String,
    /// Its media type.
    pub content_type: String,
    /// Its source.
    pub source: String,
    /// When it was taken, in microseconds since 1970-01-01T00:00:00Z.
    pub timestamp: u64,
    /// The actions of the policies, if the insight was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Value>,
    /// Its files, by their paths below the recording's folder.
    #[serde(default)]
    pub files: BTreeMap<String, Blob>,
}

/// `recording.json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    #[serde(flatten)]
    head: RecordingHead,
    entries: Vec<RecordedEntry>,
}

/// A recording on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    folder: PathBuf,
    at_rest: AtRest,
    /// The metadata.
    pub head: RecordingHead,
    /// The samples, in order of arrival.
    pub entries: Vec<RecordedEntry>,
}

impl Recording {
    /// Whether a folder is a recording.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(RECORDING_FILE).is_file()
    }

    /// Opens a recording. Its files are checked when they are read.
    ///
    /// # Errors
    /// [`RecordingError`]
    pub fn open(folder: &Path) -> Result<Self, RecordingError> {
        Self::open_at_rest(folder, &AtRest::plain())
    }

    /// [`Self::open`], with files that may be sealed.
    ///
    /// # Errors
    /// The same.
    pub fn open_at_rest(folder: &Path, at_rest: &AtRest) -> Result<Self, RecordingError> {
        let path = folder.join(RECORDING_FILE);
        let read = read(at_rest, folder, &path, MANIFEST_BYTES);
        let bytes = read.map_err(|source| RecordingError::Read {
            folder: folder.to_owned(),
            source,
        })?;
        FORMAT.check_json(path.display(), &bytes)?;
        let Manifest { head, entries } =
            strict_json::parse(&bytes, MANIFEST_BYTES).map_err(|source| RecordingError::Json {
                path: path.clone(),
                source: source.into(),
            })?;
        if head.format == 0 {
            let found = head.format;
            return Err(RecordingError::Format { path, found });
        }
        if entries.len() as u64 > MAX_RECORDED {
            return Err(RecordingError::TooMany { path });
        }
        let files = entries.iter().flat_map(|entry| entry.files.keys());
        for file in files {
            if !is_below(Path::new(file)) {
                let file = file.clone();
                return Err(RecordingError::Path { path, file });
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            at_rest: at_rest.clone(),
            head,
            entries,
        })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads a file of an entry; `None` if the entry does not have it.
    ///
    /// # Errors
    /// [`RecordingError::File`] and [`RecordingError::Damaged`].
    pub fn read(
        &self,
        entry: &RecordedEntry,
        part: &RecordedPart,
    ) -> Result<Option<Vec<u8>>, RecordingError> {
        match Self::file(entry, part) {
            Some((file, blob)) => self.checked(file, *blob).map(Some),
            None => Ok(None),
        }
    }

    /// The relative path and the digest of a file of an entry.
    pub fn file<'a>(entry: &'a RecordedEntry, part: &RecordedPart) -> Option<(&'a str, &'a Blob)> {
        let folder = part.folder();
        let mut files = entry.files.iter();
        let found = files.find(|(file, _)| Path::new(file).parent() == Some(&folder));
        found.map(|(file, blob)| (file.as_str(), blob))
    }

    /// Checks every file.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn check(&self) -> Result<(), RecordingError> {
        let files = self.entries.iter().flat_map(|entry| &entry.files);
        for (file, blob) in files {
            self.checked(file, *blob)?;
        }
        Ok(())
    }

    /// Copies it to a folder without a recording, with files that are not sealed. Returns how many.
    ///
    /// # Errors
    /// [`RecordingError`]
    pub fn copy_plain(&self, to: &Path) -> Result<usize, RecordingError> {
        if Self::is_at(to) {
            return Err(RecordingError::Exists {
                folder: to.to_owned(),
            });
        }
        let mut copied = 0;
        for (file, blob) in self.entries.iter().flat_map(|entry| &entry.files) {
            writer::write_plain(&to.join(file), &self.checked(file, *blob)?)?;
            copied += 1;
        }
        // Last: a folder without it is not a recording.
        let manifest = Manifest {
            head: self.head.clone(),
            entries: self.entries.clone(),
        };
        let path = to.join(RECORDING_FILE);
        let text = serde_json::to_vec_pretty(&manifest).map_err(|source| RecordingError::Json {
            path: path.clone(),
            source: source.into(),
        })?;
        writer::write_plain(&path, &text)?;
        Ok(copied)
    }

    fn checked(&self, file: &str, blob: Blob) -> Result<Vec<u8>, RecordingError> {
        let path = self.folder.join(file);
        let bytes = read(&self.at_rest, &self.folder, &path, MAX_RECORDED_BYTES)
            .map_err(|source| RecordingError::File(Box::new(source)))?;
        if Blob::of(&bytes) == blob {
            return Ok(bytes);
        }
        Err(RecordingError::Damaged { path })
    }
}

/// The contents of a file below a folder.
fn read(at_rest: &AtRest, folder: &Path, path: &Path, limit: u64) -> Result<Vec<u8>, BlobError> {
    let bytes = read_below(folder, path, sealed_bytes(limit))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let bytes = at_rest.open_bytes(&name, bytes).map_err(io::Error::from);
    let bytes = bytes.map_err(BlobError::read(path))?;
    if bytes.len() as u64 > limit {
        return Err(BlobError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Whether a relative path stays within its folder.
fn is_below(path: &Path) -> bool {
    let mut parts = path.components();
    path.components().count() > 1 && parts.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests;
