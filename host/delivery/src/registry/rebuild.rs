//! Rebuilds the registry's record from its blobs, after the record was lost.

use hotshoe_store::BlobStore;
use hotshoe_trust::{Digest, Time, TrustRoot, verify_for_registry};

use super::record::StoredRelease;

/// The releases among the blobs that trusted keys have signed. The statements are lost: publishers have to publish them again.
pub(super) fn releases(blobs: &BlobStore, trust: &TrustRoot, now: Time) -> Vec<StoredRelease> {
    let packages = match blobs.find_packages() {
        Ok(packages) => packages,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the registry's record is lost, and its blobs cannot be listed"
            );
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for package in packages {
        let release = match verify_for_registry(&package, trust, now) {
            Ok(release) => release,
            Err(error) => {
                tracing::debug!(
                    why = error.name(),
                    "a release among the blobs is not served"
                );
                continue;
            }
        };
        let bundles = release.package().bundles.iter();
        found.push(StoredRelease {
            name: release.name.clone(),
            generation: release.generation,
            release: release.digest(),
            bundles: bundles.map(|bundle| Digest::of(bundle)).collect(),
            issued: release.issued,
        });
    }
    if !found.is_empty() {
        tracing::warn!(
            releases = found.len(),
            "the registry's record was lost, and is rebuilt from the blobs; publish statements and trusted keys again"
        );
    }
    found
}
