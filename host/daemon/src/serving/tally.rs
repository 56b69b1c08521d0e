//! The counts of samples. An accepted sample ends exactly once: as a result, skipped, as a drop with a reason, or as a failure with a fault.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hotshoe_egress::Egress;
use hotshoe_protocol::status::Counters;
use parking_lot::{Mutex, MutexGuard};

use crate::ending::Ending;
use crate::serving::answer::ReplyTo;
use crate::serving::observed::SampleOutcome;

/// Fault of a sample that was dropped without an end: a defect of the host.
const ABANDONED: &str = "abandoned";

/// Why an accepted sample was dropped. Each has a stable name, under which it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DropReason {
    /// A newer sample replaced it in a full queue.
    QueueFullOldest,
    /// The queue was full when it arrived.
    QueueFullNewest,
    /// The queue stayed full for `block-timeout-ms`.
    BlockTimeout,
    /// It was not finished at the deadline of the drain.
    DrainDeadline,
    /// It arrived while the daemon was stopping.
    ShuttingDown,
    /// The device has no release yet.
    NoRelease,
}

impl DropReason {
    /// The stable name, in snake case.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Why an accepted sample was left out. Each has a stable name, under which it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SkipReason {
    /// A component said so.
    Component,
    /// The rate in force leaves it out.
    Rate,
    /// It does not differ from the one before it, and the rate in force takes only what does.
    Motion,
    /// The device rests.
    Rest,
}

impl SkipReason {
    /// The stable name, in snake case.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// How a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement<'a> {
    /// It gave a result, also if a policy keeps the insight on the device.
    Result,
    /// It was left out, which is no failure.
    Skipped(SkipReason),
    /// It was dropped.
    Dropped(DropReason),
    /// It failed at a stage, by a fault with a stable name.
    Failed {
        /// The component, model or part of the daemon.
        stage: &'a str,
        /// The fault's stable name.
        fault: &'a str,
    },
}

/// Counts samples. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    counters: Arc<Mutex<Counters>>,
    misses: Arc<Misses>,
}

/// Samples on which a component failed in these ways, also where a policy that failed was tolerated.
#[derive(Debug, Default)]
struct Misses {
    deadline: AtomicU64,
    trap: AtomicU64,
}

/// An accepted sample, which is settled exactly once, with the destination of its answer.
#[derive(Debug)]
pub struct Ticket {
    tally: Tally,
    is_settled: AtomicBool,
    reply: Arc<Mutex<Option<ReplyTo>>>,
}

/// The answer to a sample, which is sent once.
#[derive(Debug)]
pub struct Reply(Arc<Mutex<Option<ReplyTo>>>);

impl Reply {
    /// As [`ReplyTo::send`]. Nothing if the sample was answered.
    pub fn send(self, ending: Ending, body: impl FnOnce() -> Egress) {
        let to = self.0.lock().take();
        if let Some(to) = to {
            to.send(ending, body);
        }
    }
}

impl Tally {
    /// Counts an accepted sample.
    pub fn accept(&self, answer: ReplyTo) -> Ticket {
        let mut counters = self.lock();
        counters.accepted += 1;
        counters.in_flight += 1;
        drop(counters);
        metrics::counter!("hotshoe_samples_accepted_total").increment(1);
        Ticket {
            tally: self.clone(),
            is_settled: AtomicBool::default(),
            reply: Arc::new(Mutex::new(Some(answer))),
        }
    }

    /// Counts a tolerated failure.
    pub fn tolerated(&self, stage: &str) {
        count(&mut self.lock().tolerated, stage);
        metrics::counter!("hotshoe_tolerated_total", "stage" => stage.to_owned()).increment(1);
    }

    /// Counts a missed deadline or a trap.
    pub fn observed(&self, outcome: SampleOutcome) {
        let count = match outcome {
            SampleOutcome::Success | SampleOutcome::Error => return,
            SampleOutcome::Deadline => &self.misses.deadline,
            SampleOutcome::Trap => &self.misses.trap,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Samples on which a component missed its deadline, and those on which one trapped.
    pub fn misses(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.misses.deadline), read(&self.misses.trap))
    }

    /// Counts a message that could not be published.
    pub fn unpublished(&self) {
        self.lock().unpublished += 1;
        metrics::counter!("hotshoe_unpublished_total").increment(1);
    }

    /// All counts, consistent with each other.
    pub fn snapshot(&self) -> Counters {
        self.lock().clone()
    }

    fn settle(&self, settlement: Settlement<'_>) {
        let mut counters = self.lock();
        counters.in_flight = counters.in_flight.saturating_sub(1);
        match settlement {
            Settlement::Result => counters.results += 1,
            Settlement::Skipped(reason) => {
                counters.skipped += 1;
                count(&mut counters.skipped_by, reason.name());
            }
            Settlement::Dropped(reason) => count(&mut counters.dropped, reason.name()),
            Settlement::Failed { stage, fault } => {
                counters.failed += 1;
                count(&mut counters.faults, fault);
                count(&mut counters.failed_at, stage);
            }
        }
        drop(counters);
        observe(settlement);
    }

    fn lock(&self) -> MutexGuard<'_, Counters> {
        self.counters.lock()
    }
}

fn count(counters: &mut BTreeMap<String, u64>, name: &str) {
    if let Some(value) = counters.get_mut(name) {
        *value += 1;
    } else {
        counters.insert(name.to_owned(), 1);
    }
}

fn observe(settlement: Settlement<'_>) {
    match settlement {
        Settlement::Result => metrics::counter!("hotshoe_results_total").increment(1),
        Settlement::Skipped(reason) => {
            metrics::counter!("hotshoe_skipped_total", "reason" => reason.name()).increment(1);
        }
        Settlement::Dropped(reason) => {
            metrics::counter!("hotshoe_dropped_total", "reason" => reason.name()).increment(1);
        }
        Settlement::Failed { stage, fault } => {
            metrics::counter!("hotshoe_failed_total", "fault" => fault.to_owned(), "stage" => stage.to_owned())
                .increment(1);
        }
    }
}

impl Ticket {
    /// Records that a worker begins with the sample.
    pub fn begin(&self) {
        let mut reply = self.reply.lock();
        if let Some(ReplyTo::File(file)) = reply.as_mut() {
            file.begin();
        }
    }

    /// Settles the sample. Only the first call counts, and returns its answer. After a later call, which returns `None`, nothing may be
    /// published.
    pub fn settle(&self, settlement: Settlement<'_>) -> Option<Reply> {
        if self.is_settled.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.tally.settle(settlement);
        Some(self.reply())
    }

    /// The answer of a sample that is settled, for the case that the thread which settled it does not come to send it.
    pub(crate) fn reply(&self) -> Reply {
        Reply(Arc::clone(&self.reply))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let abandoned = Settlement::Failed {
            stage: "service",
            fault: ABANDONED,
        };
        if self.settle(abandoned).is_some() {
            tracing::error!("a sample was abandoned; please report it");
        }
    }
}
