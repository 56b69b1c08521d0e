//! What is wrong with a log.

use serde::Serialize;

use crate::head::Head;

/// A fault of the log that [`check`](crate::check()) finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error, strum::IntoStaticStr)]
#[serde(tag = "name", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Finding {
    /// A line is not a record.
    #[error("line {line} of {file} is not a record: it was changed")]
    UnreadableRecord {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// The numbers of two neighbouring records have a gap or go back.
    #[error(
        "record {found} is in the place of record {expected} (line {line} of {file}): records were removed, added or reordered"
    )]
    WrongSequence {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The number in the record.
        found: u64,
        /// The number that belongs there.
        expected: u64,
    },
    /// A record is not the one that the next record names.
    #[error("record {sequence} was changed or replaced: record {next} names another digest")]
    ChangedRecord {
        /// The number of the changed record.
        sequence: u64,
        /// The record that names its digest.
        next: u64,
    },
    /// The first records are missing, and no record says that they were removed.
    #[error(
        "the log begins with record {first}, and no valid record says that the earlier ones were removed"
    )]
    MissingBeginning {
        /// The first record that is there.
        first: u64,
    },
    /// The signature of a checkpoint or of the stored head is missing or not valid.
    #[error("the signature over record {sequence} is missing or not valid for the device's key")]
    InvalidSignature {
        /// The last record that the signature is for.
        sequence: u64,
    },
    /// More records without a signature than a device writes: they prove nothing.
    #[error(
        "the last {records} records, after record {after}, have no signature of the device, which signs after 64: any process with access to the files can have written them; start the daemon if commands without it wrote them"
    )]
    UnsignedRecords {
        /// The last record that a valid signature covers, or that is not in the log any more.
        after: u64,
        /// The number of records.
        records: u64,
    },
    /// The log ends before a head that is known.
    #[error("the log ends with record {last}, and its head was once record {}: the end was removed", head.sequence)]
    Truncated {
        /// The last record that is there.
        last: u64,
        /// The known head.
        head: Head,
    },
    /// The record at a known head is another one.
    #[error("record {} is not the one that was once the head of the log", head.sequence)]
    HeadMismatch {
        /// The known head.
        head: Head,
    },
    /// The record at the held head was removed with the oldest files, so that it cannot be compared.
    #[error("record {} was removed with the oldest files; give a newer head", head.sequence)]
    HeadTooOld {
        /// The held head.
        head: Head,
    },
    /// A file ends in the middle of a line.
    #[error(
        "{file} ends with {bytes} bytes that are not a whole line; the next start of the daemon repairs the last file"
    )]
    IncompleteLine {
        /// The file.
        file: String,
        /// The bytes after the last line end.
        bytes: usize,
    },
}

impl Finding {
    /// Its stable name, in snake case.
    pub fn name(&self) -> &'static str {
        self.into()
    }
}
