//! The queue, the log and the thread that takes from one to the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::AppendError;
use crate::limits::{Limits, MAX_CLASS_BYTES, MAX_SOURCE_BYTES};
use crate::log::Log;
use crate::record::{LossCause, Position, Record};

use super::queue::{Batch, Entry, Group, Queue};

/// Pause before what a disk refused is written again, if nothing comes meanwhile.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) limits: Limits,
    pub(super) queue: Mutex<Queue>,
    /// The thread has something to do.
    pub(super) work: Condvar,
    /// The queue has room, or is closed.
    pub(super) room: Condvar,
    pub(super) log: Mutex<Log>,
    /// Whether there is something to send.
    pub(super) ready: Mutex<bool>,
    pub(super) became_ready: Condvar,
}

impl Shared {
    pub(super) fn check(&self, records: &[Record]) -> Result<(), AppendError> {
        let checked = records.iter().try_for_each(|record| {
            let (source, class) = (&record.source, &record.class);
            if source.is_empty() || source.len() > MAX_SOURCE_BYTES {
                let name = Arc::clone(source);
                return Err(AppendError::BadName { name });
            }
            if class.len() > MAX_CLASS_BYTES {
                let name = Arc::clone(class);
                return Err(AppendError::BadName { name });
            }
            let (bytes, limit) = (record.payload.len(), self.limits.payload_bytes);
            if bytes > limit {
                return Err(AppendError::TooLarge { bytes, limit });
            }
            Ok(())
        });
        if checked.is_err() {
            self.queue.lock().rejected += records.len() as u64;
        }
        checked
    }

    /// Queues records without waiting. Where there is no room, they become a loss.
    pub(super) fn put(&self, records: Vec<Record>) -> Result<Arc<Group>, AppendError> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(AppendError::Closed);
        }
        if !queue.has_room(&records, self.limits.queue_bytes) {
            queue.refuse(&records, LossCause::QueueFull, self.limits.sources);
            return Err(AppendError::QueueFull {
                waiting: queue.bytes,
                limit: self.limits.queue_bytes,
            });
        }
        Ok(self.push(queue, records))
    }

    /// Names records as lost that are too large for the log.
    pub(super) fn lose_too_large(&self, records: &[Record]) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return;
        }
        queue.refuse(records, LossCause::TooLarge, self.limits.sources);
        drop(queue);
        self.work.notify_one();
    }

    /// Queues records for a caller that waits for them.
    pub(super) fn put_waiting(
        &self,
        records: Vec<Record>,
        until: Instant,
    ) -> Result<Arc<Group>, AppendError> {
        let mut queue = self.queue.lock();
        loop {
            if queue.closed {
                return Err(AppendError::Closed);
            }
            if queue.has_room(&records, self.limits.queue_bytes) {
                queue.waiters += 1;
                return Ok(self.push(queue, records));
            }
            if self.clock.now() >= until {
                return Err(AppendError::QueueFull {
                    waiting: queue.bytes,
                    limit: self.limits.queue_bytes,
                });
            }
            self.clock.wait_until(&self.room, &mut queue, until);
        }
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue>, records: Vec<Record>) -> Arc<Group> {
        let was_idle = !queue.has_work();
        let group = queue.push(records);
        let is_due = was_idle || queue.is_due(self.limits.commit_bytes);
        drop(queue);
        if is_due {
            self.work.notify_one();
        }
        group
    }

    /// Tells the thread that a caller waits.
    pub(super) fn announce_waiter(&self) {
        let mut queue = self.queue.lock();
        queue.waiters += 1;
        let is_due = queue.is_due(self.limits.commit_bytes);
        drop(queue);
        if is_due {
            self.work.notify_one();
        }
    }

    pub(super) fn outcome(
        &self,
        group: &Group,
        until: Instant,
    ) -> Result<Vec<Position>, AppendError> {
        let mut outcome = group.outcome.lock();
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            if self.clock.now() >= until {
                return Err(AppendError::Late);
            }
            self.clock.wait_until(&group.done, &mut outcome, until);
        }
    }

    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
        self.work.notify_one();
        self.room.notify_all();
        // A caller of `wait` may have just seen that the outbox is open, and holds this lock until it waits.
        drop(self.ready.lock());
        self.became_ready.notify_all();
    }

    /// The thread: commits until the outbox is closed and nothing waits.
    pub(super) fn run(&self) {
        while let Some(batch) = self.collect() {
            let mut log = self.log.lock();
            let records: Vec<&Record> = batch.records().collect();
            let results = log.commit(&records, &batch.refused);
            self.note_changes(&log);
            drop(log);
            // Those of a source that the log does not know have no loss.
            let is_rejected = |it: &&Result<Position, AppendError>| {
                matches!(it, Err(AppendError::TooManySources { .. }))
            };
            let rejected = results.iter().filter(is_rejected).count() as u64;
            if rejected > 0 {
                self.queue.lock().rejected += rejected;
            }
            let mut results = results.into_iter();
            for entry in batch.entries {
                let of_entry = results.by_ref().take(entry.records.len());
                entry.group.complete(of_entry.collect());
            }
        }
        self.queue.lock().ended = true;
        self.room.notify_all();
    }

    /// Waits for the next batch; none once the outbox is closed.
    fn collect(&self) -> Option<Batch> {
        let mut queue = self.queue.lock();
        while !queue.has_work() {
            if queue.closed {
                return None;
            }
            match queue.next {
                Some(next) if self.clock.now() >= next => break,
                Some(next) => self.clock.wait_until(&self.work, &mut queue, next),
                None => self.work.wait(&mut queue),
            }
        }
        let end = self.clock.deadline(self.limits.commit_window);
        while !queue.closed && !queue.is_due(self.limits.commit_bytes) && self.clock.now() < end {
            self.clock.wait_until(&self.work, &mut queue, end);
        }
        let batch = queue.take(self.limits.commit_bytes);
        drop(queue);
        self.room.notify_all();
        Some(batch)
    }

    /// Releases the log after a change that no commit made, and lets the thread write what that leaves to be written.
    pub(super) fn after_change(&self, log: MutexGuard<'_, Log>) {
        self.note_changes(&log);
        let has_unwritten = log.has_unwritten();
        drop(log);
        if has_unwritten {
            self.queue.lock().wanted = true;
            self.work.notify_one();
        }
    }

    /// Wakes the callers that wait for something to send, and sets when the thread looks again by itself.
    pub(super) fn note_changes(&self, log: &Log) {
        let mut next = log.next_expiry();
        if log.has_unwritten() {
            let retry = self.clock.deadline(RETRY);
            next = Some(next.map_or(retry, |next| next.min(retry)));
        }
        self.queue.lock().next = next;
        let mut ready = self.ready.lock();
        let was_ready = std::mem::replace(&mut *ready, log.has_items());
        if *ready && !was_ready {
            self.became_ready.notify_all();
        }
    }
}

impl Batch {
    fn records(&self) -> impl Iterator<Item = &Record> {
        self.entries.iter().flat_map(|entry: &Entry| &entry.records)
    }
}
