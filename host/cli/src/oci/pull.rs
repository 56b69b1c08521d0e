//! From a registry to a release's folder.

use std::path::Path;

use hotshoe_devkit::{Progress, Task};
use hotshoe_store::Layout;
use hotshoe_trust::manifest::{BUNDLE, Manifest, RELEASE};
use hotshoe_trust::{Blob, Digest, ReleaseLimits, check_bundle};
use oci_client::manifest::OciImageManifest;
use serde::Serialize;

use super::{OciError, Remote};

/// Bundles that one referrer may list: `hotshoe sign` and `cosign` list one.
const BUNDLES_OF_ONE: usize = 4;

/// What was taken from a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// Where it was.
    pub place: String,
    /// The digest of the manifest that is signed.
    pub digest: Digest,
    /// Signatures that came with it. Nothing was verified.
    pub signatures: usize,
    /// Bytes that came.
    pub bytes: u64,
}

/// Writes a release and its signatures to the folder `out`. Blobs are limited while they come, manifests once they are there (the client takes
/// them whole), and all are checked against their digests; who signed it is not looked at.
///
/// # Errors
/// [`OciError`]; the folder is then as it was.
pub async fn pull(remote: &Remote, out: &Path, progress: &Progress) -> Result<Pulled, OciError> {
    let place = remote.address().to_string();
    let bytes = remote.manifest(remote.address().reference()).await?;
    let manifest = Manifest::parse(&bytes).map_err(|source| OciError::Manifest {
        place: place.clone(),
        source,
    })?;
    if manifest.artifact_type != RELEASE {
        let found = manifest.artifact_type;
        return Err(OciError::NotARelease { place, found });
    }
    let digest = Digest::of(&bytes);
    let blobs: Vec<Blob> = [&manifest.config]
        .into_iter()
        .chain(&manifest.layers)
        .map(|part| part.blob())
        .collect();
    let total = blobs
        .iter()
        .fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
    if total > ReleaseLimits::RELEASE_BYTES {
        return Err(remote.too_large("the release", total, ReleaseLimits::RELEASE_BYTES));
    }
    let builder = Layout::create(out)?;
    let beside = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut fetching = Fetching {
        remote,
        beside,
        task: progress.bar(&format!("from {place}"), total),
        done: 0,
    };
    for blob in &blobs {
        let file = fetching.fetched(blob).await?;
        let kept = builder.put_file(file.path(), blob.size)?;
        if kept != *blob {
            return Err(remote.mismatch(blob.digest, kept.digest));
        }
    }
    let bundles = fetching.bundles(digest, &bytes).await?;
    let layout = builder.finish(&bytes)?;
    for bundle in &bundles {
        layout.attach(bundle)?;
    }
    let pulled = Pulled {
        place,
        digest,
        signatures: bundles.len(),
        bytes: fetching.done,
    };
    fetching.task.done(&format!("in {}", out.display()));
    Ok(pulled)
}

struct Fetching<'a> {
    remote: &'a Remote,
    /// Where files are while they come: large ones may find no room where temporary files are kept.
    beside: &'a Path,
    task: Task,
    done: u64,
}

impl Fetching<'_> {
    async fn fetched(&mut self, blob: &Blob) -> Result<tempfile::NamedTempFile, OciError> {
        let at = |source| OciError::Io {
            path: self.beside.to_owned(),
            source,
        };
        let file = tempfile::NamedTempFile::new_in(self.beside).map_err(at)?;
        let out = tokio::fs::File::from_std(file.reopen().map_err(at)?);
        let (task, done) = (&self.task, &mut self.done);
        let step = |bytes| {
            *done += bytes;
            task.at(*done);
        };
        self.remote.fetch(blob, out, step).await?;
        Ok(file)
    }

    /// The signature bundles of a release. Anybody who may write to the repository may attach more: what cannot be read, or cannot be a
    /// signature of these bytes, is left out.
    async fn bundles(
        &mut self,
        release: Digest,
        manifest: &[u8],
    ) -> Result<Vec<Vec<u8>>, OciError> {
        let listed = self.remote.referrers(release, Some(BUNDLE)).await?;
        let most = usize::try_from(ReleaseLimits::BUNDLES_READ).unwrap_or(usize::MAX);
        let mut bundles = Vec::new();
        // Registries may leave the filter aside.
        let signatures = listed.manifests.iter().filter(|entry| {
            let kind = entry.artifact_type.as_deref();
            kind.is_none_or(|kind| kind == BUNDLE)
        });
        for entry in signatures.take(most) {
            match self.bundle(&entry.digest).await {
                Ok(found) => bundles.extend(
                    found
                        .into_iter()
                        .filter(|bundle| check_bundle(manifest, bundle).is_ok()),
                ),
                Err(error) => self
                    .task
                    .detail(&format!("left out {}: {error}", entry.digest)),
            }
        }
        bundles.truncate(most);
        Ok(bundles)
    }

    /// The bundles that a referrer lists, of at most [`ReleaseLimits::BUNDLE_BYTES`] each.
    async fn bundle(&self, referrer: &str) -> Result<Vec<Vec<u8>>, OciError> {
        let malformed = |source| OciError::Referrer {
            digest: referrer.to_owned(),
            source,
        };
        let at = self.remote.address().reference();
        let at = at.clone_with_digest(referrer.to_owned());
        let bytes = self.remote.manifest(&at).await?;
        let manifest: OciImageManifest = serde_json::from_slice(&bytes).map_err(malformed)?;
        let mut bundles = Vec::new();
        let layers = manifest.layers.iter().filter(|it| it.media_type == BUNDLE);
        for layer in layers.take(BUNDLES_OF_ONE) {
            let size = u64::try_from(layer.size).unwrap_or(u64::MAX);
            let limit = ReleaseLimits::BUNDLE_BYTES;
            if size > limit {
                return Err(self.remote.too_large("a signature", size, limit));
            }
            let Ok(digest) = layer.digest.parse() else {
                continue;
            };
            let mut bundle = Vec::new();
            self.remote
                .fetch(&Blob { digest, size }, &mut bundle, |_| ())
                .await?;
            bundles.push(bundle);
        }
        Ok(bundles)
    }
}
