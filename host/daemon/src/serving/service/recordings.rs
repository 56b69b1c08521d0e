//! The samples that recordings get, and the requests of their receivers.

use hotshoe_pipeline::{Outcome, Worker};

use super::{Job, Service};
use crate::serving::ServingRelease;

impl Service {
    /// Runs the pipeline, and offers intermediate results to recordings.
    pub(super) fn run_pipeline(
        &self,
        worker: &mut Worker,
        job: &Job,
        served: &ServingRelease,
    ) -> Outcome {
        let mode = served.pipeline().run_mode(None, 0);
        if !self.recorder.is_active() {
            return worker.process(&job.sample, &self.identity, &mode);
        }
        let (outcome, seen) = worker.observe(&job.sample, &self.identity, &mode);
        let decision = outcome.result.as_ref().ok();
        self.recorder.offer(served.release(), decision, &seen);
        outcome
    }

    /// Applies changes of the configuration.
    pub fn reconfigure(&self) {
        self.recorder
            .configure(self.running.config().record.clone());
    }

    /// Answers a recorder's request.
    pub fn record_request(&self, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let serving = self.serving.load();
        let release = serving.as_deref().map(ServingRelease::release);
        self.recorder.answer(request, release)
    }
}
