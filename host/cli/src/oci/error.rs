use hotshoe_store::{BlobError, LayoutError};
use hotshoe_trust::{Digest, DigestError};

use super::transfer::{CaError, TransferError};

/// Errors of pushing and pulling releases.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OciError {
    /// The text is not a valid address.
    #[error("`{address}` is not an address in a registry: {why}; write oci://HOST/REPOSITORY:TAG")]
    Address {
        /// The given text.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A user name is given without a password.
    #[error("--username needs the password in the environment variable HOTSHOE_REGISTRY_PASSWORD")]
    NoPassword,
    /// The registry refused a request, or could not be reached.
    #[error("{what}")]
    Registry {
        /// The request that failed.
        what: String,
        /// Why.
        #[source]
        source: Box<TransferError>,
    },
    /// The certificates of an authority cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The artifact is not a release.
    #[error(
        "{place} is not a Hotshoe release: it is of type {found}; `hotshoe push` sends releases"
    )]
    NotARelease {
        /// The address.
        place: String,
        /// The type of the artifact, of its config, or of the manifest.
        found: String,
    },
    /// The manifest cannot be parsed.
    #[error("the manifest of {place} cannot be read")]
    Manifest {
        /// The address.
        place: String,
        /// Why.
        #[source]
        source: hotshoe_trust::strict_json::JsonError,
    },
    /// A pull would not find signatures that were sent.
    #[error(
        "{lost} of {of} signatures are not in the list of signatures at {place}, although they were sent; push again when nothing else pushes signatures of this release"
    )]
    SignaturesLost {
        /// The address.
        place: String,
        /// How many signatures a pull does not find.
        lost: usize,
        /// How many there are.
        of: usize,
    },
    /// A signal ended the command.
    #[error("stopped by {signal}; the same command continues with what arrived")]
    Interrupted {
        /// The signal's name.
        signal: &'static str,
    },
    /// The manifest of a signature cannot be parsed.
    #[error("the manifest {digest} of a signature cannot be read")]
    Referrer {
        /// Its digest.
        digest: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A digest that cannot be checked.
    #[error("a manifest of {place} cannot be requested")]
    Digest {
        /// The address.
        place: String,
        /// Why.
        #[source]
        source: DigestError,
    },
    /// The bytes do not match the requested digest.
    #[error("{place} returned {found} for {expected}")]
    Mismatch {
        /// The address.
        place: String,
        /// The requested digest.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// An object is larger than its limit.
    #[error("{what} of {place} has {size} bytes; the limit is {limit}")]
    TooLarge {
        /// The object that is too large.
        what: String,
        /// The address.
        place: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The release's folder cannot be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A blob cannot be read or written.
    #[error("cannot store a blob")]
    Blob(#[from] BlobError),
    /// A local file cannot be read or written.
    #[error("cannot read or write {path}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl OciError {
    /// The stable name, in snake case; none if the source has one.
    pub(crate) fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Address { .. } => "bad_address",
            Self::NoPassword => "no_credentials",
            Self::Registry { source, .. } => source.name(),
            Self::Ca(_) => "bad_ca_file",
            Self::NotARelease { .. } => "not_a_release",
            Self::Manifest { .. } | Self::Referrer { .. } | Self::Digest { .. } => "malformed",
            Self::SignaturesLost { .. } => "signatures_lost",
            Self::Interrupted { .. } => "interrupted",
            Self::Mismatch { .. } => "damaged_blob",
            Self::TooLarge { .. } => "too_large",
            Self::Layout(_) | Self::Blob(_) => return None,
            Self::Io { .. } => "io",
        })
    }
}
