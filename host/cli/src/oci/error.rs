use hotshoe_store::{BlobError, LayoutError};
use hotshoe_trust::Digest;
use oci_client::errors::{OciDistributionError, OciErrorCode};

/// Why a release could not be brought to a registry, or from one.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// Not an address.
    #[error("`{address}` is no place in a registry: {why}; write oci://HOST/REPOSITORY:TAG")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// The credentials that other tools keep cannot be read.
    #[error(
        "the credentials for {registry} cannot be read; give --username, and the password in HOTSHOE_REGISTRY_PASSWORD"
    )]
    Credentials {
        /// The registry.
        registry: String,
        /// Why.
        #[source]
        source: docker_credential::CredentialRetrievalError,
    },
    /// A user without a password.
    #[error("--username needs the password in the environment variable HOTSHOE_REGISTRY_PASSWORD")]
    NoPassword,
    /// The registry did not do what was asked, or was not reached.
    #[error("{what}")]
    Registry {
        /// What was asked.
        what: String,
        /// What it said.
        #[source]
        source: Box<OciDistributionError>,
    },
    /// Something other than a release.
    #[error("{place} is no Hotshoe release: its artifact type is {found}")]
    NotARelease {
        /// The address.
        place: String,
        /// The type.
        found: String,
    },
    /// A manifest that cannot be read.
    #[error("the manifest of {place} cannot be read")]
    Manifest {
        /// The address.
        place: String,
        /// Why.
        #[source]
        source: hotshoe_trust::strict_json::JsonError,
    },
    /// A manifest of a signature that cannot be read.
    #[error("the manifest {digest} of a signature cannot be read")]
    Referrer {
        /// Its digest.
        digest: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Bytes that are not what was asked for.
    #[error("{place} gave {found} for {expected}")]
    Mismatch {
        /// The address.
        place: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// More bytes than there may be.
    #[error("{what} of {place} has {size} bytes, and may have {limit}")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The address.
        place: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The release's folder.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file of the release's folder.
    #[error("a blob cannot be kept")]
    Blob(#[from] BlobError),
    /// A file of this machine.
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
    /// The stable name, in snake case. None where the source has one.
    pub fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Address { .. } => "bad_address",
            Self::Credentials { .. } | Self::NoPassword => "no_credentials",
            Self::Registry { source, .. } => registry_name(source),
            Self::NotARelease { .. } => "not_a_release",
            Self::Manifest { .. } | Self::Referrer { .. } => "malformed",
            Self::Mismatch { .. } => "damaged_blob",
            Self::TooLarge { .. } => "too_large",
            Self::Layout(_) | Self::Blob(_) => return None,
            Self::Io { .. } => "io",
        })
    }
}

/// The stable name of what a registry said.
pub(super) fn registry_name(error: &OciDistributionError) -> &'static str {
    match error {
        OciDistributionError::ImageManifestNotFoundError(_)
        | OciDistributionError::ServerError { code: 404, .. } => "not_found",
        OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::UnauthorizedError { .. } => "unauthorized",
        OciDistributionError::RegistryError { envelope, .. } => {
            let has = |codes: &[OciErrorCode]| {
                let errors = &envelope.errors;
                errors.iter().any(|error| codes.contains(&error.code))
            };
            if has(&[
                OciErrorCode::ManifestUnknown,
                OciErrorCode::NameUnknown,
                OciErrorCode::NotFound,
            ]) {
                "not_found"
            } else if has(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                "unauthorized"
            } else {
                "registry"
            }
        }
        _ => "registry",
    }
}
