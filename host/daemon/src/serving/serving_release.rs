//! A loaded release with its counts while it serves.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hotshoe_base::Clock;
use hotshoe_egress::{Classifier, HashKeys};
use hotshoe_engine::{Component, Fault};
use hotshoe_pipeline::{BackOffs, Outcome, Pipeline, Worker};
use hotshoe_protocol::status::ComponentStatus;
use hotshoe_trust::{Release, Verified};
use parking_lot::Mutex;

use crate::serving::drift_watch::DriftWatch;
use crate::serving::observed::{Observer, SampleOutcome};

/// A loaded release; the service swaps the pointer to it.
pub struct ServingRelease {
    pipeline: Arc<Pipeline>,
    observer: Observer,
    back_offs: Arc<BackOffs>,
    /// Instantiated workers for the threads, so that the first samples after a swap do not wait.
    ready: Mutex<Vec<Worker>>,
    classifier: OnceLock<Arc<Classifier>>,
    drift: Option<Arc<DriftWatch>>,
}

impl ServingRelease {
    /// A release that has not served yet, with its pauses by `clock`. `drift` is for a release with `[drift]`.
    pub(crate) fn new(
        pipeline: Arc<Pipeline>,
        drift: Option<Arc<DriftWatch>>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            pipeline,
            observer: Observer::timed_by(clock.clone()),
            back_offs: Arc::new(BackOffs::timed_by(clock)),
            ready: Mutex::default(),
            classifier: OnceLock::new(),
            drift,
        })
    }

    /// Instantiates workers until `threads` are ready. On an error it stops; the first sample then reports the error.
    pub fn prepare(&self, threads: usize) {
        let missing = threads.saturating_sub(self.lock().len());
        for _ in 0..missing {
            let mut worker = self.pipeline.worker_with_back_off(&self.back_offs);
            match worker.warm_up() {
                Ok(()) => self.lock().push(worker),
                Err(error) => {
                    tracing::warn!(%error, "cannot prepare a worker before its first sample");
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

    /// Drops the workers that no thread took.
    pub fn drop_ready_workers(&self) {
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

    /// Decides what of its outputs leaves the device. A release has one, so the keys of the first call are used.
    pub fn classifier(&self, keys: &HashKeys) -> &Arc<Classifier> {
        self.classifier.get_or_init(|| {
            let contract = self.pipeline.contract().clone();
            let release: &Release = self.pipeline.release();
            Arc::new(Classifier::new(contract, Some(release), keys.clone()))
        })
    }

    /// The status of its components at `now`.
    pub fn component_status(&self, now: Instant) -> Vec<ComponentStatus> {
        let status = |(name, component): (&String, &Arc<Component>)| {
            let (faults_in_a_row, backing_off) = self.back_offs.status(name, now);
            ComponentStatus {
                name: name.clone(),
                faults_in_a_row,
                backing_off,
                log_lines_dropped: component.log_lines_dropped(),
                instances_replaced: component.instances_replaced(),
            }
        };
        self.pipeline.components().iter().map(status).collect()
    }

    /// The pauses of its components.
    pub fn back_offs(&self) -> &BackOffs {
        &self.back_offs
    }

    /// Watches its samples for drift from its baseline. `None` without `[drift]`.
    pub(crate) const fn drift(&self) -> Option<&Arc<DriftWatch>> {
        self.drift.as_ref()
    }

    /// Its counts.
    pub const fn observer(&self) -> &Observer {
        &self.observer
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, Vec<Worker>> {
        self.ready.lock()
    }
}

impl SampleOutcome {
    /// The outcome of a sample. A tolerated failure of a policy counts too: probation checks whether the release works, not whether
    /// its samples give results.
    pub fn of(outcome: &Outcome) -> Self {
        let ended = outcome.result.as_ref().err();
        outcome
            .tolerated
            .iter()
            .chain(ended)
            .map(|error| Self::by(error.fault))
            .max()
            .unwrap_or(Self::Success)
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
            Fault::Skipped => Self::Success,
            Fault::Tensor
            | Fault::Model
            | Fault::Denied
            | Fault::InvalidPlan
            | Fault::PrivacyUndecodable
            | Fault::UnsignedMode
            | Fault::Guest(_) => Self::Error,
        }
    }
}
