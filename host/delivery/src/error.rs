//! Why a release could not be fetched.

use hotshoe_link::LinkError;
use hotshoe_store::{BlobError, PartialError};
use hotshoe_trust::{Digest, IndexError, strict_json::JsonError};

use super::MAX_WHOLE_BYTES;

/// Why a release could not be fetched. A missing source is not an error: the fetch waits for one.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The fetch was cancelled.
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
    /// The bytes of the release are not a manifest.
    #[error("{release} is not the manifest of a release")]
    Manifest {
        /// The release.
        release: Digest,
        /// Why.
        #[source]
        source: JsonError,
    },
    /// The statement claims more than a release may have.
    #[error("the statement gives release {release} more {what} than a release may have")]
    TooLarge {
        /// The release.
        release: Digest,
        /// The item that there is too much of.
        what: &'static str,
    },
    /// An index of chunks is not valid.
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
    /// A partial blob could not be read or written.
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

    /// Whether the fetch was cancelled.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether the release itself is wrong, so that a retry cannot succeed.
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
