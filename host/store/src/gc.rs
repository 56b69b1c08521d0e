//! Garbage collection in a data folder.

use std::{collections::BTreeSet, path::PathBuf};

use hotshoe_base::disk::files;
use hotshoe_trust::{Digest, ReleaseLimits, manifest::Manifest};

use crate::{
    blob_error::BlobError,
    blobs::BlobStore,
    store::{ReadError, Store},
};

/// Why garbage collection failed.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The blobs that a slot needs are unknown; nothing is removed.
    #[error(
        "cannot determine the blobs of generation {generation} of `{name}`; nothing was removed"
    )]
    Unreadable {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// An I/O error.
    #[error("cannot remove unused files from the data folder")]
    Blob(#[from] BlobError),
}

impl GcError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unreadable { source, .. } => source.name(),
            Self::Blob(error) => error.name(),
        }
    }
}

/// The result of a garbage collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Files removed.
    pub files: u64,
    /// Bytes freed.
    pub bytes: u64,
    /// Bytes in use now.
    pub used: u64,
    /// Bytes in use above the quota; 0 without a quota.
    pub over: u64,
}

impl BlobStore {
    /// Reads the manifest of a release.
    pub(crate) fn manifest(&self, release: Digest) -> Result<Manifest, ReadError> {
        let bytes = self.read_any(release, ReleaseLimits::MANIFEST_BYTES)?;
        Ok(Manifest::parse(&bytes)?)
    }

    /// The digests of a release's manifest, config and blobs, without its signatures.
    pub fn contents(&self, release: Digest) -> Result<BTreeSet<Digest>, ReadError> {
        let manifest = self.manifest(release)?;
        let layers = manifest.layers.iter().map(|layer| layer.digest);
        Ok(layers.chain([release, manifest.config.digest]).collect())
    }

    /// Bytes in use. A blob that is being received counts with its full size.
    pub fn usage(&self) -> Result<u64, BlobError> {
        let mut used = 0_u64;
        for folder in self.folders() {
            for path in files(&folder).map_err(BlobError::read(&folder))? {
                used = used.saturating_add(size(&path)?);
            }
        }
        Ok(used)
    }

    /// Removes the blobs, partial blobs and states of other digests than `keep`. Blobs that are being received stay.
    pub fn retain(&self, keep: &BTreeSet<Digest>) -> Result<GcReport, BlobError> {
        let arriving = self.arriving();
        let kept: BTreeSet<_> = keep
            .iter()
            .chain(arriving.iter())
            .map(Digest::hex)
            .collect();
        let mut freed = GcReport::default();
        for folder in self.folders() {
            for path in files(&folder).map_err(BlobError::read(&folder))? {
                // Files are named by a digest; those of states have an extension. Files that are being written have another name, and stay.
                let name = path.file_stem().and_then(|name| name.to_str());
                let of_digest = |name: &str| format!("sha256:{name}").parse::<Digest>().is_ok();
                if name.is_none_or(|name| !of_digest(name) || kept.contains(name)) {
                    continue;
                }
                freed.bytes = freed.bytes.saturating_add(size(&path)?);
                self.disk()
                    .remove(&path)
                    .map_err(BlobError::remove(&path))?;
                freed.files = freed.files.saturating_add(1);
            }
        }
        freed.used = self.usage()?;
        Ok(freed)
    }

    fn folders(&self) -> [PathBuf; 3] {
        [self.folder(), self.parts_folder(), self.state_folder()]
    }
}

/// The size of a file; 0 if it has been removed meanwhile.
fn size(path: &std::path::Path) -> Result<u64, BlobError> {
    match path.metadata() {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(BlobError::read(path)(error)),
    }
}

impl Store {
    /// Bytes in use by blobs, partial blobs and states.
    pub fn usage(&self) -> Result<u64, BlobError> {
        self.blobs().usage()
    }

    /// Removes everything that neither a slot nor a release in `keep_also` needs. `keep_also` has the manifests of releases that are
    /// being received; [`Store::keep_package`] stored them before, so that their blobs and partial blobs are known and stay.
    /// Needed files stay even above `quota` bytes: [`GcReport::over`] is the excess.
    pub fn collect_garbage(
        &mut self,
        keep_also: &[Digest],
        quota: Option<u64>,
    ) -> Result<GcReport, GcError> {
        let blobs = self.blobs();
        let mut keep = self.needed()?;
        for release in keep_also {
            keep.insert(*release);
            // A release without a manifest yet is kept as the blob of that digest.
            keep.extend(blobs.contents(*release).unwrap_or_default());
        }
        let mut freed = blobs.retain(&keep)?;
        self.retain_code(&keep, &mut freed)?;
        freed.over = freed.used.saturating_sub(quota.unwrap_or(u64::MAX));
        Ok(freed)
    }

    /// Removes the compiled code of components that are not kept. Its files are named `<digest>-<settings>.code`. It does not
    /// count against the quota, since it can be compiled again.
    fn retain_code(&self, keep: &BTreeSet<Digest>, freed: &mut GcReport) -> Result<(), BlobError> {
        let folder = self.aot_dir();
        for path in files(folder).map_err(BlobError::read(folder))? {
            let name = path.file_name().and_then(|name| name.to_str());
            let component = name
                .and_then(|name| name.split_once('-'))
                .map(|(hex, _)| hex);
            let component = component.and_then(|hex| format!("sha256:{hex}").parse().ok());
            if component.is_none_or(|component| keep.contains(&component)) {
                continue;
            }
            freed.bytes = freed.bytes.saturating_add(size(&path)?);
            self.blobs()
                .disk()
                .remove(&path)
                .map_err(BlobError::remove(&path))?;
            freed.files = freed.files.saturating_add(1);
        }
        Ok(())
    }

    /// The digests that the ledger needs, directly or through a manifest.
    fn needed(&self) -> Result<BTreeSet<Digest>, GcError> {
        let blobs = self.blobs();
        let trust = self.ledger().trust.iter().map(|trust| trust.file);
        let mut needed: BTreeSet<_> = trust.collect();
        for slot in self.ledger().slots() {
            let contents = blobs.contents(slot.release);
            needed.extend(contents.map_err(|source| GcError::Unreadable {
                name: slot.name.clone(),
                generation: slot.generation,
                source,
            })?);
            needed.extend(&slot.bundles);
        }
        Ok(needed)
    }
}
