//! The device's trusted keys: the operator's `trust.toml`, or a newer version from the network.

use std::path::Path;

use hotshoe_base::files::read_text;
use hotshoe_config::Config;
use hotshoe_store::{Ledger, Store};
use hotshoe_trust::{DEVELOPMENT_KEY, Digest, NewTrust, TrustRoot, TrustUpdate, rotate};

use crate::deploy::error::{DeployError, StoredTrustError};

/// Largest `trust.toml`, in bytes.
pub const MAX_TRUST_BYTES: u64 = 1 << 20;

/// The trusted keys of the higher version; the operator's if both versions are equal.
pub(super) fn open(config: &Config, store: &Store) -> Result<TrustRoot, DeployError> {
    let own = read_trust(&config.trust)?;
    if config.development {
        tracing::warn!(
            "development mode: any holder of the throw-away key can change what this device runs"
        );
    } else if own.keys().any(|key| key.name() == DEVELOPMENT_KEY) {
        let path = config.trust.clone();
        return Err(DeployError::DevelopmentKey { path });
    }
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
    tracing::info!(version, "using the trusted keys of a key rotation");
    Ok(root)
}

fn newer(ledger: &Ledger, version: u64) -> Option<(u64, Digest)> {
    let entry = ledger.trust.as_ref()?;
    (entry.version > version).then_some((entry.version, entry.file))
}

fn read_trust(path: &Path) -> Result<TrustRoot, DeployError> {
    let unreadable = |source| DeployError::TrustFile {
        path: path.to_owned(),
        source,
    };
    let text = read_text(path, MAX_TRUST_BYTES).map_err(unreadable)?;
    TrustRoot::parse(&text).map_err(|source| DeployError::Trust {
        path: path.to_owned(),
        source,
    })
}

/// Reads new trusted keys, which enough of the old and of the new keys must have signed. The error is the stable name of the refusal.
pub(super) fn rotated(current: &TrustRoot, bytes: &[u8]) -> Result<NewTrust, &'static str> {
    let update = TrustUpdate::parse(bytes).map_err(|error| error.name())?;
    rotate(current, &update).map_err(|error| error.name())
}
