//! Why the audit log cannot be used.

use std::io;
use std::path::{Path, PathBuf};

use hotshoe_trust::KeyError;

/// Why the audit log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file or folder of the log cannot be read or written.
    #[error("cannot use the audit log {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process writes the log.
    #[error("the audit log {} is being written by another process; try again when it has ended", folder.display())]
    InUse {
        /// The folder of the log.
        folder: PathBuf,
    },
    /// A checkpoint cannot be signed.
    #[error("a checkpoint of the audit log cannot be signed")]
    Sign(#[source] KeyError),
}

impl AuditError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::InUse { .. } => "in_use",
            Self::Sign(_) => "cannot_sign",
        }
    }
}

/// An I/O error with its path.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> AuditError {
    let path = path.to_owned();
    move |source| AuditError::Io { path, source }
}
