//! The log of one outbox, used by one thread at a time: commits, what is to be sent, acknowledgements, bounds.

mod commit;
mod retention;
mod space;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::disk::Disk;

use crate::age::Age;
use crate::bodies::Bodies;
use crate::error::{AcknowledgeError, DrainError};
use crate::frame::Frame;
use crate::host::Binding;
use crate::index::{Index, Live};
use crate::limits::Limits;
use crate::ranges::Ranges;
use crate::record::{Delivered, Item, LossCause, RecordId, digest};
use crate::state::{SourceState, State};

pub(crate) use commit::narrow;

pub(crate) use commit::Refused;
pub use retention::{Erased, SourceStats};

/// The file with the identity and what was acknowledged.
pub(crate) const STATE: &str = "state";
/// The file that is removed for the state when the disk is full.
pub(crate) const RESERVE: &str = "reserve";
/// File extension of segments.
pub(crate) const SEGMENT: &str = "log";

/// Who the outbox is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) instance: u128,
    pub(crate) epoch: u16,
    /// What the checksums of frames begin with.
    pub(crate) key: u32,
}

/// The segment that frames are appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) number: u64,
    pub(crate) file: File,
    /// Its durable bytes.
    pub(crate) bytes: u64,
}

/// What was written since the log was opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Written {
    pub(crate) bytes: u64,
    pub(crate) payload_bytes: u64,
    pub(crate) commits: u64,
    pub(crate) last_commit: Duration,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) disk: Disk,
    pub(crate) folder: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) age: Age,
    pub(crate) bodies: Bodies,
    pub(crate) identity: Identity,
    pub(crate) bound_to: Binding,
    pub(crate) index: Index,
    pub(crate) active: Option<Active>,
    /// A segment whose last write failed. Nothing is written before it is cut to what is durable.
    pub(crate) damaged: Option<Active>,
    pub(crate) last_segment: u64,
    /// A commit runs, or panicked.
    pub(crate) in_commit: bool,
    /// Damaged bytes that were named, by segment.
    pub(crate) named_damage: BTreeMap<u64, u64>,
    /// Segments that the state does not list any more, and that the disk did not remove.
    pub(crate) unlisted: BTreeSet<u64>,
    /// Acknowledged ranges that are not on the disk.
    pub(crate) acknowledged: BTreeMap<u32, Ranges>,
    /// The identity is not on the disk.
    pub(crate) must_write_state: bool,
    /// Bytes of the state when it was last written.
    pub(crate) state_bytes: u64,
    /// Bytes of the reserve.
    pub(crate) reserve_bytes: u64,
    /// The disk had no space for the last commit.
    pub(crate) is_disk_full: bool,
    /// The record, by source and sequence, that could not be read, and how often.
    pub(crate) unreadable: Option<((u32, u64), u32)>,
    /// The age at which it is looked next whether bytes are kept for too long. `None` where no bytes have a retention.
    pub(crate) next_look_ms: Option<u64>,
    /// Bytes of the last commit, for the next one's buffer.
    pub(crate) buffer_bytes: usize,
    pub(crate) written: Written,
    /// The segment that was read last.
    pub(crate) reader: Option<(u64, File)>,
}

/// The path of a segment.
pub(crate) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.{SEGMENT}"))
}

impl Log {
    /// What is to be sent first: losses, then records by priority. Nothing is removed. Holds at least one record, however large it is.
    pub(crate) fn next_batch(
        &mut self,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Item>, DrainError> {
        self.expire();
        let mut items = self.losses(max_records);
        let mut left = max_bytes;
        let mut chosen = Vec::new();
        for (source, sequence) in self.index.in_order() {
            let Some(live) = self.live(source, sequence) else {
                continue;
            };
            let payload = live.payload as usize;
            let is_first = items.is_empty() && chosen.is_empty();
            if items.len() + chosen.len() >= max_records || (payload > left && !is_first) {
                break;
            }
            left = left.saturating_sub(payload);
            chosen.push((source, sequence, live));
        }
        for (source, sequence, live) in chosen {
            match self.read(source, sequence, live) {
                Ok(Some(record)) => items.push(Item::Record(record)),
                // What comes before it is sent first.
                Err(_) if !items.is_empty() => break,
                Err(error) if !self.gives_up(source, sequence, &error.source) => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(sequence, %error, "a record of the outbox cannot be read");
                    self.index
                        .lose_record(source, sequence, LossCause::DiskError);
                }
                Ok(None) => {
                    tracing::warn!(
                        sequence,
                        segment = live.segment,
                        "a record of the outbox is damaged"
                    );
                    self.index.lose_record(source, sequence, LossCause::Corrupt);
                }
            }
        }
        Ok(items)
    }

    fn losses(&mut self, most: usize) -> Vec<Item> {
        let all = self.index.sources_mut().iter_mut();
        let held = all.flat_map(|source| source.losses.values_mut());
        let durable = held.filter(|held| held.durable).take(most);
        durable
            .map(|held| {
                held.sent = true;
                Item::Loss(held.loss.clone())
            })
            .collect()
    }

    fn live(&self, source: u32, sequence: u64) -> Option<Live> {
        self.index.source(source)?.live.get(&sequence).copied()
    }

    /// Reads a record; none if its bytes are not those that were written.
    fn read(
        &mut self,
        source: u32,
        sequence: u64,
        live: Live,
    ) -> Result<Option<Delivered>, DrainError> {
        let bytes = match self.frame_bytes(live) {
            Ok(bytes) => bytes,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(source) => {
                let path = segment_path(&self.folder, live.segment);
                return Err(DrainError { path, source });
            }
        };
        let (Some(source), Some((frame, _))) = (
            self.index.source(source),
            Frame::read(&bytes, self.identity.key),
        ) else {
            return Ok(None);
        };
        let is_it =
            frame.kind.is_data() && frame.sequence == sequence && frame.source == &*source.name;
        let payload = self.bodies.payload(&frame).filter(|_| is_it);
        Ok(payload.map(|payload| Delivered {
            id: RecordId {
                instance: self.identity.instance,
                epoch: frame.epoch,
                source: Arc::clone(&source.name),
                sequence,
                digest: digest(&payload),
            },
            class: frame.class.to_owned(),
            priority: frame.priority,
            wall_ms: frame.wall_ms,
            payload,
        }))
    }

    /// The bytes of a record's frame.
    pub(crate) fn frame_bytes(&mut self, live: Live) -> io::Result<Vec<u8>> {
        let file = match self.reader.take() {
            Some((number, file)) if number == live.segment => file,
            _ => File::open(segment_path(&self.folder, live.segment))?,
        };
        let mut bytes = vec![0; live.size as usize];
        let read = file.read_exact_at(&mut bytes, u64::from(live.offset));
        self.reader = Some((live.segment, file));
        read.map(|()| bytes)
    }

    /// Takes ranges out of what is to be sent. They are on the disk after the next commit.
    pub(crate) fn acknowledge(
        &mut self,
        name: &str,
        ranges: &[(u64, u64)],
    ) -> Result<(), AcknowledgeError> {
        let source_name = || name.to_owned();
        let unknown = || AcknowledgeError::UnknownSource {
            source_name: source_name(),
        };
        let source = self.index.find(name).ok_or_else(unknown)?;
        let next = self.index.source(source).map_or(1, |source| source.next);
        for &(from, to) in ranges {
            if from == 0 || from > to || to >= next {
                return Err(AcknowledgeError::OutOfRange {
                    source_name: source_name(),
                    from,
                    to,
                    last: next - 1,
                });
            }
        }
        for &(from, to) in ranges {
            self.index.acknowledge(source, from, to);
            self.acknowledged
                .entry(source)
                .or_default()
                .insert(from, to);
        }
        Ok(())
    }

    /// Loses a record that is too large to be delivered, if it is there.
    pub(crate) fn give_up(&mut self, name: &str, sequence: u64) -> Result<(), AcknowledgeError> {
        let source_name = || name.to_owned();
        let unknown = || AcknowledgeError::UnknownSource {
            source_name: source_name(),
        };
        let source = self.index.find(name).ok_or_else(unknown)?;
        self.index
            .lose_record(source, sequence, LossCause::TooLarge);
        Ok(())
    }

    /// Whether there is something to send.
    pub(crate) fn has_items(&self) -> bool {
        let mut sources = self.index.sources().iter();
        self.index.live_records > 0
            || sources.any(|source| source.losses.values().any(|held| held.durable))
    }

    /// Whether the memory has what the disk does not.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.must_write_state || !self.acknowledged.is_empty() || !self.index.unwritten.is_empty()
    }

    /// When the oldest record expires, or the next look is due.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let oldest = self.index.oldest_ms();
        let expires = oldest.map(|oldest| {
            oldest
                .saturating_add(self.limits.age_ms())
                .saturating_add(1)
        });
        let next = expires.into_iter().chain(self.next_look_ms).min()?;
        Some(self.age.instant(next))
    }

    /// Replaces records of the greatest age by losses.
    pub(crate) fn expire(&mut self) {
        self.expire_by_source();
        let Some(oldest_kept) = self.age.now_ms().checked_sub(self.limits.age_ms()) else {
            return;
        };
        while let Some((source, sequence)) = self.index.older_than(oldest_kept) {
            self.index.lose_record(source, sequence, LossCause::Expired);
        }
    }

    fn state(&self) -> State {
        let damaged = self.named_damage.iter();
        let damaged = damaged.filter(|(number, _)| self.index.segments.contains_key(number));
        let sources = self.index.sources().iter().map(|source| {
            let state = SourceState {
                next: source.next,
                acknowledged: source.acknowledged.iter().collect(),
                losses: source
                    .losses
                    .values()
                    .map(|held| held.loss.clone())
                    .collect(),
                retention_ms: source.retention_ms,
            };
            (source.name.to_string(), state)
        });
        State {
            instance: format!("{:032x}", self.identity.instance),
            epoch: self.identity.epoch,
            key: self.identity.key,
            bound_to: self.bound_to.clone(),
            time: self.age.stamp(),
            segments: self.index.segments.keys().copied().collect(),
            last_segment: self.last_segment,
            damaged: damaged.map(|(&number, &bytes)| (number, bytes)).collect(),
            sources: sources.collect(),
        }
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.folder.join(STATE)
    }
}

pub(crate) fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
    )
}
