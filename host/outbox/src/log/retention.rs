//! How long bytes may be on the disk: the retention of the class of a source, and erasure.
//!
//! The bytes of a record stay in their segment after it was delivered or lost. A retention covers them too. A segment takes records of a
//! sixteenth of the time, a record that is not delivered is lost after seven eighths of it, and the segment is removed at the next look, of
//! which there are 32 in that time. So a segment is removed once, and no byte is kept for longer than the retention while the program runs;
//! after a time without power, what is due goes when the outbox is opened.

use std::time::Duration;

use crate::error::EraseError;
use crate::record::{LossCause, Record};

use super::Log;

/// The share of a retention after which a record is lost: what is left of it is time to remove its bytes.
const LEFT_SHARE: u64 = 8;
/// The share of a retention whose records a segment takes.
const SPAN_SHARE: u64 = 16;
/// The share of a retention between two looks.
const LOOK_SHARE: u64 = 32;
/// Longest time between two looks, in milliseconds: an hour.
const LONGEST_LOOK_MS: u64 = 3_600_000;

/// What an outbox has of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStats {
    /// Its name.
    pub source: String,
    /// Records that were accepted or lost, over all time.
    pub given: u64,
    /// Undelivered records.
    pub records: usize,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Age of the oldest of them.
    pub oldest: Option<Duration>,
    /// Age of the oldest record whose bytes are on the disk, delivered ones included.
    pub oldest_bytes: Option<Duration>,
    /// How long its records may be kept.
    pub retention: Option<Duration>,
}

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Undelivered records, which are lost now.
    pub records: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Segments with bytes of the source that were removed, those of delivered records included.
    pub segments: usize,
}

impl Log {
    /// Takes over how long the sources of a batch may be kept. A change is durable before the records are.
    pub(super) fn note_retention(&mut self, batch: &[&Record]) {
        let now = self.age.now_ms();
        for record in batch {
            let wanted = record.retention.map(millis);
            let known = self.index.find(&record.source);
            let source = match known {
                None if wanted.is_some() => self.index.add(&record.source, self.limits.sources),
                known => known,
            };
            let of = source.and_then(|source| self.index.source_mut(source));
            if of.is_some_and(|of| of.keep_for(wanted, now)) {
                self.must_write_state = true;
                self.next_look_ms = Some(now);
            }
        }
    }

    /// Replaces records by losses whose time is over by the retention of their source. Those of a source are in the order of their age.
    pub(super) fn expire_by_source(&mut self) {
        let now = self.age.now_ms();
        for number in self.index.numbers() {
            let Some(retention) = self.index.source(number).and_then(|of| of.retention_ms) else {
                continue;
            };
            let time = retention - retention / LEFT_SHARE;
            while let Some((&sequence, live)) = self
                .index
                .source(number)
                .and_then(|of| of.live.first_key_value())
                && live.age_ms.saturating_add(time) <= now
            {
                self.index.lose_record(number, sequence, LossCause::Expired);
            }
        }
    }

    /// Removes from the disk what is kept for too long, if the next look is due. What a disk refuses is tried again at the look after it.
    pub(super) fn enforce_retention(&mut self) {
        let now = self.age.now_ms();
        if self.next_look_ms.is_none_or(|at| now < at) {
            return;
        }
        self.next_look_ms = self.next_look(now);
        let active = self.active.as_ref().map(|active| active.number);
        let due = self.due(now);
        if let Some(active) = active
            && !due.contains(&active)
            && self.spans_enough(active, now)
        {
            // The next record begins another one.
            self.active = None;
        }
        for number in due {
            if let Err(error) = self.repair().and_then(|()| self.rewrite(number)) {
                tracing::warn!(
                    number,
                    %error,
                    "a segment of the outbox is kept for longer than the retention allows"
                );
            }
        }
        if let Err(error) = self.remove_unlisted() {
            tracing::warn!(%error, "a segment of the outbox is kept for longer than the retention allows");
        }
    }

    /// When the next look is due. `None` without bytes that have a retention, so that an idle device is not woken.
    pub(super) fn next_look(&self, now: u64) -> Option<u64> {
        let interval = self.look_interval_ms()?;
        let has_retention = |source: &u32| {
            let of = self.index.source(*source);
            of.is_some_and(|of| of.retention_ms.is_some())
        };
        let mut segments = self.index.segments.iter();
        let has_bytes = segments.any(|(number, segment)| {
            self.named_damage.contains_key(number) || segment.ages.keys().any(has_retention)
        });
        (has_bytes || !self.unlisted.is_empty()).then(|| now.saturating_add(interval))
    }

    /// The time between two looks; `None` where no source has a retention.
    fn look_interval_ms(&self) -> Option<u64> {
        let sources = self.index.sources().iter();
        let shortest = sources.filter_map(|source| source.retention_ms).min()?;
        Some((shortest / LOOK_SHARE).clamp(1, LONGEST_LOOK_MS))
    }

    /// The segments that have bytes which must go. Damaged ones go at once where a source has a retention: their bytes may be any record's.
    fn due(&self, now: u64) -> Vec<u64> {
        let is_due = |number: u32, oldest: u64, newest: u64| {
            let retention = self.index.source(number).and_then(|of| of.retention_ms);
            retention.is_some_and(|retention| {
                let (lost, last) = (
                    retention - retention / LEFT_SHARE,
                    retention - retention / LOOK_SHARE,
                );
                newest.saturating_add(lost) <= now || oldest.saturating_add(last) <= now
            })
        };
        let is_bounded = self.look_interval_ms().is_some();
        let segments = self.index.segments.iter();
        let due = segments.filter(|(number, segment)| {
            let mut ages = segment.ages.iter();
            (is_bounded && self.named_damage.contains_key(number))
                || ages.any(|(&source, &(oldest, newest))| is_due(source, oldest, newest))
        });
        due.map(|(&number, _)| number).collect()
    }

    /// Whether a segment has records of as long a time as one of its sources allows.
    fn spans_enough(&self, number: u64, now: u64) -> bool {
        let Some(segment) = self.index.segments.get(&number) else {
            return false;
        };
        let mut ages = segment.ages.iter();
        ages.any(|(&source, &(oldest, _))| {
            let retention = self.index.source(source).and_then(|of| of.retention_ms);
            retention.is_some_and(|it| oldest.saturating_add(it / SPAN_SHARE) <= now)
        })
    }

    /// Loses all records of a source, and removes the bytes of all that it ever had. Other records are written again.
    pub(crate) fn erase(&mut self, name: &str) -> Result<Erased, EraseError> {
        let unknown = || EraseError::UnknownSource {
            source_name: name.to_owned(),
        };
        let number = self.index.find(name).ok_or_else(unknown)?;
        let of = self.index.source(number).ok_or_else(unknown)?;
        let live = of.live.iter();
        let records: Vec<(u64, u64)> = live
            .map(|(&sequence, live)| (sequence, u64::from(live.payload)))
            .collect();
        for &(sequence, _) in &records {
            self.index.lose_record(number, sequence, LossCause::Erased);
        }
        self.begin();
        let segments = self.remove_bytes(number);
        self.in_commit = false;
        let folder = self.folder.clone();
        Ok(Erased {
            records: records.len() as u64,
            payload_bytes: records.iter().map(|(_, bytes)| bytes).sum(),
            segments: segments.map_err(|source| EraseError::Io { folder, source })?,
        })
    }

    /// Removes the segments with bytes of a source, and damaged ones, which may have some. Returns how many.
    fn remove_bytes(&mut self, source: u32) -> std::io::Result<usize> {
        let segments = self.index.segments.iter();
        let with = segments.filter(|(number, segment)| {
            segment.ages.contains_key(&source) || self.named_damage.contains_key(number)
        });
        let with: Vec<u64> = with.map(|(&number, _)| number).collect();
        self.repair()?;
        for &number in &with {
            self.rewrite(number)?;
        }
        // The losses, where no segment had to go.
        self.write_state()?;
        self.remove_unlisted()?;
        Ok(with.len())
    }

    /// What there is of each source, by name.
    pub(crate) fn sources(&self) -> Vec<SourceStats> {
        let now = self.age.now_ms();
        let age = |at: u64| Duration::from_millis(now.saturating_sub(at));
        let numbered = self.index.numbers().zip(self.index.sources());
        let mut all: Vec<SourceStats> = numbered
            .map(|(number, source)| {
                let segments = self.index.segments.values();
                let oldest = segments.filter_map(|segment| segment.ages.get(&number));
                let live = source.live.values();
                SourceStats {
                    source: source.name.to_string(),
                    given: source.next - 1,
                    records: source.live.len(),
                    payload_bytes: live.map(|live| u64::from(live.payload)).sum(),
                    oldest: source.live.values().map(|live| live.age_ms).min().map(age),
                    oldest_bytes: oldest.map(|(oldest, _)| *oldest).min().map(age),
                    retention: source.retention_ms.map(Duration::from_millis),
                }
            })
            .collect();
        all.sort_by(|one, other| one.source.cmp(&other.source));
        all
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
