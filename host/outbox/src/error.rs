use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hotshoe_base::format::NewerFormat;
use hotshoe_sealing::UnsealError;

/// Why an outbox cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer version of Hotshoe wrote it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// Its folder cannot be created or read.
    #[error("cannot open the outbox in {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The key of its records cannot be read.
    #[error("cannot open the key of the outbox")]
    Key(#[from] UnsealError),
    /// The system cannot start its thread.
    #[error("cannot start the thread of the outbox")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Newer(error) => error.name(),
            Self::Io { .. } => "io",
            Self::Key(error) => error.name(),
            Self::Thread { .. } => "thread",
        }
    }
}

/// Why a record was not accepted.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Too many bytes wait to be written. A loss names the record.
    #[error(
        "{waiting} bytes wait to be written to the outbox, and the queue takes {limit}; offer less, or wait"
    )]
    QueueFull {
        /// Bytes that wait.
        waiting: usize,
        /// The limit.
        limit: usize,
    },
    /// The payload is too large.
    #[error(
        "a record of {bytes} bytes is larger than the outbox takes, {limit}; send less, or raise the limit"
    )]
    TooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The name of the source or of the class is empty or too long.
    #[error("the source of a record has 1 to 128 bytes and its class at most 64; `{name}` has {}", name.len())]
    BadName {
        /// The name.
        name: Arc<str>,
    },
    /// There are too many sources.
    #[error(
        "the outbox has {limit} sources and takes no more; use a known one for `{source_name}`"
    )]
    TooManySources {
        /// The new source.
        source_name: Arc<str>,
        /// The limit.
        limit: usize,
    },
    /// The outbox is full of records of a higher priority. A loss names the record.
    #[error(
        "the outbox is full, and all in it is more important; raise its limits, or let it drain"
    )]
    NoRoom,
    /// The disk is full. A loss names the record.
    #[error("the disk is full")]
    DiskFull {
        /// Why.
        source: Arc<io::Error>,
    },
    /// The disk failed or is read-only. A loss names the record.
    #[error("cannot write to the outbox")]
    Disk {
        /// Why.
        source: Arc<io::Error>,
    },
    /// The record was not durable in time. It may still become so.
    #[error("the record was not durable in time")]
    Late,
    /// The outbox is closed, or its thread ended in the middle of the commit.
    #[error("the outbox is closed")]
    Closed,
}

impl AppendError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::QueueFull { .. } => "queue_full",
            Self::TooLarge { .. } => "record_too_large",
            Self::BadName { .. } => "bad_name",
            Self::TooManySources { .. } => "too_many_sources",
            Self::NoRoom => "no_room",
            Self::DiskFull { .. } => "disk_full",
            Self::Disk { .. } => "io",
            Self::Late => "late",
            Self::Closed => "closed",
        }
    }

    pub(crate) fn of_disk(error: io::Error) -> Self {
        let source = Arc::new(error);
        if is_full(&source) {
            Self::DiskFull { source }
        } else {
            Self::Disk { source }
        }
    }
}

/// Whether an error says that there is no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Why no batch can be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", path.display())]
pub struct DrainError {
    /// The segment.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl DrainError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "io"
    }
}

/// Why a source was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The outbox has nothing of that source.
    #[error("the outbox has no source `{source_name}`; `hotshoe data list` shows what it has")]
    UnknownSource {
        /// The source.
        source_name: String,
    },
    /// The disk refused. The records are not delivered any more, but bytes of them are left.
    #[error("cannot remove all bytes of the source from {}; erase it again once the disk can be written", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl EraseError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownSource { .. } => "unknown_source",
            Self::Io { .. } => "io",
        }
    }
}

/// Why an acknowledgement is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    /// The outbox has nothing of that source.
    #[error("the outbox has no source `{source_name}`")]
    UnknownSource {
        /// The source.
        source_name: String,
    },
    /// The range is empty, or has numbers that were not given.
    #[error(
        "an acknowledgement of {from} to {to} is not within 1 to {last}, what `{source_name}` has"
    )]
    OutOfRange {
        /// The source.
        source_name: String,
        /// The beginning of the range.
        from: u64,
        /// Its end.
        to: u64,
        /// The last number of the source.
        last: u64,
    },
}

impl AcknowledgeError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownSource { .. } => "unknown_source",
            Self::OutOfRange { .. } => "out_of_range",
        }
    }
}
