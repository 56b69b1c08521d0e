//! A store of lines of JSON: `records.jsonl`, to which batches are appended, each with one sync. An index of what it has is in memory,
//! about 100 bytes for each record.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use hotshoe_base::disk::{Disk, parent};
use hotshoe_outbox::Ranges;
use hotshoe_protocol::outbox::encode_payload;
use hotshoe_trust::Digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Conflict, Outcome, StoreError};
use crate::batch::{ReceivedBatch, ReceivedItem, ReceivedLoss, ReceivedRecord};

/// The file in the folder.
pub const RECORDS: &str = "records.jsonl";

/// A line of the file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Line<'a> {
    Record {
        site: &'a str,
        device: &'a str,
        instance: &'a str,
        source: &'a str,
        epoch: u16,
        sequence: u64,
        digest: String,
        class: &'a str,
        priority: &'a str,
        wall_ms: u64,
        /// Another record with this number, epoch and instance has another payload.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        conflict: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<Box<RawValue>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload_base64: Option<String>,
    },
    Loss {
        site: &'a str,
        device: &'a str,
        instance: &'a str,
        source: &'a str,
        epoch: u16,
        from: u64,
        to: u64,
        count: u64,
        bytes: u64,
        cause: &'a str,
    },
}

/// What the index needs of a line. The payload is skipped, and may be any JSON.
#[derive(Debug, Deserialize)]
struct IndexLine {
    instance: String,
    source: String,
    epoch: u16,
    /// Of a record, as is `digest`.
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    digest: Option<String>,
    /// Of a loss, as are `to` and `cause`.
    #[serde(default)]
    from: u64,
    #[serde(default)]
    to: u64,
    #[serde(default)]
    cause: String,
}

/// What is stored of one source of one outbox.
#[derive(Debug, Default)]
struct Known {
    /// Digests by sequence and epoch: more than one in a conflict.
    records: BTreeMap<(u64, u16), Vec<[u8; 32]>>,
    losses: BTreeSet<(u64, u64, u16, String)>,
    stored: Ranges,
    lost: Ranges,
}

/// A folder with a file of lines of JSON.
#[derive(Debug)]
pub struct Jsonl {
    path: PathBuf,
    disk: Disk,
    /// At its end. Held with a lock.
    file: File,
    index: BTreeMap<(String, String), Known>,
    is_broken: bool,
}

impl Jsonl {
    pub(super) fn open(folder: &Path, disk: Disk) -> Result<Self, StoreError> {
        let path = folder.join(RECORDS);
        let io = |source| StoreError::Io {
            path: path.clone(),
            source,
        };
        disk.make_folder(folder).map_err(io)?;
        let file = disk.open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = folder.to_owned();
                return Err(StoreError::Busy { path });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let mut store = Self {
            path: path.clone(),
            disk,
            file,
            index: BTreeMap::new(),
            is_broken: false,
        };
        let whole = store.read()?;
        let len = store.file.metadata().map_err(io)?.len();
        if len > whole {
            store.disk.truncate(&store.file, whole).map_err(io)?;
        }
        // A line may be there that was never synced.
        store.disk.sync(&store.file).map_err(io)?;
        store.disk.sync_folder(parent(&path)).map_err(io)?;
        store.file.seek(SeekFrom::Start(whole)).map_err(io)?;
        Ok(store)
    }

    /// Reads the file into the index. Returns the bytes of its whole lines.
    fn read(&mut self) -> Result<u64, StoreError> {
        let io = |source| StoreError::Io {
            path: self.path.clone(),
            source,
        };
        let mut reader = BufReader::new(&self.file);
        let (mut whole, mut line, mut number) = (0, Vec::new(), 0);
        let mut index = BTreeMap::new();
        loop {
            line.clear();
            let bytes = reader.read_until(b'\n', &mut line).map_err(io)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let read = serde_json::from_slice(&line).map_err(|source| StoreError::Damaged {
                path: self.path.clone(),
                line: number,
                source,
            })?;
            whole += bytes as u64;
            enter(&mut index, read);
        }
        self.index = index;
        Ok(whole)
    }

    pub(super) fn put(&mut self, batch: &ReceivedBatch) -> Result<Outcome, StoreError> {
        if self.is_broken {
            let path = self.path.clone();
            return Err(StoreError::Broken { path });
        }
        let (mut outcome, mut lines) = (Outcome::default(), Vec::new());
        for item in &batch.items {
            let (source, ..) = item.range();
            let key = (batch.instance.clone(), source.to_owned());
            let known = self.index.entry(key).or_default();
            let line = match item {
                ReceivedItem::Record(record) => add_record(known, batch, record, &mut outcome),
                ReceivedItem::Loss(loss) => add_loss(known, batch, loss, &mut outcome),
            };
            if let Some(line) = line {
                // Infallible: a line has texts and numbers.
                serde_json::to_writer(&mut lines, &line).unwrap_or_default();
                lines.push(b'\n');
            }
        }
        if !lines.is_empty() {
            let written = self
                .disk
                .write(&mut self.file, &lines)
                .and_then(|()| self.disk.sync_data(&self.file));
            written.map_err(|source| {
                self.is_broken = true;
                let path = self.path.clone();
                StoreError::Io { path, source }
            })?;
        }
        Ok(outcome)
    }
}

fn enter(index: &mut BTreeMap<(String, String), Known>, line: IndexLine) {
    let known = index.entry((line.instance, line.source)).or_default();
    let Some(digest) = line.digest else {
        let key = (line.from, line.to, line.epoch, line.cause);
        known.losses.insert(key);
        known.lost.insert(line.from, line.to);
        return;
    };
    let mut bytes = [0; 32];
    // Someone may have edited it; the record then counts as another one.
    let _ = hex::decode_to_slice(&digest, &mut bytes);
    let number = (line.sequence, line.epoch);
    known.records.entry(number).or_default().push(bytes);
    known.stored.insert(line.sequence, line.sequence);
}

fn add_record<'a>(
    known: &mut Known,
    batch: &'a ReceivedBatch,
    record: &'a ReceivedRecord,
    outcome: &mut Outcome,
) -> Option<Line<'a>> {
    let digest: &Digest = &record.digest;
    let digests = known.records.entry((record.sequence, record.epoch));
    let digests = digests.or_default();
    if digests.contains(digest.bytes()) {
        outcome.duplicates += 1;
        return None;
    }
    let conflict = !digests.is_empty();
    digests.push(*digest.bytes());
    known.stored.insert(record.sequence, record.sequence);
    outcome.stored += 1;
    if conflict {
        outcome.conflicts.push(Conflict::of(batch, record));
    }
    let (payload, payload_base64) = encode_payload(&record.payload);
    Some(Line::Record {
        site: &batch.site,
        device: &batch.device,
        instance: &batch.instance,
        source: &record.source,
        epoch: record.epoch,
        sequence: record.sequence,
        digest: digest.hex(),
        class: &record.class,
        priority: &record.priority,
        wall_ms: record.wall_ms,
        conflict,
        payload,
        payload_base64,
    })
}

fn add_loss<'a>(
    known: &mut Known,
    batch: &'a ReceivedBatch,
    loss: &'a ReceivedLoss,
    outcome: &mut Outcome,
) -> Option<Line<'a>> {
    let key = (loss.from, loss.to, loss.epoch, loss.cause.clone());
    if !known.losses.insert(key) {
        return None;
    }
    outcome.add_loss(loss, &known.stored, &known.lost);
    known.lost.insert(loss.from, loss.to);
    Some(Line::Loss {
        site: &batch.site,
        device: &batch.device,
        instance: &batch.instance,
        source: &loss.source,
        epoch: loss.epoch,
        from: loss.from,
        to: loss.to,
        count: loss.count,
        bytes: loss.bytes,
        cause: &loss.cause,
    })
}

impl Conflict {
    /// Of a record of a batch.
    pub(super) fn of(batch: &ReceivedBatch, record: &ReceivedRecord) -> Self {
        Self {
            device: batch.device.clone(),
            instance: batch.instance.clone(),
            source: record.source.clone(),
            epoch: record.epoch,
            sequence: record.sequence,
        }
    }
}

impl Outcome {
    /// Counts what of a new loss is neither stored nor known to be lost.
    pub(super) fn add_loss(&mut self, loss: &ReceivedLoss, stored: &Ranges, lost: &Ranges) {
        let unknown = lost.missing(loss.from, loss.to).into_iter();
        let gone = unknown.flat_map(|(from, to)| stored.missing(from, to));
        let count: u64 = gone.map(|(from, to)| to - from + 1).sum();
        if count > 0 {
            *self.lost.entry(loss.cause.clone()).or_default() += count;
        }
        self.losses.push(loss.clone());
    }
}
