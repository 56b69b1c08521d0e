//! Pulls a release from a registry into a folder.

use std::path::Path;

use hotshoe_devkit::{Progress, Task};
use hotshoe_store::Layout;
use hotshoe_trust::manifest::{BUNDLE, Manifest, RELEASE};
use hotshoe_trust::{Blob, Digest, ReleaseLimits, check_bundle};
use oci_client::manifest::OciImageManifest;
use serde::Serialize;

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
/// [`OciError`]; the folder is then as it was.
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
    let mut session = PullSession {
        remote,
        beside,
        task: progress.bar(&format!("from {place}"), total),
        done: 0,
    };
    for blob in &blobs {
        let file = session.fetched(blob).await?;
        let kept = builder.put_file(file.path(), blob.size)?;
        if kept != *blob {
            return Err(remote.mismatch(blob.digest, kept.digest));
        }
    }
    let bundles = session.bundles(digest, &bytes).await?;
    let layout = builder.finish(&bytes)?;
    for bundle in &bundles {
        layout.attach(bundle)?;
    }
    let pulled = Pulled {
        place,
        digest,
        signatures: bundles.len(),
        bytes: session.done,
    };
    session.task.done(&format!("in {}", out.display()));
    Ok(pulled)
}

struct PullSession<'a> {
    remote: &'a Remote,
    /// The folder of incomplete files, because the system's temporary folder may be too small.
    beside: &'a Path,
    task: Task,
    done: u64,
}

impl PullSession<'_> {
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
            let mut bundle = Vec::new();
            self.remote
                .fetch(&Blob { digest, size }, &mut bundle, |_| ())
                .await?;
            bundles.push(bundle);
        }
        Ok(bundles)
    }
}
