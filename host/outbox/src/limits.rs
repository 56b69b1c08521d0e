use std::time::Duration;

use crate::frame::MAX_BODY_BYTES;

/// What bounds an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all segments; default 64 MiB. At least 16 segments: undelivered records take at most five eighths of it.
    pub bytes: u64,
    /// Undelivered records, which bounds the memory of the index (about 150 bytes each); default 262,144.
    pub records: usize,
    /// Age at which a record is given up; default 30 days.
    pub age: Duration,
    /// Sources; default 256.
    pub sources: usize,
    /// Bytes of a payload; default 1 MiB, at most 16 MiB less one, and a sixteenth of `bytes`.
    pub payload_bytes: usize,
    /// Bytes after which a segment is closed; default 1 MiB.
    pub segment_bytes: u64,
    /// Time that the first record of a commit waits for others, unless a caller waits and as many came as last time; default 5 ms.
    pub commit_window: Duration,
    /// Bytes that are committed without waiting for the window to end; default 1 MiB.
    pub commit_bytes: usize,
    /// Bytes that wait to be committed; beyond it records are refused; default 4 MiB.
    pub queue_bytes: usize,
}

/// Bytes of the name of a source.
pub(crate) const MAX_SOURCE_BYTES: usize = 128;
/// Bytes of the name of a class.
pub(crate) const MAX_CLASS_BYTES: usize = 64;
/// Least number of segments that the bytes of an outbox have room for.
pub(crate) const MIN_SEGMENTS: u64 = 16;

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            records: 262_144,
            age: Duration::from_secs(30 * 24 * 3600),
            sources: 256,
            payload_bytes: 1 << 20,
            segment_bytes: 1 << 20,
            commit_window: Duration::from_millis(5),
            commit_bytes: 1 << 20,
            queue_bytes: 4 << 20,
        }
    }
}

impl Limits {
    /// The same limits where they fit together: a segment, a commit and a payload each take at most a sixteenth of the bytes.
    pub(crate) fn fitted(mut self) -> Self {
        let share = (self.bytes / MIN_SEGMENTS).clamp(1, 1 << 30);
        self.segment_bytes = self.segment_bytes.min(share);
        let share = usize::try_from(share).unwrap_or(usize::MAX);
        self.payload_bytes = self.payload_bytes.min(MAX_BODY_BYTES).min(share);
        self.commit_bytes = self.commit_bytes.min(share);
        self.records = self.records.max(1);
        self
    }

    /// Bytes that undelivered records may take.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.bytes / 8 * 5
    }

    /// Bytes of all segments from which on space is made.
    pub(crate) fn full_bytes(&self) -> u64 {
        self.bytes.saturating_sub(2 * self.segment_bytes)
    }

    /// The age in milliseconds.
    pub(crate) fn age_ms(&self) -> u64 {
        u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX)
    }
}
