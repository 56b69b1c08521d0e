//! Keeps the segments within their bytes: removes those without undelivered records, and writes the records of nearly empty ones again.
//!
//! Undelivered records take at most five eighths of the bytes, so the segment with the fewest frees at least a fifth of itself. That bounds
//! what is written for one byte of payload.

use std::io;

use super::commit::narrow;
use super::{Log, is_missing, segment_path};
use crate::frame::Frame;
use crate::index::Live;
use crate::record::LossCause;

/// The state is written for at least this many times its bytes of removed segments.
const STATE_SHARE: u64 = 8;

impl Log {
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
        let is_worth_it = freed
            >= self
                .limits
                .segment_bytes
                .max(STATE_SHARE * self.state_bytes);
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
        self.reader = None;
        for (number, _) in removed {
            // One that cannot be removed now is not in the state, so the next start removes it.
            if let Err(error) = self.disk.remove(&segment_path(&self.folder, number)) {
                tracing::warn!(number, %error, "cannot remove a segment of the outbox");
            }
        }
        Ok(())
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
        let mut moved: Vec<(u32, u64, Live)> = Vec::new();
        for source in self.index.numbers() {
            let of = self.index.source(source).into_iter();
            let live = of.flat_map(|of| &of.live);
            let here = live.filter(|(_, live)| live.segment == number);
            moved.extend(here.map(|(&sequence, &live)| (source, sequence, live)));
        }
        let mut buffer = Vec::new();
        let mut lost = Vec::new();
        for (source, sequence, live) in &mut moved {
            match self.frame_bytes(*live) {
                Ok(bytes) if Frame::read(&bytes, self.identity.key).is_some() => {
                    live.offset = narrow(buffer.len() as u64);
                    buffer.extend(bytes);
                }
                Err(error) if !is_missing(&error) => return Err(error),
                _ => lost.push((*source, *sequence)),
            }
        }
        for &(source, sequence) in &lost {
            self.index.lose_record(source, sequence, LossCause::Corrupt);
        }
        moved.retain(|(source, sequence, _)| !lost.contains(&(*source, *sequence)));
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
        self.remove_empty(true)?;
        Ok(true)
    }

    /// Writes the state. All that was acknowledged or lost is durable then.
    pub(crate) fn write_state(&mut self) -> io::Result<()> {
        let path = self.state_path();
        self.state_bytes = self.state().write(&self.disk, &path)?;
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
}
