//! Writes what came, and syncs it once.

use std::io;
use std::sync::Arc;

use crate::error::AppendError;
use crate::frame::{Frame, Kind, LossBody, ack_body, size};
use crate::index::{Evicted, Live};
use crate::record::{LossCause, Position, Priority, Record};
use crate::segment::Header;

use super::{Active, Log, segment_path};

/// Records that were refused before they got here.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) source: Arc<str>,
    pub(crate) cause: LossCause,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

/// A record of a commit: its place in the batch, its source and its sequence.
#[derive(Debug, Clone, Copy)]
struct Planned {
    at: usize,
    source: u32,
    sequence: u64,
}

impl Log {
    /// Writes the records of a batch, and losses and acknowledgements that were not written yet. What is returned for each record is
    /// durable. A record that is not is a loss, which is written as soon as that is possible.
    pub(crate) fn commit(
        &mut self,
        batch: &[&Record],
        refused: &[Refused],
    ) -> Vec<Result<Position, AppendError>> {
        self.begin();
        let results = self.commit_all(batch, refused);
        self.in_commit = false;
        results
    }

    /// Begins to write. If the last one who did panicked, it is not known what it wrote.
    pub(super) fn begin(&mut self) {
        if std::mem::replace(&mut self.in_commit, true) && self.damaged.is_none() {
            self.damaged = self.active.take();
        }
    }

    fn commit_all(
        &mut self,
        batch: &[&Record],
        refused: &[Refused],
    ) -> Vec<Result<Position, AppendError>> {
        // First by what applied to them.
        self.expire();
        self.enforce_retention();
        self.note_retention(batch);
        let has_refused = !refused.is_empty();
        if let Err(error) = self.prepare(batch, has_refused) {
            let (error, cause) = self.named(error);
            for record in batch {
                self.lose_next(&record.source, 1, record.payload.len() as u64, cause);
            }
            self.lose_refused(refused);
            return vec![Err(error); batch.len()];
        }
        let mut results = Vec::with_capacity(batch.len());
        let mut evicted = Vec::new();
        let planned = self.plan(batch, &mut results, &mut evicted);
        self.lose_refused(refused);
        if let Err(error) = self.write(batch, &planned) {
            // A full disk would empty the outbox otherwise: each record that it refuses would take the place of one that is there.
            self.put_back(&mut evicted, 0);
            let (error, cause) = self.named(error);
            let epoch = self.identity.epoch;
            for it in planned {
                let len = batch.get(it.at).map_or(0, |it| it.payload.len() as u64);
                let range = (it.sequence, it.sequence);
                self.index.lose(it.source, epoch, range, len, cause);
                if let Some(result) = results.get_mut(it.at) {
                    *result = Err(error.clone());
                }
            }
        }
        results
    }

    /// Makes the disk ready for a batch, before sequences are given to it: neither the state nor a new segment may say that they were.
    fn prepare(&mut self, batch: &[&Record], has_refused: bool) -> io::Result<()> {
        let comes = !batch.is_empty() || has_refused;
        if !comes && !self.has_unwritten() {
            return Ok(());
        }
        self.repair()?;
        if self.must_write_state {
            self.write_state()?;
        }
        let bytes = batch.iter().map(|record| self.bytes_of(record)).sum();
        self.reclaim(bytes)?;
        if !comes && !self.has_unwritten() {
            return Ok(());
        }
        self.roll()
    }

    /// Gives each record its sequence where there is room for it.
    fn plan(
        &mut self,
        batch: &[&Record],
        results: &mut Vec<Result<Position, AppendError>>,
        evicted: &mut Vec<Evicted>,
    ) -> Vec<Planned> {
        let (mut planned, mut bytes) = (Vec::with_capacity(batch.len()), 0);
        for (at, record) in batch.iter().enumerate() {
            let Some(source) = self.index.add(&record.source, self.limits.sources) else {
                results.push(Err(AppendError::TooManySources {
                    source_name: Arc::clone(&record.source),
                    limit: self.limits.sources,
                }));
                continue;
            };
            let size = self.bytes_of(record);
            if !self.make_room(bytes + size, planned.len() + 1, record.priority, evicted) {
                let len = record.payload.len() as u64;
                self.lose_next(&record.source, 1, len, LossCause::Evicted);
                results.push(Err(AppendError::NoRoom));
                continue;
            }
            bytes += size;
            let sequence = self.index.take(source, 1);
            planned.push(Planned {
                at,
                source,
                sequence,
            });
            results.push(Ok(Position {
                epoch: self.identity.epoch,
                sequence,
            }));
        }
        planned
    }

    fn lose_refused(&mut self, refused: &[Refused]) {
        for it in refused {
            self.lose_next(&it.source, it.count, it.bytes, it.cause);
        }
    }

    /// The next records of a source are lost.
    fn lose_next(&mut self, name: &Arc<str>, count: u64, bytes: u64, cause: LossCause) {
        let Some(source) = self.index.add(name, self.limits.sources) else {
            return;
        };
        let first = self.index.take(source, count);
        let range = (first, first + count.saturating_sub(1));
        let epoch = self.identity.epoch;
        self.index.lose(source, epoch, range, bytes, cause);
    }

    fn write(&mut self, batch: &[&Record], planned: &[Planned]) -> io::Result<()> {
        if planned.is_empty() && !self.has_unwritten() {
            return Ok(());
        }
        let started = self.age.clock().now();
        let mut buffer = Vec::with_capacity(self.buffer_bytes);
        let losses = self.put_losses(&mut buffer);
        self.put_acknowledgements(&mut buffer);
        let (age_ms, wall_ms) = (self.age.now_ms(), self.age.wall_ms());
        let mut offsets = Vec::with_capacity(planned.len());
        for it in planned {
            let Some(record) = batch.get(it.at) else {
                continue;
            };
            let start = buffer.len();
            let epoch = self.identity.epoch;
            let place = (epoch, it.sequence);
            let (kind, body) = self.bodies.body(&record.source, place, &record.payload)?;
            let frame = Frame {
                kind,
                priority: record.priority,
                epoch,
                sequence: it.sequence,
                age_ms,
                wall_ms,
                source: &record.source,
                class: &record.class,
                body: &body,
            };
            frame.write(self.identity.key, &mut buffer);
            offsets.push((it, record, start, buffer.len() - start));
        }
        if buffer.is_empty() {
            return Ok(());
        }
        self.buffer_bytes = buffer.len();
        let (segment, base) = self.append(&buffer)?;
        self.is_disk_full = false;
        self.acknowledged.clear();
        for (source, from) in losses {
            self.index.unwritten.remove(&(source, from));
            let of = self.index.source_mut(source);
            if let Some(held) = of.and_then(|of| of.losses.get_mut(&from)) {
                held.durable = true;
            }
        }
        for (it, record, start, size) in offsets {
            self.written.payload_bytes += record.payload.len() as u64;
            let live = Live {
                segment,
                offset: narrow(base + start as u64),
                size: narrow(size as u64),
                payload: narrow(record.payload.len() as u64),
                age_ms,
                priority: record.priority,
                epoch: self.identity.epoch,
            };
            self.index.insert(it.source, it.sequence, live);
        }
        if self.next_look_ms.is_none() {
            self.next_look_ms = self.next_look(age_ms);
        }
        self.written.commits += 1;
        self.written.last_commit = self.age.clock().elapsed(started);
        self.keep_reserve();
        Ok(())
    }

    /// What an error of the disk is for the callers that append, and in a loss.
    fn named(&mut self, error: io::Error) -> (AppendError, LossCause) {
        let error = AppendError::of_disk(error);
        let cause = match error {
            AppendError::DiskFull { .. } => LossCause::DiskFull,
            _ => LossCause::DiskError,
        };
        self.is_disk_full = cause == LossCause::DiskFull;
        (error, cause)
    }

    /// Appends the losses that are not durable; returns them.
    fn put_losses(&self, buffer: &mut Vec<u8>) -> Vec<(u32, u64)> {
        let unwritten: Vec<_> = self.index.unwritten.iter().copied().collect();
        for &(source, from) in &unwritten {
            let of = self.index.source(source);
            let Some(held) = of.and_then(|of| of.losses.get(&from)) else {
                continue;
            };
            let loss = &held.loss;
            let body = LossBody {
                to: loss.to,
                count: loss.count,
                bytes: loss.bytes,
                cause: loss.cause,
            };
            let (name, body) = (&*loss.source, body.to_bytes());
            let frame = self.note(Kind::Loss, loss.epoch, name, from, &body);
            frame.write(self.identity.key, buffer);
        }
        unwritten
    }

    fn put_acknowledgements(&self, buffer: &mut Vec<u8>) {
        for (&source, ranges) in &self.acknowledged {
            let Some(of) = self.index.source(source) else {
                continue;
            };
            for (from, to) in ranges.iter() {
                let body = ack_body(to);
                let frame = self.note(Kind::Ack, self.identity.epoch, &of.name, from, &body);
                frame.write(self.identity.key, buffer);
            }
        }
    }

    /// The next sequence of each source: what a later damage of earlier segments cannot hide.
    fn put_next(&self, buffer: &mut Vec<u8>) {
        for source in self.index.sources() {
            if source.next > 1 {
                let frame = self.note(
                    Kind::Next,
                    self.identity.epoch,
                    &source.name,
                    source.next,
                    &[],
                );
                frame.write(self.identity.key, buffer);
            }
        }
    }

    /// A frame about a range or a number.
    fn note<'a>(
        &self,
        kind: Kind,
        epoch: u16,
        source: &'a str,
        from: u64,
        body: &'a [u8],
    ) -> Frame<'a> {
        Frame {
            kind,
            priority: Priority::Critical,
            epoch,
            sequence: from,
            age_ms: self.age.now_ms(),
            wall_ms: self.age.wall_ms(),
            source,
            class: "",
            body,
        }
    }

    /// Appends bytes to the active segment, durably; returns its number and where they are.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<(u64, u64)> {
        let Some(active) = &mut self.active else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let done = self.disk.write(&mut active.file, bytes);
        if let Err(error) = done.and_then(|()| self.disk.sync_data(&active.file)) {
            // What a failed sync left in the file is not known. It is cut off, and the next commit begins a new segment.
            self.damaged = self.active.take();
            let _ = self.repair();
            return Err(error);
        }
        let at = active.bytes;
        active.bytes += bytes.len() as u64;
        let number = active.number;
        self.written.bytes += bytes.len() as u64;
        self.index.segments.entry(number).or_default().bytes += bytes.len() as u64;
        Ok((number, at))
    }

    /// Cuts a segment whose last write failed to what is durable.
    pub(super) fn repair(&mut self) -> io::Result<()> {
        if let Some(damaged) = &self.damaged {
            self.disk.truncate(&damaged.file, damaged.bytes)?;
            self.disk.sync_data(&damaged.file)?;
            self.damaged = None;
        }
        Ok(())
    }

    /// Begins a segment where there is none, or the last is full.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        if let Some(active) = &self.active
            && active.bytes < self.limits.segment_bytes
        {
            return Ok(());
        }
        let number = self.last_segment + 1;
        let path = segment_path(&self.folder, number);
        let header = Header {
            instance: self.identity.instance,
            epoch: self.identity.epoch,
            key: self.identity.key,
            number,
        };
        let mut bytes = header.to_bytes();
        self.put_next(&mut bytes);
        let created = self.disk.create(&path).and_then(|mut file| {
            self.disk.write(&mut file, &bytes)?;
            self.disk.sync_data(&file)?;
            self.disk.sync_folder(&self.folder)?;
            Ok(file)
        });
        let file = match created {
            Ok(file) => file,
            Err(error) => {
                // What is left is empty of records, and is written over by the next attempt.
                let _ = self.disk.remove(&path);
                return Err(error);
            }
        };
        let length = bytes.len() as u64;
        self.written.bytes += length;
        self.last_segment = number;
        self.index.segments.entry(number).or_default().bytes = length;
        self.active = Some(Active {
            number,
            file,
            bytes: length,
        });
        Ok(())
    }

    /// Bytes of a record in a segment.
    fn bytes_of(&self, record: &Record) -> u64 {
        let body = record.payload.len() + self.bodies.overhead();
        size(&record.source, &record.class, body) as u64
    }
}

/// Offsets and sizes within a segment, which is far smaller than 4 GiB.
pub(crate) fn narrow(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
