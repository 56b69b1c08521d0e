//! Pulls a release from a registry into a folder.

use std::path::{Path, PathBuf};

use hotshoe_devkit::{Progress, Task};
use hotshoe_store::Layout;
use hotshoe_trust::manifest::{BUNDLE, Manifest, RELEASE};
use hotshoe_trust::{Blob, Digest, ReleaseLimits, check_bundle};
use oci_client::manifest::OciImageManifest;
use serde::Serialize;

use super::partial::PartialBlobs;
use super::{OciError, Remote};

/// The most bundles per referrer; `hotshoe sign` and `cosign` write one.
const BUNDLES_OF_ONE: usize = 4;

/// The result of a pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Pulled {
    /// The address of the release.
    pub place: String,
    /// The digest of the signed manifest.
    pub digest: Digest,
    /// The number of its signatures, not verified.
    pub signatures: usize,
    /// The bytes that were received.
    pub bytes: u64,
}

/// Writes a release and its signatures to the folder `out`. Sizes are limited, and all digests are checked. Signatures are not verified.
///
/// # Errors
/// [`OciError`]; the folder is then as it was, and the next pull continues with the blobs that arrived.
pub(crate) async fn pull(
    remote: &Remote,
    out: &Path,
    progress: &Progress,
) -> Result<Pulled, OciError> {
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
    let mut blobs: Vec<Blob> = [&manifest.config]
        .into_iter()
        .chain(&manifest.layers)
        .map(|part| part.blob())
        .collect();
    // Layers may share a blob.
    blobs.sort();
    blobs.dedup();
    let total = blobs
        .iter()
        .fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
    if total > ReleaseLimits::RELEASE_BYTES {
        return Err(remote.too_large("the release", total, ReleaseLimits::RELEASE_BYTES));
    }
    // Refuses a folder that must not be replaced. What is built here stays empty until all blobs are there.
    drop(Layout::create(out)?);
    let at = |source| OciError::Io {
        path: out.to_owned(),
        source,
    };
    let partial = PartialBlobs::beside(out).map_err(at)?;
    let mut session = PullSession {
        remote,
        present: Layout::open(out).ok(),
        partial: &partial,
        task: progress.bar(&format!("from {place}"), total),
        done: 0,
        received: 0,
    };
    let mut files = Vec::new();
    for blob in &blobs {
        files.push(session.fetched(blob).await?);
    }
    let bundles = session.bundles(digest, &bytes).await?;
    let builder = Layout::create(out)?;
    for (blob, file) in blobs.iter().zip(&files) {
        let kept = builder.put_file(file, blob.size)?;
        if kept != *blob {
            return Err(remote.mismatch(blob.digest, kept.digest));
        }
        partial.discard(blob.digest).map_err(at)?;
    }
    let layout = builder.finish(&bytes)?;
    for bundle in &bundles {
        layout.attach(bundle)?;
    }
    let pulled = Pulled {
        place,
        digest,
        signatures: bundles.len(),
        bytes: session.received,
    };
    session.task.done(&format!("in {}", out.display()));
    partial.remove().map_err(at)?;
    Ok(pulled)
}

struct PullSession<'a> {
    remote: &'a Remote,
    /// The release that the folder has; its blobs are not fetched again.
    present: Option<Layout>,
    partial: &'a PartialBlobs,
    task: Task,
    /// The bytes of the blobs that are there.
    done: u64,
    received: u64,
}

impl PullSession<'_> {
    /// The file of a blob, fetched unless it is there.
    async fn fetched(&mut self, blob: &Blob) -> Result<PathBuf, OciError> {
        let present = self.present.as_ref();
        let file = match present.filter(|layout| layout.check(blob).is_ok()) {
            Some(layout) => layout.blob_path(blob.digest),
            None => {
                let path = self.partial.path(blob.digest);
                let mut file = self.partial.open(blob.digest).map_err(|source| {
                    let path = path.clone();
                    OciError::Io { path, source }
                })?;
                let (task, done) = (&self.task, self.done);
                let progress = |size| task.at(done.saturating_add(size));
                let received = self.remote.fetch(blob, &mut file, progress).await?;
                self.received = self.received.saturating_add(received);
                path
            }
        };
        self.done = self.done.saturating_add(blob.size);
        self.task.at(self.done);
        Ok(file)
    }

    /// The signature bundles of a release. Every writer of the repository can attach more, so unreadable ones, and those of other
    /// manifests, are skipped.
    async fn bundles(
        &mut self,
        release: Digest,
        manifest: &[u8],
    ) -> Result<Vec<Vec<u8>>, OciError> {
        let listed = self.remote.referrers(release, Some(BUNDLE)).await?;
        let most = usize::try_from(ReleaseLimits::BUNDLES_READ).unwrap_or(usize::MAX);
        let mut bundles = Vec::new();
        // Registries may ignore the filter.
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
                    .detail(&format!("skipped {}: {error}", entry.digest)),
            }
        }
        bundles.truncate(most);
        Ok(bundles)
    }

    /// The bundles of a referrer, each of at most [`ReleaseLimits::BUNDLE_BYTES`].
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
            let bundle = self.remote.read_blob(&Blob { digest, size }).await?;
            bundles.push(bundle);
        }
        Ok(bundles)
    }
}
