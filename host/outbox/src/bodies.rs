//! Bodies of records: the payload as it is, or sealed with the key of the outbox.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use hotshoe_base::disk::Disk;
use hotshoe_sealing::{AtRest, RECORD_OVERHEAD_BYTES, RecordKey, UnsealError};

use crate::frame::{Frame, Kind};

/// The file with the key of the records, which is sealed.
const KEY: &str = "record.key";

/// How the bodies of new records are written.
#[derive(Debug)]
pub(crate) struct Bodies {
    /// `None`: as they are.
    key: Option<RecordKey>,
    /// Whether a body that is not sealed counts as changed.
    is_required: bool,
}

impl Bodies {
    /// Reads the key in the folder of the outbox, or makes it. Also returns the path of a damaged key that was set aside.
    pub(crate) fn open(
        folder: &Path,
        at_rest: &AtRest,
        disk: &Disk,
    ) -> Result<(Self, Option<PathBuf>), UnsealError> {
        let (key, set_aside) = RecordKey::open_or_renew(at_rest, disk, &folder.join(KEY))?;
        let is_required = at_rest.is_required();
        Ok((Self { key, is_required }, set_aside))
    }

    /// Bytes that a body has more than its payload.
    pub(crate) const fn overhead(&self) -> usize {
        match self.key {
            None => 0,
            Some(_) => RECORD_OVERHEAD_BYTES,
        }
    }

    /// The body of a record, with the kind of its frame.
    pub(crate) fn body<'a>(
        &self,
        source: &str,
        (epoch, sequence): (u16, u64),
        payload: &'a [u8],
    ) -> io::Result<(Kind, Cow<'a, [u8]>)> {
        Ok(match &self.key {
            None => (Kind::Data, Cow::Borrowed(payload)),
            Some(key) => {
                let sealed = key.seal(payload, &beside(source, epoch, sequence))?;
                (Kind::Sealed, Cow::Owned(sealed))
            }
        })
    }

    /// The payload of a record; `None` if it was changed, if its key is not there, or if it should be sealed.
    pub(crate) fn payload(&self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        match (frame.kind, &self.key) {
            (Kind::Data, _) if !self.is_required => Some(frame.body.to_vec()),
            (Kind::Sealed, Some(key)) => key.unseal(
                frame.body,
                &beside(frame.source, frame.epoch, frame.sequence),
            ),
            _ => None,
        }
    }
}

/// Bytes of the payload of a record.
pub(crate) fn payload_bytes(frame: &Frame<'_>) -> u64 {
    let overhead = if frame.kind == Kind::Sealed {
        RECORD_OVERHEAD_BYTES
    } else {
        0
    };
    frame.body.len().saturating_sub(overhead) as u64
}

/// Which record it is: one that is put in the place of another does not open.
fn beside(source: &str, epoch: u16, sequence: u64) -> Vec<u8> {
    let mut beside = Vec::with_capacity(10 + source.len());
    beside.extend(epoch.to_le_bytes());
    beside.extend(sequence.to_le_bytes());
    beside.extend(source.as_bytes());
    beside
}
