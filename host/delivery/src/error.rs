//! Why a release could not be fetched.

use hotshoe_link::LinkError;
use hotshoe_store::{BlobError, PartialError};
use hotshoe_trust::{Digest, IndexError, strict_json::JsonError};

use super::MAX_WHOLE_BYTES;

/// Why a release could not be fetched. That nobody has it is none of these: then the fetch waits.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Somebody ended it.
    #[error("the fetch was cancelled")]
    Cancelled,
    /// A large blob has no index of chunks.
    #[error(
        "blob {digest} has {size} bytes and no index of chunks; at most {MAX_WHOLE_BYTES} bytes are sent in one piece: pack the release again with `hotshoe pack`"
    )]
    NotChunked {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
    },
    /// The release's manifest is none.
    #[error("{release} is not the manifest of a release")]
    Manifest {
        /// The release.
        release: Digest,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// More was named than a release may have.
    #[error("the statement gives release {release} more {what} than a release may have")]
    TooLarge {
        /// The release.
        release: Digest,
        /// Of what.
        what: &'static str,
    },
    /// An index of chunks is none.
    #[error("the index of chunks of blob {digest} is not valid")]
    Index {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: IndexError,
    },
    /// A blob could not be read or written.
    #[error("cannot store a fetched blob")]
    Blob(#[from] BlobError),
    /// A blob that is arriving could not be read or written.
    #[error("cannot store a part of a blob")]
    Partial(#[from] PartialError),
    /// Zenoh refused.
    #[error("cannot ask for the release")]
    Link(#[from] LinkError),
    /// No thread could be started.
    #[error("cannot start a thread that checks fetched objects")]
    Thread(#[source] std::io::Error),
}

impl FetchError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::NotChunked { .. } => "not_chunked",
            Self::Manifest { .. } => "bad_manifest",
            Self::TooLarge { .. } => "too_large",
            Self::Index { .. } => "bad_index",
            Self::Blob(error) => error.name(),
            Self::Partial(error) => error.name(),
            Self::Link(_) => "link",
            Self::Thread(_) => "thread",
        }
    }

    /// Whether somebody ended the fetch.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether the release itself is wrong, so that trying again is of no use.
    pub const fn is_permanent(&self) -> bool {
        matches!(
            self,
            Self::NotChunked { .. }
                | Self::Manifest { .. }
                | Self::TooLarge { .. }
                | Self::Index { .. }
                | Self::Blob(BlobError::Index { .. })
                | Self::Partial(PartialError::WrongBlob { .. })
        )
    }
}
