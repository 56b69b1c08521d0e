//! A folder of blobs, each a file named by its SHA-256: `blobs/sha256/<hex>`, as in an OCI image layout.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use hotshoe_trust::{Blob, Digest, Hasher};

use crate::disk::Disk;

/// Bytes read and hashed at a time: 1 MiB.
const PIECE: usize = 1 << 20;

/// Why a blob could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is not there.
    #[error("blob {digest} is missing; fetch or install the release again")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// Its bytes are not what its digest says.
    #[error(
        "blob {digest} is damaged: its bytes hash to {found}; fetch or install the release again"
    )]
    Damaged {
        /// The blob.
        digest: Digest,
        /// What its bytes hash to.
        found: Digest,
    },
    /// It has another size than the release says.
    #[error(
        "blob {digest} has {found} bytes, and should have {expected}; fetch or install the release again"
    )]
    Size {
        /// The blob.
        digest: Digest,
        /// Bytes found.
        found: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// More bytes than allowed, or no end to them.
    #[error("{} has more than the {limit} bytes allowed", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes allowed.
        limit: u64,
    },
    /// A folder, device or pipe where a file should be.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What is not a file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl BlobError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "missing_blob",
            Self::Damaged { .. } | Self::Size { .. } => "damaged_blob",
            Self::TooLarge { .. } => "too_large",
            Self::NotAFile { .. } => "not_a_file",
            Self::Io { .. } => "io",
        }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action: "read",
            path,
            source,
        }
    }

    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action: "write",
            path,
            source,
        }
    }
}

/// Opens a file for reading, and nothing but a file: opening a pipe could wait for ever.
pub(crate) fn open_file(path: &Path) -> Result<(File, u64), BlobError> {
    let read = || BlobError::read(path);
    let metadata = fs::metadata(path).map_err(read())?;
    if !metadata.is_file() {
        return Err(BlobError::NotAFile {
            path: path.to_owned(),
        });
    }
    Ok((File::open(path).map_err(read())?, metadata.len()))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, BlobError> {
    let (file, size) = open_file(path)?;
    let mut bytes = Vec::new();
    // The file may grow while it is read, hence the limit on the reader too.
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(BlobError::read(path))?;
    if size > limit || bytes.len() as u64 > limit {
        return Err(BlobError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Passes `reader` on piece by piece, and says what it was as a whole. Stops after `limit` bytes.
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

/// The folder `blobs/sha256` of a store or layout.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// The blobs under `root`, which need not be there yet.
    pub fn under(root: &Path) -> Self {
        Self {
            folder: root.join("blobs").join("sha256"),
        }
    }

    /// Makes the folder, and clears away what a power cut left half written.
    pub fn prepare(&self, disk: &Disk) -> Result<(), BlobError> {
        disk.make_folder(&self.folder)
            .map_err(BlobError::write(&self.folder))?;
        match fs::remove_file(self.part()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(BlobError::write(&self.part())(error))
            }
            _ => Ok(()),
        }
    }

    pub fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// One name for what is being written: stores and layouts have one writer at a time.
    fn part(&self) -> PathBuf {
        self.folder.join("incoming.part")
    }

    /// Opens a blob and checks its size.
    fn open(&self, blob: &Blob) -> Result<File, BlobError> {
        let (file, found) = self.open_any(blob.digest)?;
        if found != blob.size {
            return Err(BlobError::Size {
                digest: blob.digest,
                found,
                expected: blob.size,
            });
        }
        Ok(file)
    }

    fn open_any(&self, digest: Digest) -> Result<(File, u64), BlobError> {
        open_file(&self.path(digest)).map_err(|error| match error {
            BlobError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                BlobError::Missing { digest }
            }
            other => other,
        })
    }

    /// Reads a blob whole, and checks its size and digest.
    pub fn read(&self, blob: &Blob) -> Result<Vec<u8>, BlobError> {
        // A wrong size is found before anything is read.
        drop(self.open(blob)?);
        self.read_any(blob.digest, blob.size)
    }

    /// Reads a blob whose size is not known, of at most `limit` bytes, and checks its digest.
    pub fn read_any(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, BlobError> {
        self.open_any(digest)?;
        let bytes = read_file(&self.path(digest), limit)?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(BlobError::Damaged { digest, found }),
        }
    }

    /// Hashes a blob piece by piece, and checks its size and digest.
    pub fn check(&self, blob: &Blob) -> Result<(), BlobError> {
        let mut file = self.open(blob)?;
        let found = pieces(&mut file, &self.path(blob.digest), blob.size, |_| Ok(()))?;
        same(blob, &found)
    }

    /// Stores `bytes`, unless they are there already and whole.
    pub fn put(&self, disk: &Disk, bytes: &[u8]) -> Result<Blob, BlobError> {
        let blob = Blob::of(bytes);
        if self.check(&blob).is_err() {
            self.write(
                disk,
                &mut &*bytes,
                &self.path(blob.digest),
                blob.size,
                Some(&blob),
            )?;
        }
        Ok(blob)
    }

    /// Stores a file of at most `limit` bytes.
    pub fn put_file(&self, disk: &Disk, path: &Path, limit: u64) -> Result<Blob, BlobError> {
        let (mut file, size) = open_file(path)?;
        if size > limit {
            return Err(BlobError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        self.write(disk, &mut file, path, limit, None)
    }

    /// Copies a blob from another folder, unless it is here already and whole.
    pub fn copy(&self, disk: &Disk, from: &Self, blob: &Blob) -> Result<(), BlobError> {
        if self.check(blob).is_ok() {
            return Ok(());
        }
        let mut file = from.open(blob)?;
        self.write(
            disk,
            &mut file,
            &from.path(blob.digest),
            blob.size,
            Some(blob),
        )
        .map(drop)
    }

    /// Writes what `reader` (of the file `source`) gives under its digest, which must be `expected`'s.
    fn write(
        &self,
        disk: &Disk,
        reader: &mut impl Read,
        source: &Path,
        limit: u64,
        expected: Option<&Blob>,
    ) -> Result<Blob, BlobError> {
        let part = self.part();
        let write = || BlobError::write(&part);
        let mut file = disk.create(&part).map_err(write())?;
        let found = pieces(reader, source, limit, |piece| {
            disk.write(&mut file, piece).map_err(write())
        })?;
        if let Some(expected) = expected {
            same(expected, &found)?;
        }
        disk.finish(&file, &part, &self.path(found.digest))
            .map_err(write())?;
        Ok(found)
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
