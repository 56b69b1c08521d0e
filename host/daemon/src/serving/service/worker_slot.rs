//! The place of one worker: the thread that has it, and the sample that the thread processes.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_pipeline::PRIVACY_DEADLINE;
use hotshoe_trust::{Release, Step};

use super::Job;
use crate::serving::ServingRelease;

/// Which place a worker thread has. A thread that was replaced has none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    /// The number of the place.
    pub slot: usize,
    /// The number of the thread among those that had the place.
    pub thread: u64,
}

/// The place of one worker.
#[derive(Default)]
pub(super) struct WorkerSlot {
    /// The number of the thread that has it.
    pub thread: u64,
    /// Whether that thread has ended.
    pub has_ended: bool,
    /// Jobs that were taken in this place.
    pub taken: u64,
    /// The current job.
    pub running: Option<Running>,
    pub handle: Option<JoinHandle<()>>,
}

/// A job that a worker processes.
pub(super) struct Running {
    pub job: Arc<Job>,
    /// The release that processes it, once that is known, and all its time limits together.
    pub served: Option<(Arc<ServingRelease>, Duration)>,
}

/// All time limits of a release together: the longest that a sample of it may take. Each step counts twice: before it runs, a model may wait
/// for the state of its source, and a component is instantiated.
pub(super) fn time_limits(release: &Release) -> Duration {
    let of_step = |step: &Step| match step {
        Step::Infer { model } => release
            .models
            .get(model)
            .map_or(Duration::ZERO, |model| model.deadline()),
        Step::Filter { component }
        | Step::Preprocess { component }
        | Step::Postprocess { component }
        | Step::Stage { component }
        | Step::Policy { component, .. } => release
            .components
            .get(component)
            .map_or(Duration::ZERO, |component| {
                Duration::from_millis(component.limits.deadline_ms.into())
            }),
    };
    let steps: Duration = release.pipeline.iter().map(of_step).sum();
    PRIVACY_DEADLINE + steps * 2
}
