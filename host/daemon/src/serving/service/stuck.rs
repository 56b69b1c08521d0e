//! Workers that do not come back from a sample: code of the host or of a library that hangs, which no deadline ends.
//!
//! The sample fails, and another thread takes the place of the worker. The thread itself cannot be ended: it keeps its memory until it comes
//! back. So there are at most [`MAX_STUCK`] of them; with one more, the daemon drains and ends, and the service manager starts it again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use hotshoe_base::{Clock, micros};
use hotshoe_protocol::event::{EventCause, KnownKind, Subject};

use super::Service;
use super::worker_slot::{Running, Seat};
use crate::serving::SampleOutcome;

/// Most stuck threads that are replaced.
pub(crate) const MAX_STUCK: usize = 2;
/// Fault of a sample that a worker does not come back from.
const WORKER_STUCK: &str = "worker_stuck";
/// The part that has the workers.
const WORKER: &str = "worker";

/// What is known of the samples that the workers process, from one check to the next.
#[derive(Debug)]
pub(crate) struct WorkerWatch {
    clock: Clock,
    last: Instant,
    seen: Vec<Seen>,
    stuck_after: Duration,
}

/// The job that was in a slot at the last check.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    thread: u64,
    taken: u64,
    /// For how long, by the checks.
    age: Duration,
}

impl WorkerWatch {
    pub(crate) fn new(clock: Clock, workers: usize, stuck_after: Duration) -> Self {
        Self {
            last: clock.now(),
            clock,
            seen: vec![Seen::default(); workers],
            stuck_after,
        }
    }
}

impl Service {
    /// Fails the samples that workers do not come back from, and replaces their threads. `most` is the longest time since the last check
    /// that counts: while the process or the machine stood still, so did its workers.
    pub(crate) fn replace_stuck(self: &Arc<Self>, watch: &mut WorkerWatch, most: Duration) {
        let now = watch.clock.now();
        let passed = now.saturating_duration_since(watch.last).min(most);
        watch.last = now;
        for (number, seen) in watch.seen.iter_mut().enumerate() {
            let Some(stuck) = self.check_slot(number, seen, passed, watch.stuck_after) else {
                continue;
            };
            self.replace(number, stuck, seen.age);
        }
    }

    /// Stuck threads that have not come back.
    pub(crate) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }

    /// Takes the job out of a slot whose worker is stuck.
    fn check_slot(
        &self,
        number: usize,
        seen: &mut Seen,
        passed: Duration,
        stuck_after: Duration,
    ) -> Option<Running> {
        let mut slot = self.worker_slots.get(number)?.lock();
        let running = slot.running.as_ref()?;
        if (seen.thread, seen.taken) != (slot.thread, slot.taken) {
            *seen = Seen {
                thread: slot.thread,
                taken: slot.taken,
                age: Duration::ZERO,
            };
            return None;
        }
        seen.age += passed;
        let limits = running.served.as_ref().map_or(Duration::ZERO, |it| it.1);
        if seen.age <= limits + stuck_after {
            return None;
        }
        // From here on, the slot is not that of the stuck thread.
        slot.thread += 1;
        slot.handle = None;
        slot.running.take()
    }

    fn replace(self: &Arc<Self>, number: usize, stuck: Running, age: Duration) {
        let Running { job, served } = stuck;
        let served = served.map(|(served, _)| served);
        let threads = self.stuck.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::counter!("hotshoe_stuck_workers_total").increment(1);
        metrics::gauge!("hotshoe_stuck_workers").increment(1.0);
        let seconds = age.as_secs();
        let message = format!("the worker did not come back from this sample within {seconds} s");
        self.published_status.events().record(
            KnownKind::WorkerStuck,
            Subject::Thread {
                name: format!("{WORKER}-{number}"),
            },
            Some(EventCause::new(WORKER_STUCK, &message)),
            &[
                ("id", job.sample.id.as_str().into()),
                ("source", job.sample.source.as_str().into()),
                ("stuck", threads.into()),
            ],
        );
        // A trial is judged by it, as by a trap.
        if let Some(served) = &served {
            self.observe(
                served,
                &self.in_force.load(),
                SampleOutcome::Trap,
                micros(age),
            );
        }
        self.fail_stuck(&job, served.as_deref(), WORKER_STUCK, &message);
        let started = if threads > MAX_STUCK {
            Err(format!("{threads} workers are stuck"))
        } else {
            self.start_worker(number)
                .map_err(|error| format!("a stuck worker cannot be replaced: {error}"))
        };
        if let Err(cause) = started {
            self.worker_ended(number);
            self.link.parts().give_up(WORKER, &cause);
        }
        // Other samples of its source need not wait for it any more.
        self.queue.notify_ready();
    }

    /// Counts a stuck thread that has come back, and ends.
    pub(super) fn came_back(&self, seat: Seat) {
        self.stuck.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("hotshoe_stuck_workers").decrement(1.0);
        let Seat { slot, thread } = seat;
        tracing::warn!(
            slot,
            thread,
            "a stuck worker came back, and ends: another one has its place"
        );
    }
}
