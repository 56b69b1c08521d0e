//! The outbox as its users see it: a queue of records, the thread that commits them, and what is to be sent.

mod queue;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_base::disk::Disk;
use hotshoe_base::supervisor::Supervisor;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{AcknowledgeError, AppendError, DrainError, OpenError};
use crate::host::Host;
use crate::limits::{Limits, MAX_CLASS_BYTES, MAX_SOURCE_BYTES};
use crate::log::Log;
use crate::record::{Item, LossCause, Position, Record};
use crate::recovery::{self, Recovery};

use queue::{Batch, Entry, Group, Queue};

/// Pause before what a disk refused is written again, if nothing comes meanwhile.
const RETRY: Duration = Duration::from_secs(10);

/// How an outbox is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder.
    pub folder: PathBuf,
    /// Its bounds.
    pub limits: Limits,
    /// The disk.
    pub disk: Disk,
    /// What starts its thread, and has its clock.
    pub supervisor: Supervisor,
    /// This machine.
    pub host: Host,
}

impl Options {
    /// An outbox in `folder` with the default limits, on this machine.
    pub fn new(folder: impl Into<PathBuf>, disk: Disk, supervisor: &Supervisor) -> Self {
        Self {
            folder: folder.into(),
            limits: Limits::default(),
            disk,
            supervisor: supervisor.clone(),
            host: Host::here(),
        }
    }
}

/// The durable log of what must arrive. Clones share it; the last one that is dropped ends its thread, which first writes what waits.
#[derive(Debug, Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
    _end: Arc<CloseOnDrop>,
}

/// A promise for records that were offered.
#[derive(Debug, Clone)]
pub struct Ticket {
    shared: Arc<Shared>,
    group: Arc<Group>,
}

/// What an outbox has, and has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// The outbox.
    pub instance: u128,
    /// Its epoch.
    pub epoch: u16,
    /// Undelivered records.
    pub records: usize,
    /// Their bytes on the disk.
    pub bytes: u64,
    /// Losses that were not acknowledged.
    pub losses: usize,
    /// Bytes of all segments.
    pub disk_bytes: u64,
    /// Segments.
    pub segments: usize,
    /// Age of the oldest undelivered record.
    pub oldest: Option<Duration>,
    /// Records that were lost, by cause.
    pub lost: BTreeMap<LossCause, u64>,
    /// Records that were refused for their size or names.
    pub rejected: u64,
    /// Bytes of accepted payloads.
    pub payload_bytes: u64,
    /// Bytes that were written to the disk.
    pub written_bytes: u64,
    /// Commits: each has one sync.
    pub commits: u64,
    /// How long the last commit took.
    pub last_commit: Duration,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    limits: Limits,
    queue: Mutex<Queue>,
    /// The thread has something to do.
    work: Condvar,
    /// The queue has room, or is closed.
    room: Condvar,
    log: Mutex<Log>,
    /// Whether there is something to send.
    ready: Mutex<bool>,
    became_ready: Condvar,
}

#[derive(Debug)]
struct CloseOnDrop(Arc<Shared>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Outbox {
    /// Opens the outbox in a folder, which is created where it is missing, and says what was found.
    ///
    /// # Errors
    /// [`OpenError`]. A full or read-only disk is none where the folder exists: what is there is sent.
    pub fn open(options: Options) -> Result<(Self, Recovery), OpenError> {
        let limits = options.limits.fitted();
        let clock = options.supervisor.clock().clone();
        let (log, recovery) = recovery::open(
            &options.folder,
            limits.clone(),
            options.disk,
            clock.clone(),
            options.host,
        )?;
        let shared = Arc::new(Shared {
            clock,
            limits,
            queue: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            ready: Mutex::default(),
            became_ready: Condvar::new(),
            log: Mutex::new(log),
        });
        shared.note_changes(&shared.log.lock());
        let of_thread = Arc::clone(&shared);
        options
            .supervisor
            .restarted("outbox", move || {
                of_thread.run();
                Ok(())
            })
            .map_err(|source| OpenError::Thread { source })?;
        let outbox = Self {
            _end: Arc::new(CloseOnDrop(Arc::clone(&shared))),
            shared,
        };
        Ok((outbox, recovery))
    }

    /// Appends records, and waits until all of them are durable. Waits for room in the queue, too.
    ///
    /// # Errors
    /// [`AppendError`] of the first record that was not accepted; the others may have been.
    pub fn append(
        &self,
        records: Vec<Record>,
        until: Instant,
    ) -> Result<Vec<Position>, AppendError> {
        self.shared.check(&records)?;
        let group = self.shared.put_waiting(records, until)?;
        self.shared.outcome(&group, until)
    }

    /// Offers a record, without waiting. It is durable when [`Ticket::wait`] says so.
    ///
    /// # Errors
    /// [`AppendError::QueueFull`], with a loss that names the record, [`AppendError::TooLarge`], [`AppendError::BadName`] and
    /// [`AppendError::Closed`].
    pub fn offer(&self, record: Record) -> Result<Ticket, AppendError> {
        let records = vec![record];
        self.shared.check(&records)?;
        let group = self.shared.put(records)?;
        Ok(Ticket {
            shared: Arc::clone(&self.shared),
            group,
        })
    }

    /// What is to be sent first: losses, then records by priority, each source in its order. Nothing is removed, so the next batch is the
    /// same until ranges are acknowledged. One record is returned even if it is larger than `max_bytes` of payload.
    ///
    /// # Errors
    /// [`DrainError`]. A damaged record is no error: it becomes a loss.
    pub fn next_batch(
        &self,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Item>, DrainError> {
        let mut log = self.shared.log.lock();
        let items = log.next_batch(max_records, max_bytes);
        self.shared.after_change(log);
        items
    }

    /// Takes ranges (first and last sequence) of a source out of what is to be sent. A later commit makes that durable: until then, a
    /// restart sends them again.
    ///
    /// # Errors
    /// [`AcknowledgeError`]; nothing is acknowledged then.
    pub fn acknowledge(&self, source: &str, ranges: &[(u64, u64)]) -> Result<(), AcknowledgeError> {
        let mut log = self.shared.log.lock();
        let done = log.acknowledge(source, ranges);
        self.shared.after_change(log);
        done
    }

    /// Waits until there is something to send: false if there is not at `until`, or the outbox was closed.
    pub fn wait(&self, until: Instant) -> bool {
        let shared = &self.shared;
        let mut ready = shared.ready.lock();
        while !*ready && shared.clock.now() < until && !shared.queue.lock().closed {
            shared
                .clock
                .wait_until(&shared.became_ready, &mut ready, until);
        }
        *ready
    }

    /// What it has, and has done. Waits for a commit that runs.
    pub fn stats(&self) -> Stats {
        let log = self.shared.log.lock();
        let oldest = log.index.oldest_ms();
        let sources = log.index.sources().iter();
        Stats {
            instance: log.identity.instance,
            epoch: log.identity.epoch,
            records: log.index.live_records,
            bytes: log.index.live_bytes,
            losses: sources.map(|source| source.losses.len()).sum(),
            disk_bytes: log.index.bytes(),
            segments: log.index.segments.len(),
            oldest: oldest.map(|at| Duration::from_millis(log.age.now_ms().saturating_sub(at))),
            lost: log.index.lost.clone(),
            rejected: self.shared.queue.lock().rejected,
            payload_bytes: log.written.payload_bytes,
            written_bytes: log.written.bytes,
            commits: log.written.commits,
            last_commit: log.written.last_commit,
        }
    }

    /// Refuses further records, and waits until what was accepted is written or the time is over: false in the second case.
    pub fn close(&self, until: Instant) -> bool {
        let shared = &self.shared;
        shared.close();
        let mut queue = shared.queue.lock();
        while !queue.ended && shared.clock.now() < until {
            shared.clock.wait_until(&shared.room, &mut queue, until);
        }
        queue.ended
    }
}

impl Ticket {
    /// Waits until the record is durable.
    ///
    /// # Errors
    /// [`AppendError::Late`] at `until`; why it was not accepted.
    pub fn wait(&self, until: Instant) -> Result<Position, AppendError> {
        self.shared.announce_waiter();
        let positions = self.shared.outcome(&self.group, until)?;
        positions.first().copied().ok_or(AppendError::Closed)
    }
}

impl Shared {
    fn check(&self, records: &[Record]) -> Result<(), AppendError> {
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
    fn put(&self, records: Vec<Record>) -> Result<Arc<Group>, AppendError> {
        let mut queue = self.queue.lock();
        if queue.closed {
            return Err(AppendError::Closed);
        }
        if !queue.has_room(&records, self.limits.queue_bytes) {
            queue.refuse(&records, self.limits.sources);
            return Err(AppendError::QueueFull {
                waiting: queue.bytes,
                limit: self.limits.queue_bytes,
            });
        }
        Ok(self.push(queue, records))
    }

    /// Queues records for a caller that waits for them.
    fn put_waiting(&self, records: Vec<Record>, until: Instant) -> Result<Arc<Group>, AppendError> {
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
    fn announce_waiter(&self) {
        let mut queue = self.queue.lock();
        queue.waiters += 1;
        let is_due = queue.is_due(self.limits.commit_bytes);
        drop(queue);
        if is_due {
            self.work.notify_one();
        }
    }

    fn outcome(&self, group: &Group, until: Instant) -> Result<Vec<Position>, AppendError> {
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

    fn close(&self) {
        self.queue.lock().closed = true;
        self.work.notify_one();
        self.room.notify_all();
        // A caller of `wait` may have just seen that the outbox is open, and holds this lock until it waits.
        drop(self.ready.lock());
        self.became_ready.notify_all();
    }

    /// The thread: commits until the outbox is closed and nothing waits.
    fn run(&self) {
        while let Some(batch) = self.collect() {
            let mut log = self.log.lock();
            let records: Vec<&Record> = batch.records().collect();
            let results = log.commit(&records, &batch.refused);
            self.note_changes(&log);
            drop(log);
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
    fn after_change(&self, log: MutexGuard<'_, Log>) {
        self.note_changes(&log);
        let has_unwritten = log.has_unwritten();
        drop(log);
        if has_unwritten {
            self.queue.lock().wanted = true;
            self.work.notify_one();
        }
    }

    /// Wakes who waits for something to send, and sets when the thread looks again by itself.
    fn note_changes(&self, log: &Log) {
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
