//! The audit log of a device: an append-only chain of records, in files of the folder `audit` of the data folder.
//!
//! A record is one line of JSON, which has the digest of the line before it. So a changed, removed or reordered record breaks the chain. The
//! device signs checkpoints. With a signed head ([`SignedHead`]) that another machine holds, a shortened log is found too.
#![forbid(unsafe_code)]

mod check;
mod error;
mod finding;
mod head;
mod log;
mod record;
mod segments;

pub use check::{Checked, Expected, MAX_FINDINGS, check, verify};
pub use error::AuditError;
pub use finding::Finding;
pub use head::{Checkpoint, Head, HeadError, HeldHead, Removed, SignedHead, Signer};
pub use log::{AuditLog, Limits, append_offline};
pub use record::{
    Actor, AuditKind, Entry, Kind, MAX_DETAILS, MAX_LINE_BYTES, MAX_TEXT_BYTES, RECORD_FORMAT,
    Record,
};
pub use segments::{FOLDER, HEAD, Line, MAX_FILE_BYTES, Segment, read_segments};
