//! Keeps the segments within their bytes: removes those without undelivered records, and writes the records of nearly empty ones again.
//!
//! Undelivered records take at most five eighths of the bytes, so the segment with the fewest frees at least a fifth of itself. That bounds
//! what is written for one byte of payload.

use std::collections::BTreeMap;
use std::io;

use uuid::Uuid;

use super::commit::narrow;
use super::{Log, RESERVE, is_missing, segment_path};
use crate::error::is_full;
use crate::frame::Frame;
use crate::index::{Evicted, Live};
use crate::record::{LossCause, Priority};

/// The state is written for at least this many times its bytes of removed segments.
const STATE_SHARE: u64 = 8;
/// Least bytes of the reserve.
const LEAST_RESERVE_BYTES: u64 = 64 << 10;
/// Times that one record is read before it is given up. A caller pauses between them.
const MAX_READS: u32 = 5;

impl Log {
    /// Evicts until there is room for `bytes` and `records` more: false, and nothing is evicted, if what is left is more important.
    pub(super) fn make_room(
        &mut self,
        bytes: u64,
        records: usize,
        priority: Priority,
        evicted: &mut Vec<Evicted>,
    ) -> bool {
        let before = evicted.len();
        while self.index.live_bytes + bytes > self.limits.live_bytes()
            || self.index.live_records + records > self.limits.records
        {
            let victim = self.index.victim(priority);
            let Some(victim) = victim.and_then(|(source, at)| self.index.evict(source, at)) else {
                self.put_back(evicted, before);
                return false;
            };
            evicted.push(victim);
        }
        true
    }

    /// Takes back evictions, from the one at `from` on.
    pub(super) fn put_back(&mut self, evicted: &mut Vec<Evicted>, from: usize) {
        for it in evicted.drain(from..).rev() {
            self.index.put_back(it);
        }
    }

    /// Makes space for `bytes` more.
    pub(super) fn reclaim(&mut self, bytes: u64) -> io::Result<()> {
        let is_full = |log: &Self| log.index.bytes() + bytes > log.limits.full_bytes();
        let over = is_full(self);
        self.remove_empty(over)?;
        let mut left = self.index.segments.len();
        while is_full(self) && left > 0 {
            left -= 1;
            if !self.compact()? {
                break;
            }
        }
        Ok(())
    }

    /// Removes the segments without undelivered records, once the state has what they say.
    fn remove_empty(&mut self, now: bool) -> io::Result<()> {
        let active = self.active.as_ref().map(|active| active.number);
        let segments = self.index.segments.iter();
        let empty: Vec<(u64, u64)> = segments
            .filter(|(number, it)| it.live_records == 0 && Some(**number) != active)
            .map(|(&number, it)| (number, it.bytes))
            .collect();
        let freed: u64 = empty.iter().map(|(_, bytes)| bytes).sum();
        // A full disk needs all that can be removed, unless the state takes most of it.
        let least = if self.is_disk_full {
            0
        } else {
            self.limits.segment_bytes
        };
        let is_worth_it = freed >= least.max(STATE_SHARE * self.state_bytes);
        if empty.is_empty() || !(now || is_worth_it) {
            return Ok(());
        }
        let removed: Vec<_> = empty
            .iter()
            .filter_map(|(number, _)| self.index.segments.remove(number).map(|it| (*number, it)))
            .collect();
        if let Err(error) = self.write_state() {
            self.index.segments.extend(removed);
            return Err(error);
        }
        self.unlisted
            .extend(removed.iter().map(|(number, _)| number));
        if let Err(error) = self.remove_unlisted() {
            tracing::warn!(%error, "cannot remove a segment of the outbox");
        }
        Ok(())
    }

    /// Removes the segments that the state does not list. What the disk refuses is tried again at each look of the retention, with the next
    /// segments, and at the next start.
    pub(super) fn remove_unlisted(&mut self) -> io::Result<()> {
        self.reader = None;
        let (disk, folder, mut result) = (&self.disk, &self.folder, Ok(()));
        self.unlisted.retain(|&number| {
            let removed = disk.remove(&segment_path(folder, number));
            let is_left = removed.is_err();
            result = std::mem::replace(&mut result, Ok(())).and(removed);
            is_left
        });
        result
    }

    /// Writes the records of the segment with the fewest again, and removes it: false if no segment frees anything.
    fn compact(&mut self) -> io::Result<bool> {
        let active = self.active.as_ref().map(|active| active.number);
        let closed = self.index.segments.iter();
        let fewest = closed
            .filter(|(number, it)| Some(**number) != active && it.live_bytes < it.bytes / 5 * 4)
            .min_by_key(|(_, it)| it.live_bytes.saturating_mul(1000) / it.bytes.max(1));
        let Some((&number, _)) = fewest else {
            return Ok(false);
        };
        self.rewrite(number)?;
        Ok(true)
    }

    /// Writes the undelivered records of a segment again, at the end, and removes it.
    pub(super) fn rewrite(&mut self, number: u64) -> io::Result<()> {
        if self.active.as_ref().map(|active| active.number) == Some(number) {
            self.active = None;
        }
        let mut moved: Vec<(u32, u64, Live)> = Vec::new();
        for source in self.index.numbers() {
            let of = self.index.source(source).into_iter();
            let live = of.flat_map(|of| &of.live);
            let here = live.filter(|(_, live)| live.segment == number);
            moved.extend(here.map(|(&sequence, &live)| (source, sequence, live)));
        }
        let mut buffer = Vec::new();
        let mut lost = BTreeMap::new();
        for (source, sequence, live) in &mut moved {
            match self.frame_bytes(*live) {
                Ok(bytes) if Frame::read(&bytes, self.identity.key).is_some() => {
                    live.offset = narrow(buffer.len() as u64);
                    buffer.extend(bytes);
                }
                Err(error) if !is_missing(&error) => {
                    if !self.gives_up(*source, *sequence, &error) {
                        return Err(error);
                    }
                    lost.insert((*source, *sequence), LossCause::DiskError);
                }
                _ => {
                    lost.insert((*source, *sequence), LossCause::Corrupt);
                }
            }
        }
        for (&(source, sequence), &cause) in &lost {
            self.index.lose_record(source, sequence, cause);
        }
        moved.retain(|(source, sequence, _)| !lost.contains_key(&(*source, *sequence)));
        if !moved.is_empty() {
            self.roll()?;
            let (segment, base) = self.append(&buffer)?;
            for (source, sequence, live) in moved {
                let live = Live {
                    segment,
                    offset: narrow(base + u64::from(live.offset)),
                    ..live
                };
                self.index.insert(source, sequence, live);
            }
        }
        self.remove_empty(true)
    }

    /// Writes the state. All that was acknowledged or lost is durable then.
    pub(crate) fn write_state(&mut self) -> io::Result<()> {
        let (state, path) = (self.state(), self.state_path());
        let written = match state.write(&self.disk, &path) {
            Err(error) if is_full(&error) && self.free_reserve() => state.write(&self.disk, &path),
            written => written,
        };
        self.state_bytes = written?;
        self.written.bytes += self.state_bytes;
        self.must_write_state = false;
        self.acknowledged.clear();
        for (source, from) in std::mem::take(&mut self.index.unwritten) {
            let of = self.index.source_mut(source);
            if let Some(held) = of.and_then(|of| of.losses.get_mut(&from)) {
                held.durable = true;
            }
        }
        Ok(())
    }

    /// Keeps bytes on the disk for the state. Without them, an outbox that has filled its disk could not write the state, and so could never
    /// remove a segment.
    pub(crate) fn keep_reserve(&mut self) {
        let needed = (2 * self.state_bytes).max(LEAST_RESERVE_BYTES);
        if self.is_disk_full || self.reserve_bytes >= needed {
            return;
        }
        let needed = needed.next_power_of_two();
        // Random, because a file system may compress.
        let blocks = (0..needed / 16).flat_map(|_| Uuid::new_v4().into_bytes());
        let bytes: Vec<u8> = blocks.collect();
        if self
            .disk
            .replace(&self.folder.join(RESERVE), &bytes)
            .is_ok()
        {
            self.reserve_bytes = needed;
            self.written.bytes += needed;
        }
    }

    /// Gives the bytes for the state back to the disk: false if there are none.
    fn free_reserve(&mut self) -> bool {
        if std::mem::take(&mut self.reserve_bytes) == 0 {
            return false;
        }
        self.disk.remove(&self.folder.join(RESERVE)).is_ok()
    }

    /// Whether a record is given up that could not be read: a bad block must not hold up all others for ever. What the process lacks is not
    /// the fault of the disk.
    pub(super) fn gives_up(&mut self, source: u32, sequence: u64, error: &io::Error) -> bool {
        const TOO_MANY_FILES: [i32; 2] = [23, 24];
        let lacks = matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::OutOfMemory
        ) || error
            .raw_os_error()
            .is_some_and(|it| TOO_MANY_FILES.contains(&it));
        if lacks {
            return false;
        }
        let times = match self.unreadable {
            Some((at, times)) if at == (source, sequence) => times + 1,
            _ => 1,
        };
        self.unreadable = Some(((source, sequence), times));
        times >= MAX_READS
    }
}
