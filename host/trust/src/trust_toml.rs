//! `trust.toml`: the trusted keys, the threshold, and which releases each key may sign.
//!
//! ```toml
//! version = 1                           # grows by one with each rotation; default: 1
//! threshold = 1                         # distinct keys that must have signed
//!
//! [reset]                               # floors that this version sets, as after a stolen key
//! ocr = 12                              # from now on, generation 12 of `ocr` and later ones are accepted
//!
//! [keys.alice]
//! scheme = "ecdsa-p256-sha256"          # or "ed25519"
//! releases = ["ocr", "demo-*"]          # globs of the release names that this key may sign
//! rotates = false                       # may sign the next trust.toml; default: whether `releases` has "*"
//! shared-data = ["settings-*"]          # globs of the shared values that this key may write; default: all if `releases` has "*"
//! rollouts = ["ocr"]                    # globs of the releases whose rollouts this key may also advance, pause and abort; default: none
//! public-key = """
//! -----BEGIN PUBLIC KEY-----
//! ...
//! -----END PUBLIC KEY-----
//! """
//! ```

use std::{
    collections::BTreeMap,
    num::{NonZeroU64, NonZeroUsize},
};

use globset::{Glob, GlobMatcher};
use serde::Deserialize;

use crate::{
    keys::{KeyError, PublicKey, Scheme},
    release_error::ReleaseError,
    rules::check_name,
    toml_file::{self, TomlError},
};

/// Why a `trust.toml` was refused.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not the TOML expected.
    #[error(transparent)]
    Toml(#[from] TomlError),
    /// A key that cannot be read.
    #[error("key `{name}` cannot be used")]
    Key {
        /// The key's name.
        name: String,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// One key under two names, which looks like two signers.
    #[error("keys `{first}` and `{second}` are one key; remove one of them")]
    SameKey {
        /// One name.
        first: String,
        /// The other name.
        second: String,
    },
    /// A threshold above the number of keys.
    #[error("threshold {threshold} is more than the number of keys, {keys}; add keys or lower it")]
    Threshold {
        /// The threshold.
        threshold: usize,
        /// How many keys there are.
        keys: usize,
    },
    /// A key that may not sign anything, not even the next `trust.toml`, a shared value or a step of a rollout.
    #[error("key `{name}` may not sign any release; list names or globs in its `releases`")]
    NoReleases {
        /// The key's name.
        name: String,
    },
    /// A reset of an invalid release name.
    #[error("`[reset]` of trust.toml")]
    Reset(#[source] ReleaseError),
    /// A pattern that is not a glob.
    #[error("key `{name}`: `{pattern}` is not a glob")]
    Glob {
        /// The key's name.
        name: String,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: globset::Error,
    },
}

impl TrustError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Toml(error) => error.name(),
            _ => "invalid_trust",
        }
    }
}

/// The file as written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TrustToml {
    #[serde(default = "first_version")]
    version: NonZeroU64,
    threshold: NonZeroUsize,
    #[serde(default)]
    reset: BTreeMap<String, u64>,
    keys: BTreeMap<String, KeyToml>,
}

const fn first_version() -> NonZeroU64 {
    NonZeroU64::MIN
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct KeyToml {
    scheme: Scheme,
    #[serde(default)]
    releases: Vec<String>,
    rotates: Option<bool>,
    shared_data: Option<Vec<String>>,
    #[serde(default)]
    rollouts: Vec<String>,
    public_key: String,
}

/// A key that the device trusts, for some releases.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    name: String,
    key: PublicKey,
    releases: Vec<GlobMatcher>,
    rotates: bool,
    shared_data: Vec<GlobMatcher>,
    rollouts: Vec<GlobMatcher>,
}

/// The name of the throw-away key that `hotshoe dev` makes: only a device in development mode trusts it.
pub const DEVELOPMENT_KEY: &str = "development";

impl TrustedKey {
    /// Its name in `trust.toml`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether it may sign releases of this name.
    pub fn may_sign(&self, release: &str) -> bool {
        self.releases.iter().any(|glob| glob.is_match(release))
    }

    /// Whether it may write the shared value of this name on devices.
    pub fn may_write_shared(&self, name: &str) -> bool {
        self.shared_data.iter().any(|glob| glob.is_match(name))
    }

    /// Whether it may advance, pause and abort rollouts of releases of this name. A key that may sign a release may.
    pub fn may_control_rollout(&self, release: &str) -> bool {
        self.may_sign(release) || self.rollouts.iter().any(|glob| glob.is_match(release))
    }

    /// Whether its signature counts for the next `trust.toml`. A key for some releases must not gain access to others
    /// by changing who may sign them.
    pub fn rotates(&self) -> bool {
        self.rotates
    }
}

/// The keys that a device trusts.
#[derive(Debug, Clone)]
pub struct TrustRoot {
    version: u64,
    resets: BTreeMap<String, u64>,
    threshold: usize,
    keys: Vec<TrustedKey>,
}

impl TrustRoot {
    /// Reads a `trust.toml`.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let file: TrustToml = toml_file::parse(text)?;
        let threshold = file.threshold.get();
        file.reset
            .keys()
            .try_for_each(|name| check_name("release", name))
            .map_err(TrustError::Reset)?;
        let mut keys = Vec::new();
        let mut names = BTreeMap::new();
        for (name, entry) in file.keys {
            let key = PublicKey::from_pem(&entry.public_key, entry.scheme).map_err(|source| {
                TrustError::Key {
                    name: name.clone(),
                    source,
                }
            })?;
            if let Some(first) = names.insert(key.fingerprint(), name.clone()) {
                return Err(TrustError::SameKey {
                    first,
                    second: name,
                });
            }
            let has_all = entry.releases.iter().any(|glob| glob == "*");
            let rotates = entry.rotates.unwrap_or(has_all);
            let shared_data = entry
                .shared_data
                .unwrap_or_else(|| has_all.then(|| "*".to_owned()).into_iter().collect());
            let is_of_rollouts = !entry.rollouts.is_empty();
            if entry.releases.is_empty() && shared_data.is_empty() && !rotates && !is_of_rollouts {
                return Err(TrustError::NoReleases { name });
            }
            let glob = |pattern: String| match Glob::new(&pattern) {
                Ok(glob) => Ok(glob.compile_matcher()),
                Err(source) => Err(TrustError::Glob {
                    name: name.clone(),
                    pattern,
                    source,
                }),
            };
            let globs = |patterns: Vec<String>| {
                let globs: Result<Vec<_>, _> = patterns.into_iter().map(glob).collect();
                globs
            };
            let releases = globs(entry.releases)?;
            let shared_data = globs(shared_data)?;
            let rollouts = globs(entry.rollouts)?;
            keys.push(TrustedKey {
                name,
                key,
                releases,
                rotates,
                shared_data,
                rollouts,
            });
        }
        if threshold > keys.len() {
            return Err(TrustError::Threshold {
                threshold,
                keys: keys.len(),
            });
        }
        Ok(Self {
            version: file.version.get(),
            resets: file.reset,
            threshold,
            keys,
        })
    }

    /// Its version: each rotation adds one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The floors that this version sets, by release name: the lowest generation accepted from now on.
    pub fn resets(&self) -> &BTreeMap<String, u64> {
        &self.resets
    }

    /// Number of distinct keys that must have signed.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// The keys, in the order of their names.
    pub fn keys(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter()
    }

    /// The lines of `trust.toml` that name `key`, for `hotshoe keygen` to print.
    pub fn key_entry(name: &str, key: &PublicKey, releases: &[&str]) -> String {
        format!(
            "[keys.{}]\nscheme = \"{}\"\nreleases = {}\npublic-key = \"\"\"\n{}\n\"\"\"\n",
            toml::Value::from(name),
            key.scheme(),
            toml::Value::from(releases.to_vec()),
            key.to_pem().trim()
        )
    }
}
