//! Errors of blobs, and reading files within a size limit.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use hotshoe_base::files::{self, Folder, FolderError};
use hotshoe_sealing::UnsealError;
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
    /// A link that leads out of the folder that has it.
    #[error("{} is a link that leads out of its folder, to {}; put the file itself there", link.display(), target.display())]
    LinkLeadsOut {
        /// The link.
        link: PathBuf,
        /// What the link says.
        target: PathBuf,
    },
    /// It is encrypted, and its contents cannot be read.
    #[error("cannot decrypt {}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: UnsealError,
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
            Self::Damaged { .. }
            | Self::Size { .. }
            | Self::Sealed {
                source: UnsealError::Damaged { .. },
                ..
            } => "damaged_blob",
            Self::Sealed { source, .. } => source.name(),
            Self::Index { .. } => "bad_index",
            Self::TooLarge { .. } => "too_large",
            Self::NotAFile { .. } => "not_a_file",
            Self::LinkLeadsOut { .. } => "link_leads_out",
            Self::DiskFull { .. } => "disk_full",
            Self::Io { .. } => "io",
        }
    }

    /// Whether bytes are missing, or are not those that were stored: they are to be fetched again.
    pub const fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Missing { .. }
                | Self::Damaged { .. }
                | Self::Sealed {
                    // The first bytes may be damaged, too.
                    source: UnsealError::Damaged { .. } | UnsealError::NotSealed { .. },
                    ..
                }
        )
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.downcast() {
            Ok(source) => Self::Sealed { path, source },
            Err(source) => Self::Io {
                action: "read",
                path,
                source,
            },
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

/// An open regular file, its size, and its path for messages.
pub(crate) struct OpenFile<'a> {
    pub(crate) file: File,
    pub(crate) size: u64,
    path: &'a Path,
}

impl OpenFile<'_> {
    fn new(path: &Path, opened: Result<File, FolderError>) -> Result<OpenFile<'_>, BlobError> {
        let file = opened.map_err(|error| match error {
            FolderError::LinkLeadsOut { link, target } => BlobError::LinkLeadsOut { link, target },
            FolderError::Io(error) if error.kind() == io::ErrorKind::InvalidInput => {
                BlobError::NotAFile {
                    path: path.to_owned(),
                }
            }
            FolderError::Io(source) => BlobError::read(path)(source),
        })?;
        let size = file.metadata().map_err(BlobError::read(path))?.len();
        Ok(OpenFile { file, size, path })
    }

    /// Reads the whole file, of at most `limit` bytes.
    pub(crate) fn read(self, limit: u64) -> Result<Vec<u8>, BlobError> {
        let mut bytes = Vec::new();
        // The file may grow while it is read, so the reader is limited too.
        self.file
            .take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(BlobError::read(self.path))?;
        if self.size > limit || bytes.len() as u64 > limit {
            return Err(BlobError::TooLarge {
                path: self.path.to_owned(),
                limit,
            });
        }
        Ok(bytes)
    }
}

/// Opens a regular file.
pub(crate) fn open_file(path: &Path) -> Result<OpenFile<'_>, BlobError> {
    OpenFile::new(path, files::open(path).map_err(FolderError::Io))
}

/// Opens a regular file below `folder`, which someone else may write: no link leads out of it.
pub(crate) fn open_below<'a>(folder: &Path, path: &'a Path) -> Result<OpenFile<'a>, BlobError> {
    // The folder itself is not a file, which an empty name would not say.
    let name = match path.strip_prefix(folder) {
        Ok(name) if name.as_os_str().is_empty() => Path::new("."),
        name => name.unwrap_or(path),
    };
    let opened = Folder::open(folder).map_err(FolderError::Io);
    OpenFile::new(path, opened.and_then(|folder| folder.open_file(name)))
}

/// Reads a whole file of at most `limit` bytes.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, BlobError> {
    open_file(path)?.read(limit)
}

/// Reads a whole file below `folder`, as [`open_below`] opens it.
pub(crate) fn read_below(folder: &Path, path: &Path, limit: u64) -> Result<Vec<u8>, BlobError> {
    open_below(folder, path)?.read(limit)
}
