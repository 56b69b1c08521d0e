//! Which trusted keys signed some bytes: the only code that matches bundles with `trust.toml`.

use std::collections::BTreeMap;

use crate::{
    bundle::{BundleError, KeyBundle},
    trust_toml::{TrustRoot, TrustedKey},
};

/// Why a signature bundle does not count.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// A bundle that cannot be read.
    #[error("signature bundle {index} cannot be read")]
    Unreadable {
        /// Which bundle, from 1.
        index: usize,
        /// Why.
        #[source]
        source: Box<BundleError>,
    },
    /// A bundle by a key that is not in `trust.toml`.
    #[error("signature bundle {index} is by a key (hint `{hint}`) that is not in trust.toml")]
    Unknown {
        /// Which bundle, from 1.
        index: usize,
        /// The hint of its key.
        hint: String,
    },
    /// A signature that is not valid.
    #[error("signature bundle {index}, which claims key `{key}`, does not sign these bytes")]
    Bad {
        /// Which bundle, from 1.
        index: usize,
        /// The key's name.
        key: String,
        /// Why.
        #[source]
        source: Box<BundleError>,
    },
}

impl SignerError {
    /// A stable snake_case name of the reason.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable_bundle",
            Self::Unknown { .. } => "unknown_signer",
            Self::Bad { .. } => "bad_signature",
        }
    }
}

/// The keys whose signatures over some bytes are valid.
pub(crate) struct Signers<'t> {
    /// The keys with a valid signature, each once, with the index of its bundle.
    pub good: Vec<(&'t TrustedKey, usize)>,
    /// Number of valid bundles, including several of one key.
    pub held: u64,
    /// Why the other bundles do not count.
    pub refused: Vec<SignerError>,
}

impl<'t> Signers<'t> {
    /// Finds the signers of `message`. Keys are counted by fingerprint: two bundles by one key count once.
    pub(crate) fn of(bundles: &[impl AsRef<[u8]>], message: &[u8], trust: &'t TrustRoot) -> Self {
        let mut good = BTreeMap::new();
        let mut refused = Vec::new();
        let mut held = 0;
        for (place, bundle) in bundles.iter().enumerate() {
            match signer(place + 1, bundle.as_ref(), message, trust) {
                Ok(key) => {
                    held += 1;
                    good.insert(key.key().fingerprint(), (key, place));
                }
                Err(error) => refused.push(error),
            }
        }
        Self {
            good: good.into_values().collect(),
            held,
            refused,
        }
    }
}

/// The trusted keys that signed a message, each once; none if it has no bundle. One valid signature is enough.
///
/// # Errors
/// [`SignerError`] of the first bundle, if there are bundles but none is valid.
pub fn signed_by<'t>(
    bundles: &[String],
    message: &[u8],
    trust: &'t TrustRoot,
) -> Result<Vec<&'t TrustedKey>, SignerError> {
    let signers = Signers::of(bundles, message, trust);
    match signers.refused.into_iter().next() {
        Some(refused) if signers.good.is_empty() => Err(refused),
        _ => Ok(signers.good.into_iter().map(|(key, _)| key).collect()),
    }
}

fn signer<'t>(
    index: usize,
    bundle: &[u8],
    message: &[u8],
    trust: &'t TrustRoot,
) -> Result<&'t TrustedKey, SignerError> {
    let bundle = KeyBundle::parse(bundle).map_err(|source| SignerError::Unreadable {
        index,
        source: Box::new(source),
    })?;
    let Some(trusted) = trust
        .keys()
        .find(|trusted| trusted.key().hint() == bundle.hint)
    else {
        return Err(SignerError::Unknown {
            index,
            hint: bundle.hint,
        });
    };
    match bundle.verify(message, trusted.key()) {
        Ok(()) => Ok(trusted),
        Err(source) => Err(SignerError::Bad {
            index,
            key: trusted.name().to_owned(),
            source: Box::new(source),
        }),
    }
}

/// The names of keys, sorted.
pub(crate) fn names<'t>(keys: impl IntoIterator<Item = &'t TrustedKey>) -> Vec<String> {
    let mut names: Vec<_> = keys.into_iter().map(|key| key.name().to_owned()).collect();
    names.sort();
    names
}

/// The part of an error about the bundles that did not count.
pub(crate) fn also(refused: &[String]) -> String {
    if refused.is_empty() {
        String::new()
    } else {
        format!("; {}", refused.join("; "))
    }
}
