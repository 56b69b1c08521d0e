//! The worker threads: how they begin, and how they end.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hotshoe_protocol::status::Counters;
use serde::Serialize;

use super::Service;
use crate::tally::DropReason;

/// The worker threads.
#[derive(Debug)]
pub struct WorkerPool {
    threads: Vec<JoinHandle<()>>,
    finished: Receiver<()>,
}

/// Tells that a worker ended, however it ended.
struct ExitSignal(Sender<()>);

impl Drop for ExitSignal {
    fn drop(&mut self) {
        // Nobody listens after the deadline.
        let _ = self.0.send(());
    }
}

/// How the service ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrainReport {
    /// Whether every sample was finished in time.
    pub finished: bool,
    /// Samples that were dropped because the time was over.
    pub dropped: u64,
    /// All counts at the end; nothing is in flight.
    pub counters: Counters,
}

impl Service {
    /// Starts the worker threads.
    ///
    /// # Errors
    /// Where the machine has no thread left.
    pub fn spawn_workers(self: &Arc<Self>) -> io::Result<WorkerPool> {
        let (sender, finished) = channel();
        let mut threads = Vec::with_capacity(self.worker_slots.len());
        for slot in 0..self.worker_slots.len() {
            let service = Arc::clone(self);
            let exit_signal = ExitSignal(sender.clone());
            let work = move || {
                // Here, so that it goes with the thread and not with a panic.
                let _ = &exit_signal;
                service.work(slot);
                Ok(())
            };
            let parts = self.link.parts();
            match parts.restarted(&format!("worker-{slot}"), work) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.queue.close();
                    return Err(error);
                }
            }
        }
        Ok(WorkerPool { threads, finished })
    }

    /// Takes no more samples.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Finishes what was accepted, and drops by name what is not finished when the time is over.
    pub fn drain(&self, workers: WorkerPool, deadline: Duration) -> DrainReport {
        let started = Instant::now();
        self.close();
        let finished = workers.threads.iter().all(|_| {
            let left = deadline.saturating_sub(started.elapsed());
            workers.finished.recv_timeout(left).is_ok()
        });
        let mut dropped = 0;
        for job in self.queue.take_all() {
            dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
        }
        if finished {
            for thread in workers.threads {
                let _ = thread.join();
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

    /// Drops what workers are still busy with; what they make of it is not published.
    fn drop_running(&self) -> u64 {
        let mut dropped = 0;
        for slot in &self.worker_slots {
            let job = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(job) = job {
                dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
            }
        }
        dropped
    }
}
