//! State files of the components, one per release, and atomic replacement of other files.

use std::{
    io,
    path::{Path, PathBuf},
};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_trust::Digest;

use crate::{blob_error::BlobError, blobs::BlobStore, store::Store};

/// Largest state file of a release: 128 MiB, more than the sum of all `state-kib` in base64.
pub const MAX_STATE_BYTES: u64 = 128 << 20;

/// Replaces a file atomically and durably: write a temporary file, fsync, rename, fsync of the folder.
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
    /// Writes the state of the components of `release`, at most [`MAX_STATE_BYTES`], atomically.
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
            .and_then(|()| blobs.at_rest().replace(disk, &path, bytes))
            .map_err(BlobError::write(&path))
    }

    /// The saved state of `release`, if there is one.
    pub fn load_state(&self, release: Digest) -> Result<Option<Vec<u8>>, BlobError> {
        let blobs = self.blobs();
        let path = blobs.state_path(release);
        match blobs.at_rest().read(&path, MAX_STATE_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => Ok(None),
                io::ErrorKind::InvalidInput => Err(BlobError::NotAFile { path }),
                io::ErrorKind::FileTooLarge => Err(BlobError::TooLarge {
                    path,
                    limit: MAX_STATE_BYTES,
                }),
                _ => Err(BlobError::read(&path)(error)),
            },
        }
    }

    /// Removes the saved state of `release`.
    pub fn drop_state(&self, release: Digest) -> Result<(), BlobError> {
        let blobs = self.blobs();
        let path = blobs.state_path(release);
        blobs.disk().remove(&path).map_err(BlobError::remove(&path))
    }
}
