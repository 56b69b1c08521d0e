use std::error::Error;
use std::path::PathBuf;

use hotshoe_base::format::NewerFormat;

use super::{MAX_RECORDED, RECORDING_FILE};
use crate::blob_error::BlobError;

/// Why a recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It is not a recording, or cannot be read.
    #[error("{} is not a readable recording: it needs the {RECORDING_FILE} that `hotshoe record` writes", folder.display())]
    Read {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: BlobError,
    },
    /// Its `recording.json` is not valid.
    #[error("{} cannot be read; record again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A newer version of Hotshoe recorded it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// No version of Hotshoe wrote this format.
    #[error("{} has format {found}, which does not exist; record again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format.
        found: u32,
    },
    /// It has too many entries.
    #[error("{} has more than {MAX_RECORDED} entries", path.display())]
    TooMany {
        /// The file.
        path: PathBuf,
    },
    /// It names a file outside of its folders.
    #[error("{} names the file `{file}`, which is outside of its folders", path.display())]
    Path {
        /// The `recording.json`.
        path: PathBuf,
        /// The file.
        file: String,
    },
    /// A file cannot be read.
    #[error("a file of the recording cannot be read")]
    File(#[source] Box<BlobError>),
    /// A file was changed after recording.
    #[error("{} is damaged: it differs from the recorded digest; record again, or remove its entry from {RECORDING_FILE}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The folder already has a recording.
    #[error("{} already has a recording; use another folder", folder.display())]
    Exists {
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be written.
    #[error("the recording cannot be written")]
    Write(#[source] Box<BlobError>),
}

impl RecordingError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read {
                source: BlobError::LinkLeadsOut { .. },
                ..
            } => "link_leads_out",
            Self::Read {
                source: source @ BlobError::Sealed { .. },
                ..
            } => source.name(),
            Self::Read { .. } => "no_recording",
            Self::Json { .. } | Self::Format { .. } | Self::TooMany { .. } | Self::Path { .. } => {
                "invalid_recording"
            }
            Self::File(source) | Self::Write(source) => source.name(),
            Self::Newer(error) => error.name(),
            Self::Damaged { .. } => "damaged_recording",
            Self::Exists { .. } => "recording_exists",
        }
    }
}
