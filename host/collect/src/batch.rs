//! A batch of a device, checked.

use hotshoe_protocol::outbox::{BATCH_FORMAT, Batch, BatchItem, LossItem, RecordItem};
use hotshoe_trust::Digest;

/// Most records and losses of a batch.
const MAX_ITEMS: usize = 65_536;
/// Longest name of a source, a class, a priority or a cause, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Greatest sequence: what SQLite can store.
const MAX_SEQUENCE: u64 = i64::MAX as u64;

/// Why a batch is refused. Nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A newer version of Hotshoe made it.
    #[error("the batch has format {format}, and this program reads {BATCH_FORMAT}; update it")]
    Newer {
        /// Its format.
        format: u32,
    },
    /// A field is not valid.
    #[error("the {what} of a batch is not valid")]
    Invalid {
        /// Which field.
        what: &'static str,
    },
    /// A payload has other bytes than the device digested.
    #[error("record {sequence} of `{source_name}` does not have the digest that the batch says")]
    DigestMismatch {
        /// The source.
        source_name: String,
        /// The record.
        sequence: u64,
    },
}

impl BatchError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "newer_format",
            Self::Invalid { .. } => "invalid_batch",
            Self::DigestMismatch { .. } => "digest_mismatch",
        }
    }
}

/// A batch whose fields are valid, and whose payloads have their digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedBatch {
    /// The device's site.
    pub site: String,
    /// The device.
    pub device: String,
    /// The outbox: 32 hexadecimal digits.
    pub instance: String,
    /// The run of the daemon.
    pub session: String,
    /// Records that wait behind it.
    pub left: u64,
    /// What came, each source in its order.
    pub items: Vec<ReceivedItem>,
}

/// A record, or the notice that records will not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReceivedItem {
    /// A record.
    Record(ReceivedRecord),
    /// A loss.
    Loss(ReceivedLoss),
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRecord {
    /// Its source.
    pub source: String,
    /// Its epoch.
    pub epoch: u16,
    /// Its sequence.
    pub sequence: u64,
    /// SHA-256 of its payload.
    pub digest: Digest,
    /// Its class of data.
    pub class: String,
    /// The name of its priority.
    pub priority: String,
    /// The device's time of day when it was accepted, in milliseconds since 1970.
    pub wall_ms: u64,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// A range of records that will not come.
pub type ReceivedLoss = LossItem;

impl ReceivedItem {
    /// The source and the range that acknowledges it.
    pub fn range(&self) -> (&str, u64, u64) {
        match self {
            Self::Record(it) => (&it.source, it.sequence, it.sequence),
            Self::Loss(it) => (&it.source, it.from, it.to),
        }
    }
}

impl TryFrom<&Batch> for ReceivedBatch {
    type Error = BatchError;

    fn try_from(batch: &Batch) -> Result<Self, BatchError> {
        if batch.format > BATCH_FORMAT {
            let format = batch.format;
            return Err(BatchError::Newer { format });
        }
        let is_instance =
            batch.instance.len() == 32 && batch.instance.bytes().all(|it| it.is_ascii_hexdigit());
        valid(is_instance, "instance")?;
        name(&batch.session, "session")?;
        valid(batch.items.len() <= MAX_ITEMS, "number of items")?;
        let items = batch.items.iter().map(|item| match item {
            BatchItem::Record(item) => record(item).map(ReceivedItem::Record),
            BatchItem::Loss(item) => loss(item).map(ReceivedItem::Loss),
        });
        Ok(Self {
            site: batch.site.clone(),
            device: batch.device.clone(),
            instance: batch.instance.to_ascii_lowercase(),
            session: batch.session.clone(),
            left: batch.left,
            items: items.collect::<Result<_, _>>()?,
        })
    }
}

const fn valid(is_valid: bool, what: &'static str) -> Result<(), BatchError> {
    match is_valid {
        true => Ok(()),
        false => Err(BatchError::Invalid { what }),
    }
}

fn name(text: &str, what: &'static str) -> Result<(), BatchError> {
    let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
    valid(fits && !text.contains(char::is_control), what)
}

fn sequence(number: u64) -> Result<(), BatchError> {
    valid((1..=MAX_SEQUENCE).contains(&number), "sequence")
}

fn record(item: &RecordItem) -> Result<ReceivedRecord, BatchError> {
    name(&item.source, "source")?;
    name(&item.priority, "priority")?;
    valid(item.class.len() <= MAX_NAME_BYTES, "class")?;
    sequence(item.sequence)?;
    let payload = item.payload();
    let payload = payload.ok_or(BatchError::Invalid { what: "payload" })?;
    let digest = Digest::of(&payload);
    if digest.hex() != item.digest.to_ascii_lowercase() {
        return Err(BatchError::DigestMismatch {
            source_name: item.source.clone(),
            sequence: item.sequence,
        });
    }
    Ok(ReceivedRecord {
        source: item.source.clone(),
        epoch: item.epoch,
        sequence: item.sequence,
        digest,
        class: item.class.clone(),
        priority: item.priority.clone(),
        wall_ms: item.wall_ms.min(MAX_SEQUENCE),
        payload,
    })
}

fn loss(item: &LossItem) -> Result<ReceivedLoss, BatchError> {
    name(&item.source, "source")?;
    name(&item.cause, "cause")?;
    sequence(item.from)?;
    sequence(item.to)?;
    valid(item.from <= item.to, "range of a loss")?;
    Ok(ReceivedLoss {
        count: item.count.min(MAX_SEQUENCE),
        bytes: item.bytes.min(MAX_SEQUENCE),
        ..item.clone()
    })
}
