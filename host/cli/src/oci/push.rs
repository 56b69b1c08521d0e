//! Pushes a release from a folder to a registry.

use hotshoe_devkit::{Progress, Task};
use hotshoe_store::Layout;
use hotshoe_trust::manifest::{MANIFEST, Manifest};
use hotshoe_trust::{Blob, Digest};
use serde::Serialize;

use super::signatures::Signatures;
use super::{OciError, Remote};

/// The result of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Pushed {
    /// The address of the release.
    pub place: String,
    /// The digest of the signed manifest.
    pub digest: Digest,
    /// The number of its signatures. A pull finds all that a key signed.
    pub signatures: usize,
    /// The bytes that the registry lacked.
    pub sent_bytes: u64,
    /// The bytes that it already had.
    pub present_bytes: u64,
}

/// Pushes a release: blobs first, then the manifest byte for byte, then its signatures, so that a tag never refers to missing blobs.
///
/// # Errors
/// [`OciError`].
pub(crate) async fn push(
    layout: &Layout,
    remote: &Remote,
    progress: &Progress,
) -> Result<Pushed, OciError> {
    let package = layout.package()?;
    let place = remote.address().to_string();
    let manifest = Manifest::parse(&package.manifest).map_err(|source| OciError::Manifest {
        place: layout.path().display().to_string(),
        source,
    })?;
    let referrers = layout.referrers()?;
    let mut blobs = vec![manifest.config.blob()];
    blobs.extend(manifest.layers.iter().map(|layer| layer.blob()));
    blobs.extend(referrers.iter().flat_map(|referrer| referrer.parts.clone()));
    let total = blobs
        .iter()
        .fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
    let mut session = PushSession {
        layout,
        remote,
        task: progress.bar(&format!("to {place}"), total),
        pushed: Pushed {
            place,
            digest: Digest::of(&package.manifest),
            signatures: referrers.len(),
            sent_bytes: 0,
            present_bytes: 0,
        },
    };
    for blob in &blobs {
        session.blob(blob).await?;
    }
    let at = remote.address().reference();
    let bytes = package.manifest.clone();
    remote.put_manifest(at, bytes, MANIFEST).await?;
    for referrer in &referrers {
        let bytes = layout.read(&referrer.manifest)?;
        let at = remote.address().at(referrer.manifest.digest);
        remote.put_manifest(&at, bytes, MANIFEST).await?;
    }
    Signatures::of(remote, session.pushed.digest)
        .attach(&package.manifest, &referrers, &package.bundles)
        .await?;
    let pushed = session.pushed;
    session
        .task
        .done(&format!("{} bytes sent", pushed.sent_bytes));
    Ok(pushed)
}

struct PushSession<'a> {
    layout: &'a Layout,
    remote: &'a Remote,
    task: Task,
    pushed: Pushed,
}

impl PushSession<'_> {
    async fn blob(&mut self, blob: &Blob) -> Result<(), OciError> {
        if self.remote.has(blob).await? {
            let present = &mut self.pushed.present_bytes;
            *present = present.saturating_add(blob.size);
        } else {
            // The registry would detect damage too, with a worse message.
            self.layout.check(blob)?;
            let open = || self.layout.open_blob(blob).map_err(std::io::Error::other);
            self.remote.send(blob, &open).await?;
            let sent = &mut self.pushed.sent_bytes;
            *sent = sent.saturating_add(blob.size);
        }
        let Pushed {
            sent_bytes,
            present_bytes,
            ..
        } = self.pushed;
        self.task.at(sent_bytes.saturating_add(present_bytes));
        Ok(())
    }
}
