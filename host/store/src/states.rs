//! What the components of a release keep between calls, one file a release; and other files that are replaced whole.

use std::{
    io,
    path::{Path, PathBuf},
};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_trust::Digest;

use crate::{
    blob_error::{BlobError, read_file},
    blobs::BlobStore,
    store::Store,
};

/// What the components of one release keep may have 128 MiB: more than all their `state-kib` let them, written as base64.
pub const MAX_STATE_BYTES: u64 = 128 << 20;

/// Replaces a file, whole or not at all, and durably: written beside it, synced, renamed, and the name synced.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), BlobError> {
    Disk::new(Faults::never())
        .replace(path, bytes)
        .map_err(BlobError::write(path))
}

impl BlobStore {
    pub(crate) fn state_folder(&self) -> PathBuf {
        self.root().join("state")
    }

    pub(crate) fn state_path(&self, release: Digest) -> PathBuf {
        self.state_folder().join(format!("{}.json", release.hex()))
    }
}

impl Store {
    /// Keeps what the components of `release` ask to be kept, of at most [`MAX_STATE_BYTES`]; whole or not at all.
    pub fn save_state(&self, release: Digest, bytes: &[u8]) -> Result<(), BlobError> {
        let blobs = self.blobs();
        let path = blobs.state_path(release);
        if bytes.len() as u64 > MAX_STATE_BYTES {
            return Err(BlobError::TooLarge {
                path,
                limit: MAX_STATE_BYTES,
            });
        }
        let disk = blobs.disk();
        disk.make_folder(&blobs.state_folder())
            .and_then(|()| disk.replace(&path, bytes))
            .map_err(BlobError::write(&path))
    }

    /// What was kept for `release`, if anything was.
    pub fn load_state(&self, release: Digest) -> Result<Option<Vec<u8>>, BlobError> {
        match read_file(&self.blobs().state_path(release), MAX_STATE_BYTES) {
            Err(BlobError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Forgets what was kept for `release`.
    pub fn drop_state(&self, release: Digest) -> Result<(), BlobError> {
        let blobs = self.blobs();
        let path = blobs.state_path(release);
        blobs.disk().remove(&path).map_err(BlobError::remove(&path))
    }
}
