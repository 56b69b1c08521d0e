//! A blob that is received in chunks, from several sources at once. It survives a restart.

mod chunks;

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use hotshoe_base::disk::{Disk, files};
use hotshoe_sealing::RecordKey;
use hotshoe_trust::{Blob, ChunkIndex, Digest, Hasher};
use parking_lot::{Mutex, MutexGuard};

use crate::{blob_error::BlobError, blobs::BlobStore};

/// Most earlier chunks that are added to the hash of the whole blob for each one that arrives, in addition to itself.
const CATCH_UP: usize = 2;
/// The file in the folder of partial blobs with the key of their chunks, which is sealed.
const KEY: &str = "chunk.key";
/// Bytes between two syncs: 16 MiB.
const SYNC_EVERY: u64 = 16 << 20;

/// Why a chunk was refused, or a blob could not be finished.
#[derive(Debug, thiserror::Error)]
pub enum PartialError {
    /// The index does not list this chunk.
    #[error("blob {blob} has no chunk {index}")]
    NoSuchChunk {
        /// The blob.
        blob: Digest,
        /// The chunk asked for.
        index: usize,
    },
    /// The bytes do not match the digest of the chunk.
    #[error(
        "chunk {index} of blob {blob} should be {expected}, but the received bytes are {found}"
    )]
    WrongChunk {
        /// The blob.
        blob: Digest,
        /// The chunk.
        index: usize,
        /// Its digest.
        expected: Digest,
        /// The digest of the received bytes.
        found: Digest,
    },
    /// Chunks are still missing.
    #[error("{missing} chunks of blob {blob} are missing")]
    Incomplete {
        /// The blob.
        blob: Digest,
        /// How many.
        missing: usize,
    },
    /// Every chunk matches the index, but together they are not the blob: the index is wrong.
    #[error(
        "the chunk index of blob {blob} is wrong: its chunks add up to {found}; publish the release again"
    )]
    WrongBlob {
        /// The blob.
        blob: Digest,
        /// The digest of its chunks together.
        found: Digest,
    },
    /// This process is already receiving it.
    #[error("blob {0} is already being received")]
    InUse(Digest),
    /// An I/O error, or the disk is full.
    #[error("the received part of a blob cannot be stored")]
    Blob(#[from] BlobError),
}

impl PartialError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NoSuchChunk { .. } => "no_such_chunk",
            Self::WrongChunk { .. } => "wrong_chunk",
            Self::Incomplete { .. } => "incomplete",
            Self::WrongBlob { .. } => "wrong_blob",
            Self::InUse(_) => "in_use",
            Self::Blob(error) => error.name(),
        }
    }
}

/// The bytes of a chunk with their digest, which is computed once however often a blob has the chunk.
#[derive(Debug, Clone, Copy)]
pub struct HashedChunk<'a> {
    blob: Blob,
    bytes: &'a [u8],
}

impl<'a> HashedChunk<'a> {
    /// Hashes the bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self {
            blob: Blob::of(bytes),
            bytes,
        }
    }

    /// Their digest and size.
    pub const fn blob(&self) -> Blob {
        self.blob
    }
}

/// A blob that is being received: a file of its full size with the chunks received so far. The list of chunks is not on disk: when
/// the file is opened again, every chunk is hashed, so that unsynced or damaged chunks are found.
#[derive(Debug)]
pub struct Partial {
    store: BlobStore,
    blob: Blob,
    chunks: Vec<(u64, Blob)>,
    have: Vec<AtomicBool>,
    /// Each chunk is sealed with it, if files are.
    key: Option<RecordKey>,
    file: File,
    path: PathBuf,
    prefix: Mutex<Prefix>,
    /// Bytes written since the last sync.
    unsynced: AtomicU64,
}

/// Incremental digest of the blob, over the chunks that have arrived in order.
#[derive(Debug, Default)]
struct Prefix {
    hasher: Hasher,
    /// The first chunk that is not in `hasher`.
    next: usize,
    /// The blob was moved to its final path.
    finished: bool,
}

impl BlobStore {
    /// Begins or resumes receiving the blob of `index`. Only one receiver per blob is allowed.
    pub fn partial(&self, index: &ChunkIndex) -> Result<Partial, PartialError> {
        let blob = index.blob;
        if !self.arriving().insert(blob.digest) {
            return Err(PartialError::InUse(blob.digest));
        }
        let opened = self.open_partial(index);
        if opened.is_err() {
            self.arriving().remove(&blob.digest);
        }
        Ok(opened?)
    }

    /// Whether a blob is partially received; [`BlobStore::usage`] then counts its full size.
    pub fn has_begun(&self, blob: &Blob) -> bool {
        self.parts_folder().join(blob.digest.hex()).exists()
    }

    fn open_partial(&self, index: &ChunkIndex) -> Result<Partial, BlobError> {
        let blob = index.blob;
        let folder = self.parts_folder();
        let path = folder.join(blob.digest.hex());
        let resumed = path.exists();
        let disk = self.disk();
        let file = disk
            .make_folder(&folder)
            .and_then(|()| disk.open(&path))
            .map_err(BlobError::write(&path))?;
        let key_path = folder.join(KEY);
        // What a damaged key sealed is fetched again.
        let (key, _) = RecordKey::open_or_renew(&self.at_rest(), disk, &key_path)
            .map_err(io::Error::from)
            .map_err(BlobError::read(&key_path))?;
        let partial = Partial {
            store: self.clone(),
            blob,
            chunks: index.offsets().collect(),
            have: index
                .chunks
                .iter()
                .map(|_| AtomicBool::new(false))
                .collect(),
            key,
            file,
            path,
            prefix: Mutex::default(),
            unsynced: AtomicU64::new(0),
        };
        partial.size_file(disk)?;
        if resumed {
            partial.look().map_err(BlobError::read(&partial.path))?;
        }
        Ok(partial)
    }

    /// Removes the chunks of blobs that are complete, which a power cut left.
    pub(crate) fn remove_finished_parts(&self) -> Result<(), BlobError> {
        let folder = self.parts_folder();
        for path in files(&folder).map_err(BlobError::read(&folder))? {
            let name = path.file_name().unwrap_or_default();
            if self.folder().join(name).exists() {
                self.disk()
                    .remove(&path)
                    .map_err(BlobError::remove(&path))?;
            }
        }
        Ok(())
    }

    pub(crate) fn parts_folder(&self) -> PathBuf {
        self.root().join("parts")
    }
}

impl Partial {
    /// The complete blob.
    pub fn blob(&self) -> Blob {
        self.blob
    }

    /// The digests of its chunks, in order.
    pub(crate) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.chunks.iter().map(|(_, chunk)| chunk.digest)
    }

    /// For each chunk in order, whether it has arrived.
    pub fn have(&self) -> Vec<bool> {
        (0..self.chunks.len())
            .map(|index| self.has(index))
            .collect()
    }

    /// The chunks that have not arrived yet.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.chunks.len())
            .filter(|index| !self.has(*index))
            .collect()
    }

    /// Whether a chunk has arrived.
    pub fn has(&self, index: usize) -> bool {
        self.have
            .get(index)
            .is_some_and(|have| have.load(Ordering::Acquire))
    }

    /// Stores a chunk after checking its size and digest. A chunk that has already arrived is not written again.
    pub fn put(&self, index: usize, bytes: &[u8]) -> Result<(), PartialError> {
        self.put_all(&[(index, HashedChunk::of(bytes))])
    }

    /// Stores chunks after checking their sizes and digests; if one is wrong, none is stored. Those that follow each other in the blob
    /// are written together.
    pub fn put_all(&self, chunks: &[(usize, HashedChunk<'_>)]) -> Result<(), PartialError> {
        let mut new = Vec::with_capacity(chunks.len());
        for (index, chunk) in chunks {
            let (offset, expected) = self.chunk(*index)?;
            if chunk.blob != expected {
                return Err(PartialError::WrongChunk {
                    blob: self.blob.digest,
                    index: *index,
                    expected: expected.digest,
                    found: chunk.blob.digest,
                });
            }
            if !self.has(*index) {
                new.push((*index, offset, chunk.bytes));
            }
        }
        new.sort_unstable_by_key(|(index, ..)| *index);
        new.dedup_by_key(|(index, ..)| *index);
        for run in new.chunk_by(|(one, ..), (next, ..)| one + 1 == *next) {
            let Some((first, offset, _)) = run.first() else {
                continue;
            };
            let pieces: Vec<&[u8]> = run.iter().map(|(.., bytes)| *bytes).collect();
            self.write(*first, *offset, &pieces)
                .map_err(BlobError::write(&self.path))?;
            for (index, ..) in run {
                self.mark(*index);
            }
        }
        self.hash_along(&new)?;
        self.sync_along(new.iter().map(|(.., bytes)| bytes.len() as u64).sum())
    }

    /// Whether these are the bytes of a chunk.
    pub fn fits(&self, index: usize, chunk: &HashedChunk<'_>) -> bool {
        self.chunks
            .get(index)
            .is_some_and(|(_, expected)| *expected == chunk.blob)
    }

    /// Reads a chunk that has arrived, without hashing it again.
    pub fn read(&self, index: usize) -> Result<Option<Vec<u8>>, PartialError> {
        let (offset, chunk) = self.chunk(index)?;
        if !self.has(index) {
            return Ok(None);
        }
        let bytes = self.bytes(index, offset, &chunk);
        Ok(bytes.map_err(BlobError::read(&self.path))?)
    }

    /// Syncs the blob, hashes it, and moves it to its final path. If the index is wrong, the received bytes are removed. Calling it
    /// again after success returns the blob again.
    pub fn finish(&self) -> Result<Blob, PartialError> {
        let digest = self.blob.digest;
        let missing = self.missing().len();
        if missing > 0 {
            return Err(PartialError::Incomplete {
                blob: digest,
                missing,
            });
        }
        let mut prefix = self.prefix();
        if prefix.finished {
            return Ok(self.blob);
        }
        let disk = self.store.disk();
        let write = || BlobError::write(&self.path);
        disk.sync(&self.file).map_err(write())?;
        self.catch_up(&mut prefix, usize::MAX)
            .map_err(BlobError::read(&self.path))?;
        let found = prefix.hasher.clone().finish();
        if found != digest {
            disk.remove(&self.path)
                .map_err(BlobError::remove(&self.path))?;
            return Err(PartialError::WrongBlob {
                blob: digest,
                found,
            });
        }
        if self.key.is_some() {
            self.seal_whole()?;
        } else {
            disk.rename(&self.path, &self.store.path(digest))
                .map_err(write())?;
        }
        self.store.note_proven(digest);
        self.store.arriving().remove(&digest);
        prefix.finished = true;
        Ok(self.blob)
    }

    fn chunk(&self, index: usize) -> Result<(u64, Blob), PartialError> {
        let chunk = self.chunks.get(index).copied();
        chunk.ok_or(PartialError::NoSuchChunk {
            blob: self.blob.digest,
            index,
        })
    }

    fn mark(&self, index: usize) {
        if let Some(have) = self.have.get(index) {
            have.store(true, Ordering::Release);
        }
    }

    fn prefix(&self) -> MutexGuard<'_, Prefix> {
        self.prefix.lock()
    }

    fn size_file(&self, disk: &Disk) -> Result<(), BlobError> {
        let metadata = self.file.metadata().map_err(BlobError::read(&self.path))?;
        let (bytes, _) = self.place(self.chunks.len(), self.blob.size);
        if metadata.len() == bytes {
            return Ok(());
        }
        disk.set_len(&self.file, bytes)
            .map_err(BlobError::write(&self.path))
    }

    /// Finds the valid chunks in an existing file.
    fn look(&self) -> io::Result<()> {
        let mut prefix = self.prefix();
        for (index, (offset, chunk)) in self.chunks.iter().enumerate() {
            let Some(bytes) = self.bytes(index, *offset, chunk)? else {
                continue;
            };
            if Digest::of(&bytes) == chunk.digest {
                self.mark(index);
                prefix.take(index, &bytes);
            }
        }
        Ok(())
    }

    /// Adds chunks to the hash of the whole blob while their bytes are in memory, if they are next in order. Does not wait for another
    /// thread that does so: skipped chunks are read again later.
    fn hash_along(&self, new: &[(usize, u64, &[u8])]) -> Result<(), PartialError> {
        let Some(mut prefix) = self.prefix.try_lock() else {
            return Ok(());
        };
        for (index, _, bytes) in new {
            prefix.take(*index, bytes);
        }
        self.catch_up(&mut prefix, CATCH_UP * new.len())
            .map_err(BlobError::read(&self.path))?;
        Ok(())
    }

    /// Syncs the file from time to time, so that the final sync is short. Other threads keep writing meanwhile.
    fn sync_along(&self, written: u64) -> Result<(), PartialError> {
        let unsynced = self.unsynced.fetch_add(written, Ordering::Relaxed) + written;
        if unsynced < SYNC_EVERY {
            return Ok(());
        }
        self.unsynced.store(0, Ordering::Relaxed);
        let synced = self.store.disk().sync_data(&self.file);
        Ok(synced.map_err(BlobError::write(&self.path))?)
    }

    /// Hashes the chunks that are next in order, at most `most` of them.
    fn catch_up(&self, prefix: &mut Prefix, most: usize) -> io::Result<()> {
        let turns = self.chunks.iter().enumerate().skip(prefix.next).take(most);
        for (index, (offset, chunk)) in turns {
            if !self.has(index) {
                break;
            }
            let bytes = self.bytes(index, *offset, chunk)?;
            prefix.take(index, &bytes.ok_or(io::ErrorKind::InvalidData)?);
        }
        Ok(())
    }
}

impl Prefix {
    fn take(&mut self, index: usize, bytes: &[u8]) {
        if index == self.next {
            self.hasher.update(bytes);
            self.next = self.next.saturating_add(1);
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Once it is finished, another receiver may have begun.
        if !self.prefix().finished {
            self.store.arriving().remove(&self.blob.digest);
        }
    }
}
