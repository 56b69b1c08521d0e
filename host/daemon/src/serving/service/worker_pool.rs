//! The start and the end of the worker threads.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_protocol::status::Counters;
use serde::Serialize;

use super::Service;
use crate::serving::tally::DropReason;

/// The worker threads.
#[derive(Debug)]
pub struct WorkerPool {
    threads: Vec<JoinHandle<()>>,
    finished: Receiver<()>,
}

/// Reports the end of a worker thread on drop.
struct ExitSignal(Sender<()>);

impl Drop for ExitSignal {
    fn drop(&mut self) {
        // The receiver is gone after the deadline.
        let _ = self.0.send(());
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
        let (sender, finished) = channel();
        let mut threads = Vec::with_capacity(self.worker_slots.len());
        for slot in 0..self.worker_slots.len() {
            let service = Arc::clone(self);
            let exit_signal = ExitSignal(sender.clone());
            let work = move || {
                // Moved into the closure, so that it is dropped with the thread and not with a panic.
                let _ = &exit_signal;
                service.work(slot);
                Ok(())
            };
            let supervisor = self.link.parts();
            match supervisor.restarted(&format!("worker-{slot}"), work) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.queue.close();
                    return Err(error);
                }
            }
        }
        Ok(WorkerPool { threads, finished })
    }

    /// Closes the queue.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Finishes the accepted samples, and drops those that are not finished at the deadline as `drain_deadline`.
    pub fn drain(&self, workers: WorkerPool, deadline: Duration) -> DrainReport {
        let until = self.clock.deadline(deadline);
        self.close();
        let finished = workers
            .threads
            .iter()
            .all(|_| self.clock.recv_until(&workers.finished, until).is_ok());
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

    /// Drops the jobs that workers are processing. Their results are not published.
    fn drop_running(&self) -> u64 {
        let mut dropped = 0;
        for slot in &self.worker_slots {
            let job = slot.lock().take();
            if let Some(job) = job {
                dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
            }
        }
        dropped
    }
}
