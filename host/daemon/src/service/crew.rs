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
pub struct Crew {
    threads: Vec<JoinHandle<()>>,
    finished: Receiver<()>,
}

/// Tells that a worker ended, however it ended.
struct Leaving(Sender<()>);

impl Drop for Leaving {
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
    pub fn hire(self: &Arc<Self>) -> io::Result<Crew> {
        let (sender, finished) = channel();
        let mut threads = Vec::with_capacity(self.desks.len());
        for desk in 0..self.desks.len() {
            let service = Arc::clone(self);
            let leaving = Leaving(sender.clone());
            let work = move || {
                // Here, so that it goes with the thread and not with a panic.
                let _ = &leaving;
                service.work(desk);
                Ok(())
            };
            let parts = self.link.parts();
            match parts.restarted(&format!("worker-{desk}"), work) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.queue.close();
                    return Err(error);
                }
            }
        }
        Ok(Crew { threads, finished })
    }

    /// Takes no more samples.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Finishes what was accepted, and drops by name what is not finished when the time is over.
    pub fn drain(&self, crew: Crew, deadline: Duration) -> DrainReport {
        let started = Instant::now();
        self.close();
        let finished = crew.threads.iter().all(|_| {
            let left = deadline.saturating_sub(started.elapsed());
            crew.finished.recv_timeout(left).is_ok()
        });
        let mut dropped = 0;
        for job in self.queue.take_all() {
            dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
        }
        if finished {
            for thread in crew.threads {
                let _ = thread.join();
            }
        } else {
            dropped += self.drop_desks();
        }
        DrainReport {
            finished,
            dropped,
            counters: self.tally.snapshot(),
        }
    }

    /// Drops what workers are still busy with; what they make of it is not published.
    fn drop_desks(&self) -> u64 {
        let mut dropped = 0;
        for desk in &self.desks {
            let job = desk.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(job) = job {
                dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
            }
        }
        dropped
    }
}
