//! Where records are stored.

mod jsonl;
mod sqlite;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::disk::Disk;

use crate::batch::{ReceivedBatch, ReceivedLoss};
use jsonl::Jsonl;
use sqlite::Sqlite;

pub use jsonl::RECORDS;

/// Why a store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or folder cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another program writes it.
    #[error("another `hotshoe collect` uses {}; end it, or give another store", path.display())]
    Busy {
        /// The file or folder.
        path: PathBuf,
    },
    /// A line in the middle is damaged.
    #[error(
        "line {line} of {} is not a record of `hotshoe collect`; restore the file, or remove the line", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// A write failed before, so what the file has is not known. A new start finds out.
    #[error("a write to {} failed before; start again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
    },
    /// SQLite refused.
    #[error("cannot use the database {}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Busy { .. } => "store_busy",
            Self::Damaged { .. } => "store_damaged",
            Self::Broken { .. } => "store_broken",
            Self::Sqlite { .. } => "sqlite",
        }
    }
}

/// Two records with one number, and different payloads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Conflict {
    /// The device that sent the second one.
    pub device: String,
    /// The outbox.
    pub instance: String,
    /// The source.
    pub source: String,
    /// The epoch.
    pub epoch: u16,
    /// The sequence.
    pub sequence: u64,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Records that are stored now, conflicting ones included.
    pub stored: u64,
    /// Records that were there already.
    pub duplicates: u64,
    /// Records that conflict with others.
    pub conflicts: Vec<Conflict>,
    /// Losses that were not known.
    pub losses: Vec<ReceivedLoss>,
    /// Records that are known to be lost now, by cause. Those that are stored all the same do not count.
    pub lost: BTreeMap<String, u64>,
}

/// A store. What [`Self::put`] returned is durable.
#[derive(Debug)]
pub enum Store {
    /// A folder with a file of lines of JSON.
    Jsonl(Jsonl),
    /// A file of SQLite.
    Sqlite(Sqlite),
}

impl Store {
    /// Opens the folder of a store of lines of JSON, which is created where it is missing. Cuts off what an interrupted write left.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn jsonl(folder: &Path, disk: Disk) -> Result<Self, StoreError> {
        Jsonl::open(folder, disk).map(Self::Jsonl)
    }

    /// Opens a database of SQLite, which is created where it is missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sqlite(file: &Path) -> Result<Self, StoreError> {
        Sqlite::open(file).map(Self::Sqlite)
    }

    /// Stores a batch durably, each record once.
    ///
    /// # Errors
    /// [`StoreError`]. The batch must not be acknowledged then.
    pub fn put(&mut self, batch: &ReceivedBatch) -> Result<Outcome, StoreError> {
        match self {
            Self::Jsonl(store) => store.put(batch),
            Self::Sqlite(store) => store.put(batch),
        }
    }
}
