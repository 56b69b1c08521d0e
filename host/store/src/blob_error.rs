//! Errors of blobs, and reading files within a size limit.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use hotshoe_trust::{Digest, IndexError};

/// Why a blob could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It is missing.
    #[error("blob {digest} is missing; fetch or install the release again")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// Its bytes do not match its digest.
    #[error(
        "blob {digest} is damaged: its bytes hash to {found}; fetch or install the release again"
    )]
    Damaged {
        /// The blob.
        digest: Digest,
        /// The digest of its bytes.
        found: Digest,
    },
    /// Its size differs from the release.
    #[error(
        "blob {digest} has {found} bytes instead of {expected}; fetch or install the release again"
    )]
    Size {
        /// The blob.
        digest: Digest,
        /// Bytes found.
        found: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// Its index of chunks is malformed, or does not match the blob.
    #[error("the index of chunks of blob {digest} is not valid")]
    Index {
        /// The blob.
        digest: Digest,
        /// Why.
        #[source]
        source: IndexError,
    },
    /// More bytes than allowed.
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
        /// The path.
        path: PathBuf,
    },
    /// No space is left.
    #[error("the disk is full: cannot write {}", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// An I/O error.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write` or `remove`.
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
            Self::Index { .. } => "bad_index",
            Self::TooLarge { .. } => "too_large",
            Self::NotAFile { .. } => "not_a_file",
            Self::DiskFull { .. } => "disk_full",
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
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, source }
            }
            _ => Self::Io {
                action: "write",
                path,
                source,
            },
        }
    }

    pub(crate) fn remove(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action: "remove",
            path,
            source,
        }
    }
}

/// Opens a regular file for reading. Other kinds are refused, since opening a pipe could block for ever.
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
    // The file may grow while it is read, so the reader is limited too.
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
