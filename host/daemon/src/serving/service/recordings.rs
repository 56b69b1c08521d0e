//! The samples that recordings get, and the requests of their receivers.

use hotshoe_egress::Egress;
use hotshoe_pipeline::{MaskedSample, Outcome, RunMode, SampleError, Worker};

use super::Service;
use crate::serving::ServingRelease;

impl Service {
    /// Runs the pipeline, and offers intermediate results to recordings.
    pub(super) fn run_pipeline(
        &self,
        worker: &mut Worker,
        masked: Result<MaskedSample<'_>, SampleError>,
        served: &ServingRelease,
        mode: &RunMode,
    ) -> Outcome {
        if !self.recorder.is_active() {
            return worker.process_masked(masked, &self.identity, mode);
        }
        let (outcome, seen) = worker.observe_masked(masked, &self.identity, mode);
        let decision = outcome.result.as_ref().ok();
        let classifier = served.classifier(&self.hash_keys);
        let release = served.release().digest();
        self.recorder.offer(release, classifier, decision, &seen);
        outcome
    }

    /// Applies changes of the configuration.
    pub fn reconfigure(&self) {
        self.recorder
            .configure(self.running.config().record.clone());
    }

    /// Answers a recorder's request.
    pub fn record_request(&self, request: &[u8]) -> Result<Egress, Egress> {
        let serving = self.serving.load();
        let served = serving.as_deref();
        let served = served.map(|it| (it.release(), &**it.classifier(&self.hash_keys)));
        self.recorder.answer(request, served)
    }
}
