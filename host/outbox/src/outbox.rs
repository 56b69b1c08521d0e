//! The outbox as its users see it: a queue of records, the thread that commits them, and what is to be sent.

mod queue;
mod shared;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::disk::Disk;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_sealing::AtRest;
use parking_lot::{Condvar, Mutex};

use crate::error::{AcknowledgeError, AppendError, DrainError, EraseError, OpenError};
use crate::host::Host;
use crate::limits::Limits;
use crate::log::{Erased, SourceStats};
use crate::record::{Item, LossCause, Position, Record};
use crate::recovery::{self, Recovery};

use queue::Group;
use shared::Shared;

/// How an outbox is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its folder.
    pub folder: PathBuf,
    /// Its bounds.
    pub limits: Limits,
    /// The disk.
    pub disk: Disk,
    /// Whether records are sealed.
    pub at_rest: AtRest,
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
            at_rest: AtRest::plain(),
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
    /// Records that were refused for their size or names, or as those of one source too many.
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
    /// [`OpenError`]. Not for a full or read-only disk where the folder exists: what is there is sent.
    pub fn open(options: Options) -> Result<(Self, Recovery), OpenError> {
        let limits = options.limits.fitted();
        let clock = options.supervisor.clock().clone();
        let (log, recovery) = recovery::open(
            &options.folder,
            limits,
            (options.disk, &options.at_rest),
            clock.clone(),
            options.host,
        )?;
        let shared = Arc::new(Shared {
            clock,
            limits: log.limits.clone(),
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
    /// [`AppendError::QueueFull`] and [`AppendError::TooLarge`], with a loss that names the record, [`AppendError::BadName`] and
    /// [`AppendError::Closed`].
    pub fn offer(&self, record: Record) -> Result<Ticket, AppendError> {
        let records = vec![record];
        self.shared.check(&records).inspect_err(|error| {
            if matches!(error, AppendError::TooLarge { .. }) {
                self.shared.lose_too_large(&records);
            }
        })?;
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
    /// [`DrainError`]. A damaged record is not one: it becomes a loss.
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

    /// Loses a record that is too large for every outlet, so that it does not hold up those behind it. The loss is delivered. Nothing changes if
    /// the record is not there any more.
    ///
    /// # Errors
    /// [`AcknowledgeError::UnknownSource`].
    pub fn give_up(&self, source: &str, sequence: u64) -> Result<(), AcknowledgeError> {
        let mut log = self.shared.log.lock();
        let done = log.give_up(source, sequence);
        self.shared.after_change(log);
        done
    }

    /// Loses all undelivered records of a source, and removes the bytes of all that were ever accepted before the call. The loss is delivered.
    ///
    /// # Errors
    /// [`EraseError`].
    pub fn erase(&self, source: &str) -> Result<Erased, EraseError> {
        let mut log = self.shared.log.lock();
        let erased = log.erase(source);
        self.shared.after_change(log);
        erased
    }

    /// What there is of each source, by name. Waits for a commit that runs.
    pub fn sources(&self) -> Vec<SourceStats> {
        self.shared.log.lock().sources()
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
