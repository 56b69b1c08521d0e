//! Whom the device trusts: the operator's `trust.toml`, or a newer version of it that came over the network.

use std::fs;
use std::io;
use std::path::Path;

use hotshoe_store::{Ledger, Store};
use hotshoe_trust::TrustRoot;

use crate::config::Config;
use crate::deploy::error::{DeployError, StoredTrustError};

/// Largest `trust.toml`, in bytes.
pub const MAX_TRUST_BYTES: u64 = 1 << 20;

/// The trusted keys that count: those of the higher version, and the operator's where both are the same.
pub fn open(config: &Config, store: &Store) -> Result<TrustRoot, DeployError> {
    let own = read_trust(&config.trust)?;
    let entry = newer(store.ledger(), own.version());
    let Some((version, digest)) = entry else {
        return Ok(own);
    };
    let damaged = |source| DeployError::StoredTrust {
        version,
        data: config.data.clone(),
        source,
    };
    let stored = || -> Result<TrustRoot, StoredTrustError> {
        let bytes = store.blobs().read_any(digest, MAX_TRUST_BYTES)?;
        Ok(TrustRoot::parse(std::str::from_utf8(&bytes)?)?)
    };
    let root = stored().map_err(damaged)?;
    tracing::info!(version, "trusting the keys that a rotation brought");
    Ok(root)
}

fn newer(ledger: &Ledger, version: u64) -> Option<(u64, hotshoe_trust::Digest)> {
    let entry = ledger.trust.as_ref()?;
    (entry.version > version).then_some((entry.version, entry.file))
}

fn read_trust(path: &Path) -> Result<TrustRoot, DeployError> {
    let unreadable = |source| DeployError::TrustFile {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_TRUST_BYTES {
        return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    TrustRoot::parse(&text).map_err(|source| DeployError::Trust {
        path: path.to_owned(),
        source,
    })
}
