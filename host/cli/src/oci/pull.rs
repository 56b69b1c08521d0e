//! Pulls a release from a registry into a folder.

use std::path::Path;

use hotshoe_devkit::{Progress, Task};
use hotshoe_store::Layout;
use hotshoe_trust::manifest::{CONFIG, Manifest, RELEASE};
use hotshoe_trust::{Blob, Digest, ReleaseLimits};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

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
/// [`OciError`]; the folder is then as it was.
pub(crate) async fn pull(
    remote: &Remote,
    out: &Path,
    progress: &Progress,
) -> Result<Pulled, OciError> {
    let place = remote.address().to_string();
    let bytes = remote.manifest(remote.address().reference()).await?;
    let manifest = release_manifest(&place, &bytes)?;
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
    let skipped = |digest: &str, error: &OciError| {
        session.task.detail(&format!("skipped {digest}: {error}"));
    };
    let bundles = Signatures::of(remote, digest).find(&bytes, skipped).await?;
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

/// Reads the manifest of a release. Anything else that a registry keeps is named as what it is.
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
