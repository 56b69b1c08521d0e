//! Opening a data folder: one process at a time.

use std::{
    fs::{File, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_sealing::UnsealError;

use crate::{blob_error::BlobError, ledger::LedgerError};

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses it.
    #[error("the data folder {} is in use by {}; stop it, or choose another folder", folder.display(), who(*holder))]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The id of that process, if it is known.
        holder: Option<u32>,
    },
    /// An I/O error.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder of the blobs could not be created.
    #[error("the data folder cannot be prepared")]
    Blobs(#[source] BlobError),
    /// The files are encrypted with a key that is not that of this device.
    #[error("the data folder {} is encrypted with another key than that of `[encryption]`", folder.display())]
    Key {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: UnsealError,
    },
    /// The ledger cannot be read or created. Nothing runs without it, since it has the floors.
    #[error("the data folder {} has no usable ledger", folder.display())]
    Ledger {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Box<LedgerError>,
    },
}

impl OpenError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in_use",
            Self::Io { .. } => "io",
            Self::Blobs(error) => error.name(),
            Self::Key { source, .. } => source.name(),
            Self::Ledger { source, .. } => match &**source {
                LedgerError::Newer(error) => error.name(),
                _ => "unusable_ledger",
            },
        }
    }
}

fn who(holder: Option<u32>) -> String {
    holder.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// The lock of a data folder.
pub const LOCK_FILE: &str = "lock";

/// Locks a data folder against other processes until the file is dropped, without opening what is in it. Creates the folder if it is missing.
///
/// # Errors
/// [`OpenError::InUse`] and [`OpenError::Io`].
pub fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    lock(&Disk::new(Faults::never()), folder)
}

/// Creates the folder if it is missing, locks it, and writes this process's id into the lock file for error messages of others.
pub(crate) fn lock(disk: &Disk, folder: &Path) -> Result<File, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        |source| OpenError::Io { path, source }
    };
    disk.make_folder(folder).map_err(io(folder))?;
    let path = folder.join(LOCK_FILE);
    let mut file = disk.open(&path).map_err(io(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // The lock is held even if the id is unreadable.
            let read = file.take(16).read_to_string(&mut text);
            let holder = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(OpenError::InUse {
                folder: folder.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(source)) => return Err(io(&path)(source)),
    }
    let id = format!("{}\n", std::process::id());
    // The id is only informative: a full disk must not prevent a start.
    let _ = disk
        .set_len(&file, 0)
        .and_then(|()| disk.write(&mut file, id.as_bytes()))
        .and_then(|()| disk.sync(&file));
    Ok(file)
}
