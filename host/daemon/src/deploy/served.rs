//! A loaded release with what is seen of it while it serves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use hotshoe_engine::{Component, Fault};
use hotshoe_pipeline::{BackOffs, Outcome, Pipeline, Worker};
use hotshoe_protocol::status::ComponentStatus;
use hotshoe_trust::{Release, Verified};

use crate::deploy::observed::{Fared, Observer};

/// What the one pointer of the service points to.
pub struct Served {
    pipeline: Arc<Pipeline>,
    observer: Observer,
    back_offs: Arc<BackOffs>,
    /// Workers that are instantiated already: the threads take them, so that the first samples after a swap wait for nothing.
    ready: Mutex<Vec<Worker>>,
}

impl Served {
    /// A release that nobody has seen serve.
    pub fn new(pipeline: Arc<Pipeline>) -> Arc<Self> {
        Arc::new(Self {
            pipeline,
            observer: Observer::default(),
            back_offs: Arc::default(),
            ready: Mutex::default(),
        })
    }

    /// Instantiates workers until `threads` of them are ready. One that cannot be is left to its first sample, which will say why.
    pub fn prepare(&self, threads: usize) {
        let missing = threads.saturating_sub(self.lock().len());
        for _ in 0..missing {
            let mut worker = self.pipeline.worker_with_back_off(&self.back_offs);
            match worker.warm_up() {
                Ok(()) => self.lock().push(worker),
                Err(error) => {
                    tracing::warn!(%error, "a worker could not be made ready ahead of its first sample");
                    return;
                }
            }
        }
    }

    /// A worker for the calling thread.
    pub fn worker(&self) -> Worker {
        let ready = self.lock().pop();
        ready.unwrap_or_else(|| self.pipeline.worker_with_back_off(&self.back_offs))
    }

    /// Lets go of the workers that no thread took.
    pub fn rest(&self) {
        let unused = std::mem::take(&mut *self.lock());
        drop(unused);
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// The release.
    pub fn release(&self) -> &Verified<Release> {
        self.pipeline.release()
    }

    /// How its components fare at this moment.
    pub fn component_status(&self) -> Vec<ComponentStatus> {
        let now = Instant::now();
        let status = |(name, component): (&String, &Arc<Component>)| {
            let (faults_in_a_row, backing_off) = self.back_offs.status(name, now);
            ComponentStatus {
                name: name.clone(),
                faults_in_a_row,
                backing_off,
                log_lines_dropped: component.log_lines_dropped(),
            }
        };
        self.pipeline.components().iter().map(status).collect()
    }

    /// What is seen of it.
    pub const fn observer(&self) -> &Observer {
        &self.observer
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Worker>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fared {
    /// How a sample fared. A failure that a policy was allowed counts as well: probation asks whether the release works, not
    /// whether its samples got through.
    pub fn of(outcome: &Outcome) -> Self {
        let ended = outcome.result.as_ref().err();
        outcome
            .tolerated
            .iter()
            .chain(ended)
            .map(|error| Self::by(error.fault))
            .max()
            .unwrap_or(Self::Well)
    }

    const fn by(fault: Fault) -> Self {
        match fault {
            Fault::Trap
            | Fault::Memory
            | Fault::Table
            | Fault::Handles
            | Fault::Output
            | Fault::Fuel
            | Fault::Instantiation
            | Fault::BackingOff => Self::Trap,
            Fault::Deadline => Self::Deadline,
            Fault::Tensor | Fault::Model | Fault::Denied | Fault::Guest(_) => Self::Error,
        }
    }
}
