//! The start and the end of the worker threads.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_protocol::status::Counters;
use serde::Serialize;

use super::Service;
use super::worker_slot::{Running, Seat};
use crate::serving::tally::DropReason;

/// The worker threads.
#[derive(Debug)]
pub struct WorkerPool {
    ended: Receiver<()>,
}

/// Reports the end of a worker thread on drop.
struct ExitSignal {
    service: Arc<Service>,
    seat: Seat,
}

impl Drop for ExitSignal {
    fn drop(&mut self) {
        if self.service.slot_of(self.seat).is_some() {
            self.service.worker_ended(self.seat.slot);
        }
    }
}

/// How the service ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrainReport {
    /// Whether every sample was finished in time.
    pub finished: bool,
    /// Samples that were dropped at the deadline.
    pub dropped: u64,
    /// The final counts.
    pub counters: Counters,
}

impl Service {
    /// Starts the worker threads.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn spawn_workers(self: &Arc<Self>) -> io::Result<WorkerPool> {
        let (sender, ended) = channel();
        *self.worker_ends.lock() = Some(sender);
        for slot in 0..self.worker_slots.len() {
            if let Err(error) = self.start_worker(slot) {
                self.queue.close();
                return Err(error);
            }
        }
        Ok(WorkerPool { ended })
    }

    /// Starts a thread for the worker of a slot, which has no other one.
    pub(super) fn start_worker(self: &Arc<Self>, slot: usize) -> io::Result<()> {
        let Some(place) = self.worker_slots.get(slot) else {
            return Ok(());
        };
        let thread = place.lock().thread;
        let seat = Seat { slot, thread };
        let service = Arc::clone(self);
        let exit_signal = ExitSignal {
            service: Arc::clone(self),
            seat,
        };
        let work = move || {
            // Moved into the closure, so that it is dropped with the thread and not with a panic.
            let _ = &exit_signal;
            service.work(seat);
            Ok(())
        };
        let supervisor = self.link.parts();
        let handle = supervisor.restarted(&format!("worker-{slot}"), work)?;
        if let Some(mut slot) = self.slot_of(seat) {
            slot.handle = Some(handle);
        }
        Ok(())
    }

    /// Records that the last thread of a slot has ended.
    pub(super) fn worker_ended(&self, slot: usize) {
        if let Some(slot) = self.worker_slots.get(slot) {
            slot.lock().has_ended = true;
        }
        if let Some(ends) = &*self.worker_ends.lock() {
            // The receiver is gone after the deadline.
            let _ = ends.send(());
        }
    }

    fn have_workers_ended(&self) -> bool {
        self.worker_slots.iter().all(|slot| slot.lock().has_ended)
    }

    /// Closes the queue.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Finishes the accepted samples, and drops those that are not finished at the deadline as `drain_deadline`.
    pub fn drain(&self, workers: WorkerPool, deadline: Duration) -> DrainReport {
        let until = self.clock.deadline(deadline);
        self.close();
        let mut finished = self.have_workers_ended();
        while !finished && self.clock.recv_until(&workers.ended, until).is_ok() {
            finished = self.have_workers_ended();
        }
        let mut dropped = 0;
        for job in self.queue.take_all() {
            dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
        }
        if finished {
            for slot in &self.worker_slots {
                let thread = slot.lock().handle.take();
                let _ = thread.map(JoinHandle::join);
            }
        } else {
            dropped += self.drop_running();
        }
        DrainReport {
            finished,
            dropped,
            counters: self.tally.snapshot(),
        }
    }

    /// Drops the jobs that workers are processing. Their results are not published.
    fn drop_running(&self) -> u64 {
        let mut dropped = 0;
        for slot in &self.worker_slots {
            let running = slot.lock().running.take();
            if let Some(Running { job, .. }) = running {
                dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
            }
        }
        dropped
    }
}
