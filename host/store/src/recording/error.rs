use std::error::Error;
use std::path::PathBuf;

use super::{MAX_RECORDED, RECORDING_FILE};
use crate::blob_error::BlobError;

/// Why a recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It is no recording, or cannot be read.
    #[error("{} is no recording that can be read: `hotshoe record` writes a {RECORDING_FILE} there", folder.display())]
    Read {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: BlobError,
    },
    /// Its `recording.json` is not what it should be.
    #[error("{} cannot be read; record again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It has a format of another version of Hotshoe.
    #[error("{} has format {found}, which this version does not know; use the one that recorded it", path.display())]
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
    /// It names a file elsewhere.
    #[error("{} names the file `{file}`, which does not lie in one of its folders", path.display())]
    Path {
        /// The `recording.json`.
        path: PathBuf,
        /// The file.
        file: String,
    },
    /// A file cannot be read.
    #[error("a file of the recording cannot be read")]
    File(#[source] Box<BlobError>),
    /// A file is not the one that was recorded.
    #[error("{} is damaged: it is not what was recorded; record again, or remove its entry from {RECORDING_FILE}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// There is a recording already.
    #[error("{} holds a recording already; give another folder", folder.display())]
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
            Self::Read { .. } => "no_recording",
            Self::Json { .. } | Self::Format { .. } | Self::TooMany { .. } | Self::Path { .. } => {
                "invalid_recording"
            }
            Self::File(source) | Self::Write(source) => source.name(),
            Self::Damaged { .. } => "damaged_recording",
            Self::Exists { .. } => "recording_exists",
        }
    }
}
