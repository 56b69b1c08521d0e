//! The chunks in the file of a partial blob: as they are, or each one sealed.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path};

use hotshoe_base::disk::PART;
use hotshoe_sealing::RECORD_OVERHEAD_BYTES;
use hotshoe_trust::Blob;

use super::Partial;
use crate::blob_error::BlobError;

impl Partial {
    /// Where a chunk is in the file, and how many bytes it has more than its contents.
    pub(super) fn place(&self, index: usize, offset: u64) -> (u64, u64) {
        let overhead = match self.key {
            None => 0,
            Some(_) => RECORD_OVERHEAD_BYTES as u64,
        };
        (offset + overhead * index as u64, overhead)
    }

    /// Writes chunks that follow each other in the blob, with one call if they are not sealed.
    pub(super) fn write(&self, first: usize, offset: u64, run: &[&[u8]]) -> io::Result<()> {
        let (mut at, _) = self.place(first, offset);
        let disk = self.store.disk();
        let Some(key) = &self.key else {
            return disk.write_all_at(&self.file, run, at);
        };
        for (index, bytes) in (first..).zip(run) {
            let sealed = key.seal(bytes, &self.beside(index))?;
            disk.write_at(&self.file, &sealed, at)?;
            at += sealed.len() as u64;
        }
        Ok(())
    }

    /// The bytes at the place of a chunk; `None` if they are not those of a sealed one.
    pub(super) fn bytes(
        &self,
        index: usize,
        offset: u64,
        chunk: &Blob,
    ) -> io::Result<Option<Vec<u8>>> {
        let (at, overhead) = self.place(index, offset);
        // At most `MAX_CHUNK_BYTES`, which parsing the index checks.
        let size = usize::try_from(chunk.size + overhead).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(match &self.key {
            None => Some(bytes),
            Some(key) => key.unseal(&bytes, &self.beside(index)),
        })
    }

    /// Which chunk it is.
    fn beside(&self, index: usize) -> Vec<u8> {
        format!("{} {index}", self.blob.digest).into_bytes()
    }

    /// Writes the blob as a sealed file to its final path, and removes the file of its chunks.
    pub(super) fn seal_whole(&self) -> Result<(), BlobError> {
        let (disk, digest) = (self.store.disk(), self.blob.digest);
        let path = self.store.path(digest);
        let part = self.store.folder().join(format!("{}.{PART}", digest.hex()));
        let written = self.write_whole(&part).and_then(|file| {
            disk.finish(&file, &part, &path)
                .map_err(BlobError::write(&path))
        });
        if written.is_err() {
            // The disk may be full, so leave nothing behind.
            let _ = disk.remove(&part);
        }
        written?;
        disk.remove(&self.path)
            .map_err(BlobError::remove(&self.path))
    }

    fn write_whole(&self, part: &Path) -> Result<File, BlobError> {
        let mut writer = self.store.create(part)?;
        for (index, (offset, chunk)) in self.chunks.iter().enumerate() {
            let bytes = self.bytes(index, *offset, chunk);
            let bytes = bytes
                .and_then(|bytes| bytes.ok_or_else(|| io::ErrorKind::InvalidData.into()))
                .map_err(BlobError::read(&self.path))?;
            writer.write(&bytes).map_err(BlobError::write(part))?;
        }
        writer.finish().map_err(BlobError::write(part))
    }
}
