//! Rebuilds the registry's record from its blobs, after the record was lost.

use std::collections::BTreeSet;

use hotshoe_store::BlobStore;
use hotshoe_trust::{Digest, Time, TrustRoot, verify_for_registry};

use super::record::{Record, StoredRelease};

/// Adds the releases among the blobs that trusted keys have signed. The statements are lost: publishers have to publish them again. Signed
/// packages that cannot be verified now, as where the clock is not set yet, are noted in the record, for which the next start does this
/// again.
pub(super) fn rebuild(
    record: &mut Record,
    is_lost: bool,
    blobs: &BlobStore,
    trust: &TrustRoot,
    now: Time,
) {
    let packages = match blobs.find_packages() {
        Ok(packages) => packages,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the registry's record is incomplete, and its blobs cannot be listed"
            );
            return;
        }
    };
    let mut found = 0_u64;
    let (mut unverified, mut causes, mut count) = (BTreeSet::new(), BTreeSet::new(), 0_u64);
    for package in packages {
        let release = match verify_for_registry(&package, trust, now) {
            Ok(release) => release,
            // A fetch that has not ended has no signatures yet.
            Err(_) if package.bundles.is_empty() => continue,
            Err(error) => {
                count += 1;
                causes.insert(error.name());
                let manifest = Digest::of(&package.manifest);
                unverified.extend(blobs.contents(manifest).unwrap_or_default());
                unverified.extend(package.bundles.iter().map(|bundle| Digest::of(bundle)));
                continue;
            }
        };
        found += 1;
        let bundles = release.package().bundles.iter();
        record.add_release(StoredRelease {
            name: release.name.clone(),
            generation: release.generation,
            release: release.digest(),
            bundles: bundles.map(|bundle| Digest::of(bundle)).collect(),
            issued: release.issued,
        });
    }
    record.unverified = unverified;
    if count > 0 {
        let why = causes.into_iter().collect::<Vec<_>>().join(", ");
        tracing::warn!(
            packages = count,
            why,
            "signed packages among the blobs cannot be verified and are not served; their blobs stay while the quota allows it, and the next start checks them again: look at the clock and the trusted keys"
        );
    }
    if is_lost && found > 0 {
        tracing::warn!(
            releases = found,
            "the registry's record was lost, and is rebuilt from the blobs; publish statements and trusted keys again"
        );
    }
}
