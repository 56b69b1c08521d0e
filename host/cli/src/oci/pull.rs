//! Pulls a release from a registry into a folder.

use std::path::{Path, PathBuf};

use hotshoe_devkit::{Progress, Task};
use hotshoe_store::Layout;
use hotshoe_trust::manifest::{CONFIG, Manifest, RELEASE};
use hotshoe_trust::{Blob, Digest, ReleaseLimits};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::partial::PartialBlobs;
use super::remote::INDEX;
use super::signatures::Signatures;
use super::{OciError, Remote};

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
    let manifest = release_manifest(&place, &bytes)?;
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
    let skipped = |digest: &str, error: &OciError| {
        session.task.detail(&format!("skipped {digest}: {error}"));
    };
    let bundles = Signatures::of(remote, digest).find(&bytes, skipped).await?;
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

/// The kind of an artifact that may be anything: an image, an image for several platforms, a chart.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AnyManifest {
    artifact_type: Option<String>,
    media_type: Option<String>,
    config: Option<AnyConfig>,
    manifests: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyConfig {
    media_type: String,
}

/// Reads the manifest of a release. The error for any other artifact names its type.
fn release_manifest(place: &str, bytes: &[u8]) -> Result<Manifest, OciError> {
    let place = place.to_owned();
    let source = match Manifest::parse(bytes) {
        Ok(manifest) if manifest.artifact_type == RELEASE => return Ok(manifest),
        Ok(manifest) => {
            let found = manifest.artifact_type;
            return Err(OciError::NotARelease { place, found });
        }
        Err(source) => source,
    };
    let any: AnyManifest = serde_json::from_slice(bytes).unwrap_or_default();
    let kind = if any.manifests.is_some() {
        any.media_type.or_else(|| Some(INDEX.to_owned()))
    } else {
        let of_config = any.config.map(|config| config.media_type);
        any.artifact_type.or(of_config).or(any.media_type)
    };
    match kind.filter(|kind| !kind.is_empty()) {
        Some(found) if found != RELEASE && found != CONFIG => {
            Err(OciError::NotARelease { place, found })
        }
        _ => Err(OciError::Manifest { place, source }),
    }
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
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_not_a_release_is_named_by_its_type() {
        let name = |bytes: &str| {
            let error = release_manifest("oci://r.example/a:1", bytes.as_bytes()).unwrap_err();
            (error.name().unwrap(), error.to_string())
        };
        let image = r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",
            "config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":"sha256:0","size":1},"layers":[]}"#;
        let chart = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config.v1+json"},"layers":[]}"#;
        let artifact = r#"{"schemaVersion":2,"artifactType":"application/x","config":{"mediaType":"application/vnd.oci.empty.v1+json"}}"#;
        let several = r#"{"schemaVersion":2,"manifests":[{"digest":"sha256:0"}]}"#;
        for (bytes, kind) in [
            (image, "application/vnd.docker.container.image.v1+json"),
            (chart, "application/vnd.cncf.helm.config.v1+json"),
            (artifact, "application/x"),
            (several, INDEX),
        ] {
            let (name, text) = name(bytes);
            assert_eq!(name, "not_a_release", "{bytes}");
            assert!(
                text.contains("is not a Hotshoe release") && text.contains(kind),
                "{text}"
            );
        }
        let damaged = format!(r#"{{"schemaVersion":2,"artifactType":"{RELEASE}","config":7}}"#);
        for bytes in ["", "{}", "[]", "junk", damaged.as_str()] {
            assert_eq!(name(bytes).0, "malformed", "{bytes}");
        }
    }
}
