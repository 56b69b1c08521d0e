use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The importance of a record: what is sent first, and evicted last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// 0: sent first. Losses are sent with it.
    Critical,
    /// 1.
    High,
    /// 2.
    Normal,
    /// 3: evicted first.
    Low,
}

impl Priority {
    /// All, the most important first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];

    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// 0 for the most important.
    pub(crate) const fn rank(self) -> usize {
        self as usize
    }
}

/// What must arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Who made it; its records keep their order. 1 to 128 bytes.
    pub source: Arc<str>,
    /// Its class of data; at most 64 bytes.
    pub class: Arc<str>,
    /// Its importance.
    pub priority: Priority,
    /// How long this device may keep it, and earlier ones of its source. Default: as long as [`Limits::age`](crate::Limits::age).
    pub retention: Option<Duration>,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The identity of a record. A receiver stores one record for each. Two records that differ in the digest alone are a conflict: two devices
/// run with copies of one outbox.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The outbox: 128 random bits, made with its folder.
    pub instance: u128,
    /// Rises where the log cannot prove that it continues.
    pub epoch: u16,
    /// Who made the record.
    pub source: Arc<str>,
    /// Its number within the source, from 1.
    pub sequence: u64,
    /// SHA-256 of the payload.
    pub digest: [u8; 32],
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            instance,
            epoch,
            source,
            sequence,
            digest,
        } = self;
        let digest = hex::encode(digest);
        write!(f, "{instance:032x}/{epoch}/{source}/{sequence}/{digest}")
    }
}

/// Where an accepted record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The epoch.
    pub epoch: u16,
    /// The number within its source.
    pub sequence: u64,
}

/// An undelivered record, read from the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Its identity.
    pub id: RecordId,
    /// Its class of data.
    pub class: String,
    /// Its importance.
    pub priority: Priority,
    /// The time of day at which it was accepted, in milliseconds since 1970. It steps with the device's clock; the order is that of sequences.
    pub wall_ms: u64,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// Records that will not come: one range of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Who made them.
    #[serde(skip)]
    pub source: Arc<str>,
    /// The outbox's epoch.
    pub epoch: u16,
    /// The first sequence.
    pub from: u64,
    /// The last sequence.
    pub to: u64,
    /// Lost records. Fewer than the range has where others of it were delivered.
    pub count: u64,
    /// Bytes of their payloads; 0 where it is not known.
    pub bytes: u64,
    /// Why.
    pub cause: LossCause,
}

/// Why records were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// They reached the greatest age, or seven eighths of the retention of their class.
    Expired,
    /// They made room for others.
    Evicted,
    /// The disk gave other bytes than were written, or lost a file.
    Corrupt,
    /// Too many bytes waited to be written.
    QueueFull,
    /// The disk had no space.
    DiskFull,
    /// The disk failed or was read-only.
    DiskError,
    /// An operator had them erased.
    Erased,
    /// They were larger than the outbox takes, or the broker.
    TooLarge,
}

impl LossCause {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Expired,
        Self::Evicted,
        Self::Corrupt,
        Self::QueueFull,
        Self::DiskFull,
        Self::DiskError,
        Self::Erased,
        Self::TooLarge,
    ];

    /// The stable name, in snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Corrupt => "corrupt",
            Self::QueueFull => "queue_full",
            Self::DiskFull => "disk_full",
            Self::DiskError => "disk_error",
            Self::Erased => "erased",
            Self::TooLarge => "too_large",
        }
    }
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(Delivered),
    /// A loss: acknowledged by its range, as records are.
    Loss(Loss),
}

impl Item {
    /// The source and the range of sequences that acknowledge it.
    pub fn range(&self) -> (&Arc<str>, u64, u64) {
        match self {
            Self::Record(it) => (&it.id.source, it.id.sequence, it.id.sequence),
            Self::Loss(it) => (&it.source, it.from, it.to),
        }
    }
}

/// The digest of a payload.
pub(crate) fn digest(payload: &[u8]) -> [u8; 32] {
    Sha256::digest(payload).into()
}
