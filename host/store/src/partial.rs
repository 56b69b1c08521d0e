//! A blob that is arriving in chunks, from several places at once, and that a restart does not lose.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hotshoe_base::disk::{Disk, files};
use hotshoe_trust::{Blob, ChunkIndex, Digest, Hasher};

use crate::{blob_error::BlobError, blobs::BlobStore};

/// Chunks that one [`Partial::put`] hashes for the whole blob, beside its own: what came before its turn.
const CATCH_UP: usize = 2;
/// Bytes after which what has come is made durable: 16 MiB.
const SYNC_EVERY: u64 = 16 << 20;

/// Why a chunk was not taken, or a blob not finished.
#[derive(Debug, thiserror::Error)]
pub enum PartialError {
    /// The index lists no such chunk.
    #[error("blob {blob} has no chunk {index}")]
    NoSuchChunk {
        /// The blob.
        blob: Digest,
        /// The chunk asked for.
        index: usize,
    },
    /// Bytes that are not the chunk's.
    #[error("chunk {index} of blob {blob} should be {expected}, and what came is {found}")]
    WrongChunk {
        /// The blob.
        blob: Digest,
        /// The chunk.
        index: usize,
        /// Its digest.
        expected: Digest,
        /// The digest of what came.
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
    /// Every chunk is what the index says, and together they are not the blob: the index is wrong.
    #[error(
        "the chunk index of blob {blob} is wrong: its chunks make {found}; publish the release anew"
    )]
    WrongBlob {
        /// The blob.
        blob: Digest,
        /// What its chunks make.
        found: Digest,
    },
    /// Another part of this process is receiving it.
    #[error("blob {0} is arriving already")]
    InUse(Digest),
    /// The disk refused, or is full.
    #[error("what has arrived of a blob cannot be kept")]
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

/// A blob that is arriving: a file of its size, of which the chunks that have come are whole. No list of them is
/// kept on disk: opened again, each chunk's bytes are hashed, so that nothing unsynced or spoilt is taken for whole.
#[derive(Debug)]
pub struct Partial {
    store: BlobStore,
    blob: Blob,
    chunks: Vec<(u64, Blob)>,
    have: Vec<AtomicBool>,
    file: File,
    path: PathBuf,
    prefix: Mutex<Prefix>,
    /// Bytes written since the file was made durable last.
    unsynced: AtomicU64,
}

/// The blob's own digest, taken while the chunks arrive as far as they have come in order.
#[derive(Debug, Default)]
struct Prefix {
    hasher: Hasher,
    /// The first chunk that is not in `hasher`.
    next: usize,
    /// The blob is in its place.
    finished: bool,
}

impl BlobStore {
    /// Begins to receive the blob of `index`, or goes on where it was left. One at a time for each blob.
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

    /// Whether a blob has begun to arrive: then [`BlobStore::usage`] counts it whole.
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
        let partial = Partial {
            store: self.clone(),
            blob,
            chunks: index.offsets().collect(),
            have: index
                .chunks
                .iter()
                .map(|_| AtomicBool::new(false))
                .collect(),
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

    pub(crate) fn parts_folder(&self) -> PathBuf {
        self.root().join("parts")
    }

    /// Removes what has arrived of other blobs than `keep`, but for those that are arriving now.
    pub fn drop_partials_except(&self, keep: &[Digest]) -> Result<(), BlobError> {
        let arriving = self.arriving();
        let kept: Vec<_> = keep
            .iter()
            .chain(arriving.iter())
            .map(Digest::hex)
            .collect();
        let folder = self.parts_folder();
        for path in files(&folder).map_err(BlobError::read(&folder))? {
            let name = path.file_name().unwrap_or_default();
            if !kept.iter().any(|kept| name == kept.as_str()) {
                self.disk()
                    .remove(&path)
                    .map_err(BlobError::remove(&path))?;
            }
        }
        Ok(())
    }
}

impl Partial {
    /// The blob that it will be.
    pub fn blob(&self) -> Blob {
        self.blob
    }

    /// The digests of its chunks, in order.
    pub(crate) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.chunks.iter().map(|(_, chunk)| chunk.digest)
    }

    /// Which chunks have come, in order.
    pub fn have(&self) -> Vec<bool> {
        (0..self.chunks.len())
            .map(|index| self.has(index))
            .collect()
    }

    /// The chunks that have not come yet.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.chunks.len())
            .filter(|index| !self.has(*index))
            .collect()
    }

    /// Whether a chunk has come.
    pub fn has(&self, index: usize) -> bool {
        self.have
            .get(index)
            .is_some_and(|have| have.load(Ordering::Acquire))
    }

    /// Takes a chunk in, once its size and digest are right. One that has come already is not written again.
    pub fn put(&self, index: usize, bytes: &[u8]) -> Result<(), PartialError> {
        let (offset, chunk) = self.chunk(index)?;
        let found = Blob::of(bytes);
        if found != chunk {
            return Err(PartialError::WrongChunk {
                blob: self.blob.digest,
                index,
                expected: chunk.digest,
                found: found.digest,
            });
        }
        if self.has(index) {
            return Ok(());
        }
        self.store
            .disk()
            .write_at(&self.file, bytes, offset)
            .map_err(BlobError::write(&self.path))?;
        self.mark(index);
        self.hash_along(index, bytes)?;
        self.sync_along(chunk.size)
    }

    /// A chunk that has come; it is not hashed again.
    pub fn read(&self, index: usize) -> Result<Option<Vec<u8>>, PartialError> {
        let (offset, chunk) = self.chunk(index)?;
        if !self.has(index) {
            return Ok(None);
        }
        let bytes = self.bytes(offset, &chunk);
        Ok(Some(bytes.map_err(BlobError::read(&self.path))?))
    }

    /// Makes the blob durable, hashes it whole, and moves it to its place. An index that lies about the blob costs
    /// what has arrived. Once it is finished, this says so again.
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
        disk.rename(&self.path, &self.store.path(digest))
            .map_err(write())?;
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

    fn bytes(&self, offset: u64, chunk: &Blob) -> io::Result<Vec<u8>> {
        // At most `MAX_CHUNK_BYTES`, by the index's own rules.
        let mut bytes = vec![0; usize::try_from(chunk.size).map_err(io::Error::other)?];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn mark(&self, index: usize) {
        if let Some(have) = self.have.get(index) {
            have.store(true, Ordering::Release);
        }
    }

    fn prefix(&self) -> MutexGuard<'_, Prefix> {
        self.prefix.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn size_file(&self, disk: &Disk) -> Result<(), BlobError> {
        let metadata = self.file.metadata().map_err(BlobError::read(&self.path))?;
        if metadata.len() == self.blob.size {
            return Ok(());
        }
        disk.set_len(&self.file, self.blob.size)
            .map_err(BlobError::write(&self.path))
    }

    /// Finds out which chunks are whole in a file that was left.
    fn look(&self) -> io::Result<()> {
        let mut prefix = self.prefix();
        for (index, (offset, chunk)) in self.chunks.iter().enumerate() {
            let bytes = self.bytes(*offset, chunk)?;
            if Digest::of(&bytes) == chunk.digest {
                self.mark(index);
                prefix.take(index, &bytes);
            }
        }
        Ok(())
    }

    /// Hashes a chunk for the whole blob while its bytes are at hand, where it is its turn. Another thread that does
    /// so is not waited for: what it leaves out is read again later.
    fn hash_along(&self, index: usize, bytes: &[u8]) -> Result<(), PartialError> {
        let mut prefix = match self.prefix.try_lock() {
            Ok(prefix) => prefix,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        prefix.take(index, bytes);
        self.catch_up(&mut prefix, CATCH_UP)
            .map_err(BlobError::read(&self.path))?;
        Ok(())
    }

    /// Makes what has come durable now and then, so that little is left to wait for at the end. Others write on meanwhile.
    fn sync_along(&self, written: u64) -> Result<(), PartialError> {
        let unsynced = self.unsynced.fetch_add(written, Ordering::Relaxed) + written;
        if unsynced < SYNC_EVERY {
            return Ok(());
        }
        self.unsynced.store(0, Ordering::Relaxed);
        let synced = self.store.disk().sync(&self.file);
        Ok(synced.map_err(BlobError::write(&self.path))?)
    }

    /// Hashes what has come and is next in order, at most so many chunks.
    fn catch_up(&self, prefix: &mut Prefix, most: usize) -> io::Result<()> {
        let turns = self.chunks.iter().enumerate().skip(prefix.next).take(most);
        for (index, (offset, chunk)) in turns {
            if !self.has(index) {
                break;
            }
            prefix.take(index, &self.bytes(*offset, chunk)?);
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
        // Once it is finished, another may have begun.
        if !self.prefix().finished {
            self.store.arriving().remove(&self.blob.digest);
        }
    }
}
