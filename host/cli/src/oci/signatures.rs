//! The signatures of a release in a registry: finding them in lists that other tools have rewritten, and listing new ones.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use hotshoe_store::Referrer;
use hotshoe_trust::manifest::{BUNDLE, MANIFEST};
use hotshoe_trust::{Blob, Digest, ReleaseLimits, check_bundle};
use oci_client::manifest::{ImageIndexEntry, OciImageIndex, OciImageManifest};

use super::remote::{INDEX, may_lack_referrers_api, referrers_tag};
use super::{OciError, Remote};

/// Most attempts of a push to write the list of signatures, which other pushes may overwrite.
const LIST_TRIES: u32 = 16;
/// The shortest and the longest wait before a push reads its list again: another push may still overwrite it with an older list.
const SETTLE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// The type that the specification gives to an entry whose manifest has no type of its own; some tools write it for every entry.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// The signatures of one release in a repository.
pub(super) struct Signatures<'a> {
    remote: &'a Remote,
    release: Digest,
}

impl<'a> Signatures<'a> {
    pub(super) const fn of(remote: &'a Remote, release: Digest) -> Self {
        Self { remote, release }
    }

    /// The distinct signature bundles of the release `manifest`, as a pull finds them. Every writer of the repository can attach more,
    /// so unreadable ones, and those of other manifests, are passed to `skipped` or left out.
    ///
    /// # Errors
    /// [`OciError`] of a request that failed: a signature is missing only if the registry says so.
    pub(super) async fn find(
        &self,
        manifest: &[u8],
        mut skipped: impl FnMut(&str, &OciError),
    ) -> Result<Vec<Vec<u8>>, OciError> {
        let (mut entries, refused) = self.listed().await?;
        if let Some(error) = refused {
            return Err(error);
        }
        entries.retain(|entry| is_signature(entry).unwrap_or(true));
        // The list may not say the type of an entry; then its manifest does. Those that say it come first.
        entries.sort_by_key(|entry| is_signature(entry).is_none());
        let most = usize::try_from(ReleaseLimits::BUNDLES_READ).unwrap_or(usize::MAX);
        let mut seen = BTreeSet::new();
        let mut bundles = Vec::new();
        for entry in entries.iter().take(most) {
            let found = match self.bundles(&entry.digest).await {
                Err(error) if is_unusable(&error) => {
                    skipped(&entry.digest, &error);
                    continue;
                }
                found => found?,
            };
            let found = found.into_iter();
            let found = found.filter(|bundle| check_bundle(manifest, bundle).is_ok());
            bundles.extend(found.filter(|bundle| seen.insert(Digest::of(bundle))));
            if bundles.len() >= most {
                break;
            }
        }
        bundles.truncate(most);
        Ok(bundles)
    }

    /// The bundles of a referrer, at most [`ReleaseLimits::BUNDLES`] and each of at most [`ReleaseLimits::BUNDLE_BYTES`]. None if it is
    /// not a signature.
    async fn bundles(&self, referrer: &str) -> Result<Vec<Vec<u8>>, OciError> {
        let at = self.remote.address().reference();
        let at = at.clone_with_digest(referrer.to_owned());
        let bytes = self.remote.manifest(&at).await?;
        let manifest: OciImageManifest =
            serde_json::from_slice(&bytes).map_err(|source| OciError::Referrer {
                digest: referrer.to_owned(),
                source,
            })?;
        let mut bundles = Vec::new();
        let most = usize::try_from(ReleaseLimits::BUNDLES).unwrap_or(usize::MAX);
        let layers = manifest.layers.iter().filter(|it| it.media_type == BUNDLE);
        for layer in layers.take(most) {
            let size = u64::try_from(layer.size).unwrap_or(u64::MAX);
            let limit = ReleaseLimits::BUNDLE_BYTES;
            if size > limit {
                return Err(self.remote.too_large("a signature", size, limit));
            }
            let Ok(digest) = layer.digest.parse() else {
                continue;
            };
            let bundle = self.remote.read_blob(&Blob { digest, size }).await?;
            bundles.push(bundle);
        }
        Ok(bundles)
    }

    /// Lists the signatures `referrers`, whose manifests the registry has, and checks that a pull finds those of `bundles` that a
    /// key signed. Registries
    /// older than version 1.1 of the specification have the list under a tag made of the manifest's digest ("referrers tag schema"),
    /// which two pushes can replace at the same time: it is read back, merged and written again.
    ///
    /// # Errors
    /// [`OciError`]; [`OciError::SignaturesLost`] if a pull does not find a bundle.
    pub(super) async fn attach(
        &self,
        manifest: &[u8],
        referrers: &[Referrer],
        bundles: &[Vec<u8>],
    ) -> Result<(), OciError> {
        if referrers.is_empty() {
            return Ok(());
        }
        let mut written = BTreeSet::new();
        for _ in 0..LIST_TRIES {
            let began = Instant::now();
            // A registry that refuses the request for referrers may have no list yet, which is then written.
            let (entries, _) = self.listed().await?;
            let lacking = lacking(&entries, referrers, &written);
            if lacking.is_empty() {
                break;
            }
            written.extend(lacking.iter().map(|referrer| referrer.manifest.digest));
            self.write(merged(entries, &lacking)).await?;
            let settle = began.elapsed().saturating_mul(2);
            tokio::time::sleep(settle.clamp(SETTLE.0, SETTLE.1)).await;
        }
        let found = self.find(manifest, |_, _| ()).await?;
        let found: BTreeSet<Digest> = found.iter().map(|bundle| Digest::of(bundle)).collect();
        // A pull leaves out bundles of other kinds, such as those that `cosign` signs without a key.
        let is_lost = |bundle: &&Vec<u8>| {
            check_bundle(manifest, bundle).is_ok() && !found.contains(&Digest::of(bundle))
        };
        match bundles.iter().filter(is_lost).count() {
            0 => Ok(()),
            lost => Err(OciError::SignaturesLost {
                place: self.remote.address().to_string(),
                lost,
                of: bundles.len(),
            }),
        }
    }

    /// The referrers of the release. A mirror copies the list under the tag even into a registry that makes its own, and the two can
    /// differ. With the error of a registry that refuses the request for referrers and has no list under the tag: then it is not known
    /// whether there are any.
    async fn listed(&self) -> Result<(Vec<ImageIndexEntry>, Option<OciError>), OciError> {
        // Of all types: a registry that filters leaves out the entries without a type.
        let (listed, refused) = match self.remote.referrers(self.release).await {
            Err(error) if may_lack_referrers_api(&error) => (None, Some(error)),
            listed => (listed?, None),
        };
        let mut entries = listed.map_or_else(Vec::new, |index| index.manifests);
        let tagged = self.remote.tagged_referrers(self.release).await?;
        let refused = refused.filter(|_| tagged.is_none());
        let mut places: HashMap<String, usize> = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            places.entry(entry.digest.clone()).or_insert(place);
        }
        for entry in tagged.into_iter().flat_map(|index| index.manifests) {
            let known = places.get(&entry.digest);
            match known.and_then(|place| entries.get_mut(*place)) {
                Some(known) if is_signature(known).is_none() => {
                    known.artifact_type = entry.artifact_type;
                }
                Some(_) => {}
                None => entries.push(entry),
            }
        }
        Ok((entries, refused))
    }

    async fn write(&self, manifests: Vec<ImageIndexEntry>) -> Result<(), OciError> {
        let index = OciImageIndex {
            schema_version: 2,
            media_type: Some(INDEX.to_owned()),
            manifests,
            artifact_type: None,
            annotations: None,
        };
        let at = self.remote.address().tagged(&referrers_tag(self.release));
        let bytes = serde_json::to_vec(&index).map_err(|source| OciError::Referrer {
            digest: self.release.to_string(),
            source,
        })?;
        self.remote.put_manifest(&at, bytes, INDEX).await
    }
}

/// Whether a referrer itself is missing or cannot be used. Any other error says nothing about it.
fn is_unusable(error: &OciError) -> bool {
    let names = ["not_found", "malformed", "damaged_blob", "too_large"];
    error.name().is_some_and(|name| names.contains(&name))
}

/// Whether an entry is a signature; `None` if the list does not say.
fn is_signature(entry: &ImageIndexEntry) -> Option<bool> {
    match entry.artifact_type.as_deref() {
        None | Some("" | EMPTY) => None,
        Some(kind) => Some(kind == BUNDLE),
    }
}

/// Referrers that are not in the list, or whose type it does not say although this push did not write it yet.
fn lacking<'r>(
    entries: &[ImageIndexEntry],
    referrers: &'r [Referrer],
    written: &BTreeSet<Digest>,
) -> Vec<&'r Referrer> {
    let listed: HashMap<&str, &ImageIndexEntry> = entries
        .iter()
        .map(|entry| (entry.digest.as_str(), entry))
        .collect();
    let is_lacking = |referrer: &&Referrer| {
        let digest = referrer.manifest.digest;
        match listed.get(digest.to_string().as_str()) {
            Some(entry) => is_signature(entry) != Some(true) && !written.contains(&digest),
            None => true,
        }
    };
    referrers.iter().filter(is_lacking).collect()
}

/// The list with entries for these referrers.
fn merged(mut entries: Vec<ImageIndexEntry>, referrers: &[&Referrer]) -> Vec<ImageIndexEntry> {
    let new: Vec<ImageIndexEntry> = referrers.iter().map(|referrer| entry(referrer)).collect();
    let replaced: BTreeSet<&str> = new.iter().map(|entry| entry.digest.as_str()).collect();
    entries.retain(|entry| !replaced.contains(entry.digest.as_str()));
    entries.extend(new);
    entries
}

fn entry(referrer: &Referrer) -> ImageIndexEntry {
    ImageIndexEntry {
        media_type: MANIFEST.to_owned(),
        digest: referrer.manifest.digest.to_string(),
        size: i64::try_from(referrer.manifest.size).unwrap_or(i64::MAX),
        platform: None,
        annotations: None,
        artifact_type: Some(BUNDLE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referrer(bytes: &[u8]) -> Referrer {
        Referrer {
            manifest: Blob::of(bytes),
            parts: Vec::new(),
        }
    }

    fn listed(referrer: &Referrer, artifact_type: Option<&str>) -> ImageIndexEntry {
        ImageIndexEntry {
            artifact_type: artifact_type.map(str::to_owned),
            ..entry(referrer)
        }
    }

    #[test]
    fn an_entry_without_a_type_is_written_once_and_one_of_another_push_is_kept() {
        let (ours, theirs) = (referrer(b"ours"), referrer(b"theirs"));
        let own = [ours.clone()];
        let none = BTreeSet::new();
        for kind in [None, Some(""), Some(EMPTY)] {
            let entries = [listed(&theirs, None), listed(&ours, kind)];
            let found = lacking(&entries, &own, &none);
            assert_eq!(found, [&ours], "{kind:?}");
            let merged = merged(entries.to_vec(), &found);
            let kinds: Vec<_> = merged.iter().map(is_signature).collect();
            assert_eq!(kinds, [None, Some(true)], "{kind:?}");
            assert!(lacking(&merged, &own, &none).is_empty(), "{kind:?}");
            // A registry that keeps no types must not be written again and again.
            let written = BTreeSet::from([ours.manifest.digest]);
            assert!(lacking(&entries, &own, &written).is_empty(), "{kind:?}");
        }
        let written = BTreeSet::from([ours.manifest.digest]);
        let replaced = [listed(&theirs, Some(BUNDLE))];
        assert_eq!(lacking(&replaced, &own, &written), [&ours]);
    }
}
