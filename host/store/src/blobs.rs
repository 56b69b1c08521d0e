//! A folder of blobs, each a file named by its SHA-256: `blobs/sha256/<hex>`, as in an OCI image layout.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hotshoe_base::disk::{Disk, Faults, PART, files};
use hotshoe_sealing::{AtRest, Contents, ContentsWriter, is_sealed_file};
use hotshoe_trust::{Blob, ChunkIndex, Digest, Hasher, IndexError, Release, ReleaseLimits};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    blob_error::{BlobError, OpenFile, open_below, open_file},
    open::{OpenError, lock},
};

/// Bytes read and hashed at a time: 1 MiB.
const PIECE: usize = 1 << 20;
/// What blobs are sealed as. Their digests say which one each is.
const SEALED_AS: &str = "blob";
/// The folder of blobs that were set aside.
const DAMAGED: &str = "damaged";

/// A handle to the blobs of a data folder or of a release folder. Clones share one store. The data folder stays locked against
/// other processes while a handle exists.
#[derive(Debug, Clone)]
pub struct BlobStore {
    root: PathBuf,
    /// No link below it leads out. All of a release folder, which someone else may have made. Of a data folder only the folder of
    /// blobs, so that an operator may link that to another disk.
    edge: PathBuf,
    disk: Disk,
    /// How the blobs of a data folder are kept. `None` for a release folder, whose files are as they are.
    at_rest: Option<AtRest>,
    shared: Arc<Shared>,
}

/// State that all handles to one folder share.
#[derive(Debug, Default)]
struct Shared {
    /// The lock file, held while a handle exists.
    _lock: Option<File>,
    /// Counts writes, for unique temporary names on several threads.
    written: AtomicU64,
    /// Blobs that this process has hashed, with the file metadata at that time.
    proven: Mutex<HashMap<Digest, FileStamp>>,
    /// Blobs with the chunk indexes that this process has checked.
    indexed: Mutex<BTreeSet<(Digest, Digest)>>,
    /// Blobs that are being received.
    arriving: Mutex<BTreeSet<Digest>>,
}

/// Identifies a version of a file: its inode, size and time of change.
#[derive(Debug, PartialEq, Eq)]
struct FileStamp(u64, u64, i64, i64);

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        Self(
            metadata.ino(),
            metadata.len(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        )
    }
}

impl BlobStore {
    /// Opens a folder of blobs without a ledger, as a registry uses it. Creates it if it is missing, and locks it against
    /// other processes.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let disk = Disk::new(Faults::never());
        let lock = lock(&disk, folder)?;
        let store = Self::locked(folder, disk, AtRest::plain(), lock);
        store.prepare().map_err(OpenError::Blobs)?;
        Ok(store)
    }

    pub(crate) fn locked(root: &Path, disk: Disk, at_rest: AtRest, lock: File) -> Self {
        let shared = Shared {
            _lock: Some(lock),
            ..Shared::default()
        };
        Self {
            root: root.to_owned(),
            edge: blobs_in(root),
            disk,
            at_rest: Some(at_rest),
            shared: Arc::new(shared),
        }
    }

    /// The blobs of a release folder, which may not exist yet.
    pub(crate) fn of_layout(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            edge: root.to_owned(),
            disk: Disk::shared(),
            at_rest: None,
            shared: Arc::default(),
        }
    }

    /// The blobs of a data folder, for a reader beside the process that has it locked.
    pub(crate) fn beside(root: &Path, at_rest: AtRest) -> Self {
        Self {
            edge: blobs_in(root),
            at_rest: Some(at_rest),
            ..Self::of_layout(root)
        }
    }

    /// A handle for reading that does not hold the lock of the folder.
    pub fn unlocked(&self) -> Self {
        Self {
            edge: self.edge.clone(),
            at_rest: self.at_rest.clone(),
            ..Self::of_layout(&self.root)
        }
    }

    /// Creates the folder, and removes incomplete files that a power cut left.
    pub(crate) fn prepare(&self) -> Result<(), BlobError> {
        let folder = self.folder();
        self.disk
            .make_folder(&folder)
            .and_then(|()| self.disk.sweep(&folder))
            .map_err(BlobError::write(&folder))
    }

    pub(crate) fn folder(&self) -> PathBuf {
        blobs_in(&self.root)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// How new files of a data folder are written.
    pub(crate) fn at_rest(&self) -> AtRest {
        self.at_rest.clone().unwrap_or_default()
    }

    pub(crate) fn arriving(&self) -> MutexGuard<'_, BTreeSet<Digest>> {
        self.shared.arriving.lock()
    }

    fn proven(&self) -> MutexGuard<'_, HashMap<Digest, FileStamp>> {
        self.shared.proven.lock()
    }

    fn indexed(&self) -> MutexGuard<'_, BTreeSet<(Digest, Digest)>> {
        self.shared.indexed.lock()
    }

    /// The file of a blob.
    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        self.folder().join(digest.hex())
    }

    /// The size of a blob, without hashing it; `None` if it is missing.
    pub fn size(&self, digest: Digest) -> Option<u64> {
        let path = self.path(digest);
        let (_, size) = self.open_contents(digest, &path).ok()?;
        Some(size)
    }

    /// Whether a blob exists with the right size, without hashing it.
    pub fn has(&self, blob: &Blob) -> bool {
        self.size(blob.digest) == Some(blob.size)
    }

    /// Opens a blob and checks its size.
    pub fn open_sized(&self, blob: &Blob) -> Result<Contents, BlobError> {
        let path = self.path(blob.digest);
        let (contents, size) = self.open_contents(blob.digest, &path)?;
        if size != blob.size {
            return Err(BlobError::Size {
                digest: blob.digest,
                found: size,
                expected: blob.size,
            });
        }
        Ok(contents)
    }

    /// The contents of a blob, and their size.
    fn open_contents(&self, digest: Digest, path: &Path) -> Result<(Contents, u64), BlobError> {
        let OpenFile { file, size, .. } = self.open_any(digest, path)?;
        let Some(at_rest) = &self.at_rest else {
            return Ok((Contents::Plain(file), size));
        };
        let contents = at_rest.open(file, SEALED_AS).map_err(io::Error::from);
        let contents = contents.map_err(BlobError::read(path))?;
        let size = contents.size().map_err(BlobError::read(path))?;
        Ok((contents, size))
    }

    fn open_any<'a>(&self, digest: Digest, path: &'a Path) -> Result<OpenFile<'a>, BlobError> {
        open_below(&self.edge, path).map_err(|error| match error {
            BlobError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                BlobError::Missing { digest }
            }
            other => other,
        })
    }

    /// Reads a blob, and checks its size and digest.
    pub fn read(&self, blob: &Blob) -> Result<Vec<u8>, BlobError> {
        // A wrong size is found before anything is read.
        drop(self.open_sized(blob)?);
        self.read_any(blob.digest, blob.size)
    }

    /// Reads a blob whose size is not known, of at most `limit` bytes, and checks its digest.
    pub fn read_any(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, BlobError> {
        let path = self.path(digest);
        let (contents, size) = self.open_contents(digest, &path)?;
        let mut bytes = Vec::new();
        // The file may grow while it is read, so the reader is limited too.
        contents
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(BlobError::read(&path))?;
        if size > limit || bytes.len() as u64 > limit {
            return Err(BlobError::TooLarge { path, limit });
        }
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => {
                // Otherwise damage that does not show in the metadata would never be found.
                self.proven().remove(&digest);
                Err(BlobError::Damaged { digest, found })
            }
        }
    }

    /// Hashes a blob incrementally, and checks its size and digest.
    pub fn check(&self, blob: &Blob) -> Result<(), BlobError> {
        self.check_slowly(blob, |_| Ok(()))
    }

    /// Like [`Self::check`], and `pause` is called with the number of bytes of each piece that is read, at most 1 MiB. Its error ends the
    /// check.
    pub fn check_slowly(
        &self,
        blob: &Blob,
        mut pause: impl FnMut(usize) -> io::Result<()>,
    ) -> Result<(), BlobError> {
        let path = self.path(blob.digest);
        let mut file = self.open_sized(blob)?;
        // Taken before the bytes are read, so that a change during the read is noticed.
        let stamp = FileStamp::of(&file.metadata().map_err(BlobError::read(&path))?);
        let found = pieces(&mut file, &path, blob.size, |piece| {
            pause(piece.len()).map_err(BlobError::read(&path))
        })?;
        if let Err(error) = same(blob, &found) {
            self.proven().remove(&blob.digest);
            return Err(error);
        }
        self.proven().insert(blob.digest, stamp);
        Ok(())
    }

    /// Moves a blob to the folder `damaged`, where nothing reads it, and returns its new path. `None` if it is missing.
    pub fn set_aside(&self, digest: Digest) -> Result<Option<PathBuf>, BlobError> {
        let (path, aside) = (self.path(digest), self.aside(digest));
        self.proven().remove(&digest);
        let folder = self.root.join(DAMAGED);
        self.disk
            .make_folder(&folder)
            .map_err(BlobError::write(&folder))?;
        match self.disk.rename(&path, &aside) {
            Ok(()) => Ok(Some(aside)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BlobError::write(&aside)(error)),
        }
    }

    /// Removes what [`Self::set_aside`] moved.
    pub fn remove_aside(&self, digest: Digest) -> Result<(), BlobError> {
        let aside = self.aside(digest);
        self.disk.remove(&aside).map_err(BlobError::remove(&aside))
    }

    fn aside(&self, digest: Digest) -> PathBuf {
        self.root.join(DAMAGED).join(digest.hex())
    }

    /// [`Self::check`], but a blob that this process has written or hashed, and whose file has not changed since, is
    /// not hashed again. Use it for a release that has just arrived; at a start everything is hashed.
    pub fn prove(&self, blob: &Blob) -> Result<(), BlobError> {
        let path = self.path(blob.digest);
        let file = self.open_sized(blob)?;
        let stamp = FileStamp::of(&file.metadata().map_err(BlobError::read(&path))?);
        if self.proven().get(&blob.digest) == Some(&stamp) {
            return Ok(());
        }
        self.check(blob)
    }

    /// [`Self::check`] for every blob of a release, and [`Self::check_chunks`].
    pub fn check_release(&self, release: &Release) -> Result<(), BlobError> {
        release.blobs().try_for_each(|blob| self.check(&blob))?;
        self.check_chunks(release)
    }

    /// [`Self::check_index`] for every blob of a release that has one.
    pub fn check_chunks(&self, release: &Release) -> Result<(), BlobError> {
        release.blobs().try_for_each(|blob| {
            let index = release.chunks.get(&blob.digest);
            index.map_or(Ok(()), |index| self.check_index(&blob, index))
        })
    }

    /// Checks an index of chunks against its blob, unless this process has done so. With a wrong index, devices would ask for
    /// chunks that no source has, without end.
    pub fn check_index(&self, blob: &Blob, index: &Blob) -> Result<(), BlobError> {
        let wrong = |source| BlobError::Index {
            digest: blob.digest,
            source,
        };
        // Both are content-addressed, so that a valid pair stays valid.
        let pair = (blob.digest, index.digest);
        if self.indexed().contains(&pair) {
            return Ok(());
        }
        let bytes = self.read_any(index.digest, ReleaseLimits::INDEX_BYTES)?;
        let chunks = ChunkIndex::parse(&bytes, *blob).map_err(wrong)?.chunks;
        let mut file = self.open_sized(blob)?;
        let mut bytes = Vec::new();
        for (number, chunk) in chunks.iter().enumerate() {
            // At most `MAX_CHUNK_BYTES`, which parsing the index checks.
            bytes.clear();
            (&mut file)
                .take(chunk.size)
                .read_to_end(&mut bytes)
                .map_err(BlobError::read(&self.path(blob.digest)))?;
            if Blob::of(&bytes) != *chunk {
                return Err(wrong(IndexError::Content { chunk: number + 1 }));
            }
        }
        self.indexed().insert(pair);
        Ok(())
    }

    /// Records that a blob was hashed while it was written.
    pub(crate) fn note_proven(&self, digest: Digest) {
        if let Ok(metadata) = self.path(digest).metadata() {
            self.proven().insert(digest, FileStamp::of(&metadata));
        }
    }

    /// Stores `bytes`, unless an undamaged copy exists.
    pub fn put(&self, bytes: &[u8]) -> Result<Blob, BlobError> {
        let blob = Blob::of(bytes);
        if self.check(&blob).is_err() {
            let path = self.path(blob.digest);
            self.write(&mut &*bytes, &path, blob.size, Some(&blob))?;
        }
        Ok(blob)
    }

    /// Stores a file of at most `limit` bytes.
    pub(crate) fn put_file(&self, path: &Path, limit: u64) -> Result<Blob, BlobError> {
        self.put_open(open_file(path)?, path, limit)
    }

    /// Stores an open file of at most `limit` bytes, which is at `path`.
    pub(crate) fn put_open(
        &self,
        mut open: OpenFile<'_>,
        path: &Path,
        limit: u64,
    ) -> Result<Blob, BlobError> {
        if open.size > limit {
            return Err(BlobError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        self.write(&mut open.file, path, limit, None)
    }

    /// Copies a blob from another folder, unless an undamaged copy exists.
    pub(crate) fn copy(&self, from: &Self, blob: &Blob) -> Result<(), BlobError> {
        if self.check(blob).is_ok() {
            return Ok(());
        }
        let mut file = from.open_sized(blob)?;
        let source = from.path(blob.digest);
        self.write(&mut file, &source, blob.size, Some(blob))
            .map(drop)
    }

    /// Removes a blob; a missing blob is not an error.
    pub fn remove(&self, digest: Digest) -> Result<(), BlobError> {
        let path = self.path(digest);
        self.proven().remove(&digest);
        self.disk.remove(&path).map_err(BlobError::remove(&path))
    }

    /// Writes the contents of `reader` (of the file `source`) under its digest, which must match `expected`.
    fn write(
        &self,
        reader: &mut impl Read,
        source: &Path,
        limit: u64,
        expected: Option<&Blob>,
    ) -> Result<Blob, BlobError> {
        let number = self.shared.written.fetch_add(1, Ordering::Relaxed);
        let part = self.folder().join(format!("incoming-{number}.{PART}"));
        let written = self.write_part(reader, source, limit, expected, &part);
        if written.is_err() {
            // The disk may be full, so leave nothing behind. A file that cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&part);
        }
        written
    }

    fn write_part(
        &self,
        reader: &mut impl Read,
        source: &Path,
        limit: u64,
        expected: Option<&Blob>,
        part: &Path,
    ) -> Result<Blob, BlobError> {
        let write = || BlobError::write(part);
        let mut writer = self.create(part)?;
        let found = pieces(reader, source, limit, |piece| {
            writer.write(piece).map_err(write())
        })?;
        if let Some(expected) = expected {
            same(expected, &found)?;
        }
        let file = writer.finish().map_err(write())?;
        self.disk
            .finish(&file, part, &self.path(found.digest))
            .map_err(write())?;
        self.note_proven(found.digest);
        Ok(found)
    }

    /// Begins a file with the contents of a blob.
    pub(crate) fn create(&self, part: &Path) -> Result<ContentsWriter, BlobError> {
        let at_rest = self.at_rest();
        let file = self.disk.create(part);
        file.and_then(|file| at_rest.writer(&self.disk, file, SEALED_AS))
            .map_err(BlobError::write(part))
    }

    /// The files of the blobs.
    pub(crate) fn paths(&self) -> Result<Vec<PathBuf>, BlobError> {
        let folder = self.folder();
        files(&folder).map_err(BlobError::read(&folder))
    }

    /// Seals the blobs of a data folder that are not, where files are sealed. A damaged one stays as it is, for the check of its release to find.
    /// Returns how many were sealed.
    pub(crate) fn seal_plain(&self) -> Result<usize, BlobError> {
        let mut sealed = 0;
        if !self.at_rest().is_sealed() {
            return Ok(sealed);
        }
        let folder = self.folder();
        for path in files(&folder).map_err(BlobError::read(&folder))? {
            let name = path.file_name().and_then(|name| name.to_str());
            let digest = name.and_then(|name| format!("sha256:{name}").parse::<Digest>().ok());
            let Some(digest) = digest else {
                continue;
            };
            let OpenFile { mut file, size, .. } = self.open_any(digest, &path)?;
            if is_sealed_file(&file).map_err(BlobError::read(&path))? {
                continue;
            }
            match self.write(&mut file, &path, size, Some(&Blob { digest, size })) {
                Ok(_) => sealed += 1,
                Err(error) if error.is_loss() => {}
                Err(error) => return Err(error),
            }
        }
        self.remove_finished_parts()?;
        Ok(sealed)
    }
}

fn blobs_in(root: &Path) -> PathBuf {
    root.join("blobs").join("sha256")
}

/// Passes the pieces of `reader` on, and returns the digest and size of all. Stops after `limit` bytes.
fn pieces(
    reader: &mut impl Read,
    path: &Path,
    limit: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), BlobError>,
) -> Result<Blob, BlobError> {
    let mut piece = vec![0; PIECE];
    let mut hasher = Hasher::new();
    let mut size = 0_u64;
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => {
                return Ok(Blob {
                    digest: hasher.finish(),
                    size,
                });
            }
            Ok(read) => piece.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(BlobError::read(path)(error)),
        };
        size = size.saturating_add(read.len() as u64);
        if size > limit {
            return Err(BlobError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        hasher.update(read);
        each(read)?;
    }
}

fn same(expected: &Blob, found: &Blob) -> Result<(), BlobError> {
    let digest = expected.digest;
    if found.size != expected.size {
        return Err(BlobError::Size {
            digest,
            found: found.size,
            expected: expected.size,
        });
    }
    if found.digest != digest {
        return Err(BlobError::Damaged {
            digest,
            found: found.digest,
        });
    }
    Ok(())
}
