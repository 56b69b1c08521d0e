//! The file `state`: who the outbox is, and what of each source need not be sent any more.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use hotshoe_base::disk::Disk;
use hotshoe_base::files;
use hotshoe_base::format::{FileFormat, NewerFormat};
use serde::{Deserialize, Serialize};

use crate::age::Stamp;
use crate::frame::checksum;
use crate::host::Binding;
use crate::record::Loss;

const FORMAT: FileFormat = FileFormat::new(1, 1);
/// What the file begins with; its version follows, and on the next line the checksum of the JSON after it.
const PREFIX: &[u8] = b"hotshoe-outbox-state-";
/// Bytes of the largest file that is read: 256 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// 32 hexadecimal digits.
    pub(crate) instance: String,
    pub(crate) epoch: u16,
    /// What the checksums of frames begin with. It leaves the device with no record.
    pub(crate) key: u32,
    pub(crate) bound_to: Binding,
    pub(crate) time: Stamp,
    /// The segments that counted. Another one with a number up to the last was about to be removed.
    pub(crate) segments: Vec<u64>,
    pub(crate) last_segment: u64,
    /// Damaged bytes that were named already, by segment.
    pub(crate) damaged: BTreeMap<u64, u64>,
    pub(crate) sources: BTreeMap<String, SourceState>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceState {
    /// The next sequence.
    pub(crate) next: u64,
    /// Acknowledged ranges.
    pub(crate) acknowledged: Vec<(u64, u64)>,
    /// Losses that were not acknowledged.
    pub(crate) losses: Vec<Loss>,
    /// How long its records may be kept, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retention_ms: Option<u64>,
}

/// What was found in place of a state.
#[derive(Debug)]
pub(crate) enum Found {
    State(Box<State>),
    Missing,
    Damaged,
}

/// Why the state cannot be read.
#[derive(Debug)]
pub(crate) enum StateError {
    Newer(NewerFormat),
    Io(io::Error),
}

impl State {
    pub(crate) fn read(path: &Path) -> Result<Found, StateError> {
        let bytes = match files::read_bytes(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(StateError::Io(error)),
        };
        FORMAT
            .check_magic(path.display(), &bytes, PREFIX)
            .map_err(StateError::Newer)?;
        Ok(parse(&bytes).map_or(Found::Damaged, |state| Found::State(Box::new(state))))
    }

    /// Writes it; returns its size in bytes.
    pub(crate) fn write(&self, disk: &Disk, path: &Path) -> io::Result<u64> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut bytes = PREFIX.to_vec();
        let head = format!("{}\n{:08x}\n", FORMAT.written(), checksum(0, &json));
        bytes.extend(head.as_bytes());
        bytes.extend(json);
        disk.replace(path, &bytes)?;
        Ok(bytes.len() as u64)
    }
}

fn parse(bytes: &[u8]) -> Option<State> {
    let rest = bytes.strip_prefix(PREFIX)?.strip_prefix(b"1\n")?;
    let (sum, rest) = rest.split_at_checked(8)?;
    let json = rest.strip_prefix(b"\n")?;
    let sum = u32::from_str_radix(str::from_utf8(sum).ok()?, 16).ok()?;
    if checksum(0, json) != sum {
        return None;
    }
    serde_json::from_slice(json).ok()
}
