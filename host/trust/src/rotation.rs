//! Rotation of trusted keys: `trust.toml` version N + 1, signed by keys of version N and by keys of version N + 1.
//!
//! The old keys approve the new ones, and the new ones prove that they can sign. Only keys that
//! may change `trust.toml` count (see [`TrustedKey::rotates`]); a key in both versions counts for both.
//!
//! A stolen key can block a release name for good by signing a release of a huge generation, since generations
//! only grow. To recover, the new version omits the key and lists the name under `[reset]`, with the generation
//! that devices accept from then on.
//!
//! On the wire, a [`TrustUpdate`]: `{"trust": "<TOML text>", "bundles": ["<Sigstore bundle>", ...]}`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    keys::KeyError,
    limits::ReleaseLimits,
    signers::{SignerError, Signers, also, names},
    signing::SigningKey,
    strict_json::{self, JsonError},
    trust_toml::{TrustError, TrustRoot, TrustedKey},
};

/// The largest `trust.toml` that a rotation brings: 256 KiB.
pub const MAX_TRUST_BYTES: u64 = 256 * 1024;
/// The largest update, a `trust.toml` with its bundles: 1 MiB.
pub const MAX_TRUST_UPDATE_BYTES: u64 = 1024 * 1024;

/// The next `trust.toml` on the wire, with signatures over its text. It is not verified.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrustUpdate {
    /// The `trust.toml`.
    pub trust: String,
    /// Sigstore bundles over the text's bytes, as JSON texts.
    #[serde(default)]
    pub bundles: Vec<String>,
}

impl TrustUpdate {
    /// An unsigned update with the text of a `trust.toml`.
    pub fn new(trust: impl Into<String>) -> Self {
        Self {
            trust: trust.into(),
            bundles: Vec::new(),
        }
    }

    /// Adds the signature of `key`.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), KeyError> {
        let bundle = key.sign_bundle(self.trust.as_bytes())?;
        // A bundle is JSON, hence UTF-8.
        self.bundles
            .push(String::from_utf8_lossy(&bundle).into_owned());
        Ok(())
    }

    /// Parses an update without verifying it.
    pub fn parse(bytes: &[u8]) -> Result<Self, RotationError> {
        let update: Self = strict_json::parse(bytes, MAX_TRUST_UPDATE_BYTES)?;
        update.check_size()?;
        Ok(update)
    }

    /// The update as bytes on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::json!({ "trust": self.trust, "bundles": self.bundles })
            .to_string()
            .into_bytes()
    }

    fn check_size(&self) -> Result<(), RotationError> {
        let (size, limit) = (self.trust.len() as u64, MAX_TRUST_BYTES);
        if size > limit {
            return Err(JsonError::TooLarge { size, limit }.into());
        }
        let (found, limit) = (self.bundles.len() as u64, ReleaseLimits::BUNDLES);
        if found > limit {
            return Err(RotationError::TooManyBundles { found, limit });
        }
        Ok(())
    }
}

/// A `trust.toml` that follows the current one.
#[derive(Debug, Clone)]
pub struct NewTrust {
    /// The new trusted keys.
    pub root: TrustRoot,
    /// The text, to store.
    pub text: String,
    /// The floors that it sets, by release name.
    pub resets: BTreeMap<String, u64>,
    /// The names of the keys of the current version that approved it, sorted.
    pub signers: Vec<String>,
    /// The names of its own keys that signed it, sorted.
    pub new_signers: Vec<String>,
}

/// Too few keys of a `trust.toml` signed an update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signed by {found} of the {needed} keys needed ({}){}", signers.join(", "), also(refused))]
pub struct BelowThreshold {
    /// Distinct keys with a valid signature that may change `trust.toml`.
    pub found: usize,
    /// The threshold.
    pub needed: usize,
    /// Their names.
    pub signers: Vec<String>,
    /// Why other signatures did not count.
    pub refused: Vec<String>,
}

/// Why a new `trust.toml` does not replace the current one.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// An update that cannot be read.
    #[error("the update of trust.toml cannot be read")]
    Json(#[from] JsonError),
    /// More bundles than [`ReleaseLimits::BUNDLES`].
    #[error("the update carries {found} signature bundles; at most {limit} are allowed")]
    TooManyBundles {
        /// Bundles given.
        found: u64,
        /// Bundles allowed.
        limit: u64,
    },
    /// Too few keys of the current version signed it.
    #[error("too few keys of the current trust.toml signed the new one; sign it with them as well")]
    TooFewOldSignatures(#[source] BelowThreshold),
    /// Signed by the current keys, but not a valid `trust.toml`.
    #[error("the new trust.toml is signed, but not valid")]
    Trust(#[source] TrustError),
    /// Not the version after the current one.
    #[error(
        "the new trust.toml has version {found}, but version {current} is in use and the next one must follow; apply the versions in order"
    )]
    NotTheNextVersion {
        /// The version that this device has.
        current: u64,
        /// The version found.
        found: u64,
    },
    /// Too few keys of the new version signed it.
    #[error("too few of its own keys signed the new trust.toml; sign it with them as well")]
    TooFewNewSignatures(#[source] BelowThreshold),
}

impl RotationError {
    /// A stable snake_case name of the reason.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Json(JsonError::TooLarge { .. }) => "too_large",
            Self::Json(JsonError::Unknown { .. }) => "unknown_key",
            Self::Json(JsonError::DuplicateKey { .. }) => "duplicate_key",
            Self::Json(JsonError::TooDeep { .. } | JsonError::Invalid(_)) => "malformed",
            Self::TooManyBundles { .. } => "too_many_bundles",
            Self::TooFewOldSignatures(_) => "too_few_old_signatures",
            Self::Trust(_) => "invalid_trust",
            Self::NotTheNextVersion { .. } => "not_the_next_version",
            Self::TooFewNewSignatures(_) => "too_few_new_signatures",
        }
    }
}

/// Admits the `trust.toml` that follows `current`: exactly the next version, signed by the thresholds of both.
///
/// The text is parsed only when the current keys have signed it.
pub fn rotate(current: &TrustRoot, update: &TrustUpdate) -> Result<NewTrust, RotationError> {
    update.check_size()?;
    let signers = check_threshold(current, update).map_err(RotationError::TooFewOldSignatures)?;
    let root = TrustRoot::parse(&update.trust).map_err(RotationError::Trust)?;
    if current.version().checked_add(1) != Some(root.version()) {
        return Err(RotationError::NotTheNextVersion {
            current: current.version(),
            found: root.version(),
        });
    }
    let new_signers = check_threshold(&root, update).map_err(RotationError::TooFewNewSignatures)?;
    Ok(NewTrust {
        text: update.trust.clone(),
        resets: root.resets().clone(),
        root,
        signers,
        new_signers,
    })
}

/// Checks that enough keys of `root` that may change it signed the update, and returns their names.
fn check_threshold(root: &TrustRoot, update: &TrustUpdate) -> Result<Vec<String>, BelowThreshold> {
    let signers = Signers::of(&update.bundles, update.trust.as_bytes(), root);
    let (rotating, others): (Vec<_>, Vec<&TrustedKey>) = signers
        .good
        .into_iter()
        .map(|(key, _)| key)
        .partition(|key| key.rotates());
    if rotating.len() >= root.threshold() {
        return Ok(names(rotating));
    }
    let not_allowed = |key: &&TrustedKey| format!("key `{}` may not change trust.toml", key.name());
    let refused = signers.refused.iter().map(SignerError::to_string);
    Err(BelowThreshold {
        found: rotating.len(),
        needed: root.threshold(),
        refused: others.iter().map(not_allowed).chain(refused).collect(),
        signers: names(rotating),
    })
}
