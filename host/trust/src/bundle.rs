//! Sigstore bundles that a key signed, without a transparency log.
//!
//! Nothing in such a bundle proves a time, so `sigstore-verify` refuses it; the release's own issue and
//! expiry times stand in for that. Here the bundle is parsed and the signature checked with the given key.

use sigstore_types::{
    Bundle, HashAlgorithm, MediaType, SignatureContent, VerificationMaterialContent,
};

use crate::{
    digest::Digest,
    keys::{PublicKey, SignatureError},
    limits::ReleaseLimits,
    strict_json::{self, JsonError},
};

/// Why a bundle does not sign some bytes.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not strict JSON, or too large.
    #[error("the bundle is not readable JSON")]
    Json(#[from] JsonError),
    /// Not a Sigstore bundle.
    #[error("not a Sigstore bundle")]
    Format(#[source] sigstore_types::Error),
    /// A kind of bundle that this host does not support.
    #[error(
        "the bundle holds {found}; sign with a key: `hotshoe sign --key`, or `cosign sign-blob --key`"
    )]
    Kind {
        /// What it holds.
        found: &'static str,
    },
    /// The bundle says that it was made with another key.
    #[error("the bundle was made with another key (hint `{hint}`)")]
    OtherKey {
        /// The hint of the key that made it.
        hint: String,
    },
    /// The bundle says that it signs other bytes.
    #[error("the bundle signs other bytes: its digest is different")]
    OtherMessage,
    /// The signature is not valid.
    #[error("the signature in the bundle is not valid")]
    Signature(#[source] SignatureError),
}

impl BundleError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Format(_) | Self::Kind { .. } => "unreadable_bundle",
            Self::OtherKey { .. } => "unknown_signer",
            Self::OtherMessage | Self::Signature(_) => "bad_signature",
        }
    }
}

/// The only supported kind of bundle: a message signature by a key.
pub(crate) struct KeyBundle {
    /// The claimed key: it finds the key and proves nothing.
    pub hint: String,
    signature: Vec<u8>,
    digest: Option<(HashAlgorithm, Vec<u8>)>,
}

impl KeyBundle {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BundleError> {
        strict_json::check(bytes, ReleaseLimits::BUNDLE_BYTES)?;
        // Checked bytes are JSON, hence UTF-8; the lossy reading changes nothing.
        let bundle =
            Bundle::from_json(&String::from_utf8_lossy(bytes)).map_err(BundleError::Format)?;
        let kind = |found| BundleError::Kind { found };
        if bundle.media_type != MediaType::Bundle0_3 {
            return Err(kind("a format older than v0.3"));
        }
        let VerificationMaterialContent::PublicKey(key) = bundle.verification_material.content
        else {
            return Err(kind("a certificate"));
        };
        let SignatureContent::MessageSignature(message) = bundle.content else {
            return Err(kind("a DSSE envelope"));
        };
        Ok(Self {
            hint: key.hint,
            signature: message.signature.as_bytes().to_vec(),
            digest: message
                .message_digest
                .map(|d| (d.algorithm, d.digest.as_bytes().to_vec())),
        })
    }

    /// Checks that the bundle, if it says which bytes it signs, means `message`.
    fn check_digest(&self, message: &[u8]) -> Result<(), BundleError> {
        match &self.digest {
            Some((HashAlgorithm::Sha2256, digest)) if digest == Digest::of(message).bytes() => {
                Ok(())
            }
            None => Ok(()),
            Some(_) => Err(BundleError::OtherMessage),
        }
    }

    /// Checks the signature over `message` with `key`, which the caller found by the hint.
    pub(crate) fn verify(&self, message: &[u8], key: &PublicKey) -> Result<(), BundleError> {
        self.check_digest(message)?;
        key.verify(message, &self.signature)
            .map_err(BundleError::Signature)
    }
}

/// Checks what can be checked without a key: that `bundle` (JSON) is of the kind that [`verify_blob`] takes and that its digest,
/// if it has one, is that of `blob`. Returns the hint of the claimed key; this proves nothing.
pub fn check_bundle(blob: &[u8], bundle: &[u8]) -> Result<String, BundleError> {
    let bundle = KeyBundle::parse(bundle)?;
    bundle.check_digest(blob)?;
    Ok(bundle.hint)
}

/// Checks that `bundle` (JSON) is `key`'s signature over `blob`, as `cosign verify-blob --key` does offline.
pub fn verify_blob(blob: &[u8], bundle: &[u8], key: &PublicKey) -> Result<(), BundleError> {
    let bundle = KeyBundle::parse(bundle)?;
    if bundle.hint != key.hint() {
        return Err(BundleError::OtherKey { hint: bundle.hint });
    }
    bundle.verify(blob, key)
}
