//! The governor's thread: it reads the sensors in rounds, asks the governor of the release for a plan, and alone decides which plan is in force.
//!
//! It never waits for a sample, and no sample for it: intake and workers read [`InForce`](crate::in_force::InForce) through one pointer.

pub mod convert;
pub mod decider;
pub mod outputs;
mod report;
mod round;
pub mod state;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_engine::low_priority;

use self::round::Rounds;
use crate::reload::RunningConfig;
use crate::serving::{PublishedStatus, Service};

/// The thread. It ends when this is dropped.
pub(crate) struct GovernorThread {
    /// Its end is the signal.
    running: Sender<Infallible>,
    /// Closed when the thread has ended.
    ended: Receiver<Infallible>,
    supervisor: Supervisor,
}

impl GovernorThread {
    /// Starts the thread `governor`, unless it is turned off.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(crate) fn start(
        service: &Arc<Service>,
        running: &Arc<RunningConfig>,
        published_status: &Arc<PublishedStatus>,
        supervisor: &Supervisor,
    ) -> io::Result<Option<Self>> {
        if !running.config().governor.enabled {
            return Ok(None);
        }
        let mut rounds = Rounds::new(
            Arc::clone(service),
            Arc::clone(running),
            Arc::clone(published_status),
            supervisor,
        );
        let (stop, stopped) = channel::<Infallible>();
        let (thread_runs, ended) = channel::<Infallible>();
        let clock = supervisor.clock().clone();
        supervisor.restarted("governor", move || {
            let _ = &thread_runs;
            if let Err(error) = low_priority() {
                tracing::warn!(%error, "cannot lower the priority of the governor's thread; it runs at the priority of the workers");
            }
            loop {
                let next = clock.deadline(rounds.period());
                rounds.round();
                if clock.recv_until(&stopped, next) != Err(RecvTimeoutError::Timeout) {
                    rounds.close();
                    return Ok(());
                }
            }
        })?;
        Ok(Some(Self {
            running: stop,
            ended,
            supervisor: supervisor.clone(),
        }))
    }

    /// Ends the thread, which turns the outputs off. One that does not end within `limit`, because a sensor hangs, ends with the process.
    pub(crate) fn stop(self, limit: Duration) {
        drop(self.running);
        let clock = self.supervisor.clock();
        let until = clock.deadline(limit);
        if clock.recv_until(&self.ended, until) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the governor's thread is still at work; it ends with the process");
        }
    }
}
