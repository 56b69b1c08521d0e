//! The device's trusted keys: the operator's `trust.toml`, or a newer version from the network.

use std::path::Path;

use hotshoe_base::files::read_text;
use hotshoe_config::Config;
use hotshoe_store::{Cause, Ledger, Store, Transition};
use hotshoe_trust::{DEVELOPMENT_KEY, Digest, Time, TrustRoot, TrustUpdate, rotate};

use crate::deploy::error::{DeployError, StoredTrustError};
use crate::deploy::orders::refuse;
use crate::deploy::reconciler::Reconciler;

/// Largest `trust.toml`, in bytes.
pub const MAX_TRUST_BYTES: u64 = 1 << 20;

/// The trusted keys of the higher version; the operator's if both versions are equal.
pub fn open(config: &Config, store: &Store) -> Result<TrustRoot, DeployError> {
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

impl Reconciler {
    /// Handles new trusted keys, which enough of the old and of the new keys must have signed.
    pub(super) fn on_trust(&mut self, bytes: &[u8]) {
        let rotated = TrustUpdate::parse(bytes)
            .map_err(|e| refuse(e.name(), super::chain(&e)))
            .and_then(|update| {
                rotate(&self.trust, &update).map_err(|e| refuse(e.name(), super::chain(&e)))
            });
        let new = match rotated {
            Ok(new) => new,
            Err(error) => return self.reporter.ignored(error.name()),
        };
        let version = new.root.version();
        let stored = self.store.blobs().put(new.text.as_bytes());
        let applied = stored.map_err(|e| super::chain(&e)).and_then(|blob| {
            let transition = Transition::ReplaceTrust {
                version,
                file: blob.digest,
                resets: new.resets.clone(),
            };
            self.store
                .apply(&transition, Time::now())
                .map_err(|e| super::chain(&e))
        });
        if let Err(cause) = applied {
            tracing::error!(
                version,
                cause,
                "cannot store the new trusted keys; their publisher or a registry sends them again"
            );
            return;
        }
        tracing::warn!(version, resets = ?new.resets, "THE TRUSTED KEYS WERE REPLACED");
        self.trust = new.root;
        self.refused.clear();
        self.recheck();
    }

    /// Verifies all releases again. An untrusted live release keeps serving, because an outage would be worse; a trial is rolled back,
    /// and a candidate is abandoned.
    fn recheck(&mut self) {
        let ledger = self.store.ledger().clone();
        if let Some(live) = &ledger.live
            && let Err(error) = self.loader.verified(&self.store, live, &self.trust)
        {
            tracing::error!(
                release = live.name,
                cause = super::chain(&error),
                "THE LIVE RELEASE IS NO LONGER TRUSTED: it serves until the daemon stops; publish a release that the new keys sign"
            );
        }
        if let Some(trial) = &ledger.trial
            && let Err(error) = self.loader.verified(&self.store, &trial.slot, &self.trust)
        {
            self.roll_back(error.cause());
        }
        let revoked = self.candidate.as_ref().and_then(|candidate| {
            let package = candidate.release().package();
            let floor = self.store.ledger().floor();
            self.loader
                .admit(package, &self.trust, &floor, Time::now())
                .err()
        });
        if let Some(error) = revoked {
            self.abandon(Cause::new(error.name(), super::chain(&error)));
        }
        self.slots_changed();
    }
}
