//! Verification of the whole log: the chain, the signatures, and the heads that are known.

use std::path::Path;

use hotshoe_base::files;
use hotshoe_trust::PublicKey;

use crate::error::AuditError;
use crate::finding::Finding;
use crate::head::{Head, Removed, SignedHead};
use crate::log::MAX_HEAD_BYTES;
use crate::record::Record;
use crate::segments::{HEAD, Line, Segment, read_segments};

/// Most findings that are listed; further ones are only counted.
pub const MAX_FINDINGS: usize = 100;
/// Most records at the end of a log that no signature covers: a daemon signs after 64 and a write, and commands without it add theirs.
const MAX_UNSIGNED_RECORDS: u64 = 256;

/// What the log is compared with.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// A head that was published earlier, and held on another machine.
    pub head: Option<Head>,
    /// The device's keys. Without one, signatures are not verified.
    pub keys: Vec<PublicKey>,
}

/// The result of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Lines that were read.
    pub records: u64,
    /// The number of the first record.
    pub first: Option<u64>,
    /// The last record.
    pub head: Option<Head>,
    /// Valid signatures of checkpoints.
    pub signatures: u64,
    /// The last record that a valid signature covers.
    pub signed_through: Option<u64>,
    /// What is wrong, at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// The number of all findings.
    pub found: u64,
}

/// Verifies the log in a folder. Its daemon may run.
///
/// # Errors
/// [`AuditError::Io`] if a file cannot be read. What is wrong with its contents is a [`Finding`].
pub fn verify(folder: &Path, expected: &Expected) -> Result<Checked, AuditError> {
    // Before the records, which may grow meanwhile.
    let stored = files::read_bytes(&folder.join(HEAD), MAX_HEAD_BYTES).ok();
    let stored = stored.and_then(|text| serde_json::from_slice(&text).ok());
    let segments = read_segments(folder)?;
    Ok(check(&segments, stored.as_ref(), expected))
}

/// Verifies the files of a log, oldest first, against the head that is stored beside them and the one that is held.
pub fn check(segments: &[Segment], stored: Option<&SignedHead>, expected: &Expected) -> Checked {
    let mut reader = Reader {
        expected,
        known: expected.head.into_iter().collect(),
        last: None,
        begins_after: None,
        removed: Vec::new(),
        checked: Checked::default(),
    };
    if let Some(stored) = stored {
        reader.stored(stored);
    }
    for segment in segments {
        for line in segment.lines() {
            reader.line(&segment.name, line);
        }
        let (_, rest) = segment.split();
        if !rest.is_empty() {
            reader.find(Finding::IncompleteLine {
                file: segment.name.clone(),
                bytes: rest.len(),
            });
        }
    }
    reader.finish()
}

struct Reader<'a> {
    expected: &'a Expected,
    /// Heads that were once published.
    known: Vec<Head>,
    /// The line before.
    last: Option<Head>,
    /// What was before the first line.
    begins_after: Option<Head>,
    /// Removals that records of the log tell of.
    removed: Vec<Removed>,
    checked: Checked,
}

impl Reader<'_> {
    fn find(&mut self, finding: Finding) {
        self.checked.found += 1;
        if self.checked.findings.len() < MAX_FINDINGS {
            self.checked.findings.push(finding);
        }
    }

    fn stored(&mut self, stored: &SignedHead) {
        let keys = &self.expected.keys;
        if !keys.is_empty() && !stored.is_signed(keys) {
            let sequence = stored.head.sequence;
            return self.find(Finding::InvalidSignature { sequence });
        }
        if !self.known.contains(&stored.head) {
            self.known.push(stored.head);
        }
    }

    fn line(&mut self, file: &str, line: Line<'_>) {
        self.checked.records += 1;
        let hash = line.hash();
        let Some(record) = line.record() else {
            self.find(Finding::UnreadableRecord {
                file: file.to_owned(),
                line: line.number,
            });
            let sequence = self.last.map_or(0, |last| last.sequence).saturating_add(1);
            return self.advance(Head { sequence, hash });
        };
        self.follows(file, line.number, &record);
        self.signed(&record);
        self.advance(Head {
            sequence: record.sequence,
            hash,
        });
    }

    /// Goes on to the next line, and compares this one with the known heads.
    fn advance(&mut self, head: Head) {
        let other = |known: &&Head| known.sequence == head.sequence && known.hash != head.hash;
        let mismatch = self.known.iter().find(other).copied();
        if let Some(head) = mismatch {
            self.find(Finding::HeadMismatch { head });
        }
        self.checked.first.get_or_insert(head.sequence);
        self.checked.head = Some(head);
        self.last = Some(head);
    }

    /// Checks that a record follows the line before it.
    fn follows(&mut self, file: &str, line: usize, record: &Record) {
        let found = record.sequence;
        let Some(last) = self.last else {
            let before = Head {
                sequence: found.saturating_sub(1),
                hash: record.previous,
            };
            self.begins_after = Some(before);
            return;
        };
        let expected = last.sequence.checked_add(1);
        if expected != Some(found) {
            self.find(Finding::WrongSequence {
                file: file.to_owned(),
                line,
                found,
                expected: expected.unwrap_or(u64::MAX),
            });
        } else if record.previous != last.hash {
            self.find(Finding::ChangedRecord {
                sequence: last.sequence,
                next: found,
            });
        }
    }

    fn signed(&mut self, record: &Record) {
        let Some(checkpoint) = &record.checkpoint else {
            return;
        };
        let before = Head {
            sequence: record.sequence.saturating_sub(1),
            hash: record.previous,
        };
        if !self.expected.keys.is_empty() {
            if !checkpoint.is_signed(before, &self.expected.keys) {
                let sequence = before.sequence;
                return self.find(Finding::InvalidSignature { sequence });
            }
            self.checked.signatures += 1;
            self.checked.signed_through = Some(before.sequence);
        }
        self.removed.extend(checkpoint.removed);
    }

    fn finish(mut self) -> Checked {
        if let Some(before) = self.begins_after.filter(|before| *before != Head::START)
            && !self.removed.iter().any(|removed| removed.head == before)
        {
            let first = before.sequence.saturating_add(1);
            self.find(Finding::MissingBeginning { first });
        }
        let last = self.last.map_or(0, |last| last.sequence);
        for head in self.known.clone() {
            if head.sequence > last {
                self.find(Finding::Truncated { last, head });
            }
        }
        let first = self.checked.first.unwrap_or(0);
        let after = self
            .checked
            .signed_through
            .unwrap_or_else(|| first.saturating_sub(1));
        let records = last.saturating_sub(after);
        if !self.expected.keys.is_empty() && records > MAX_UNSIGNED_RECORDS {
            self.find(Finding::UnsignedRecords { after, records });
        }
        if let Some(head) = self.expected.head
            && head.sequence < first
            && !self.removed.iter().any(|removed| removed.head == head)
        {
            self.find(Finding::HeadTooOld { head });
        }
        self.checked
    }
}
