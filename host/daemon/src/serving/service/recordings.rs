//! The samples that recordings get, and the requests of their receivers.

use std::sync::Arc;

use hotshoe_egress::Egress;
use hotshoe_pipeline::{Decision, MaskedSample, Outcome, RunMode, SampleError, Trace, Worker};
use hotshoe_trust::RecordKind;

use super::Service;
use crate::in_force::InForce;
use crate::serving::drift_thread::DriftSample;
use crate::serving::{DriftWatch, Output, OutputKind, ServingRelease};

impl Service {
    /// Runs the pipeline, and offers intermediate results to recordings and the sample to a viewer.
    pub(super) fn run_pipeline(
        &self,
        worker: &mut Worker,
        masked: Result<MaskedSample<'_>, SampleError>,
        served: &ServingRelease,
        mode: &RunMode,
        in_force: &InForce,
    ) -> Outcome {
        let is_viewed = self.output_tap.wants_picture() && self.may_view(served);
        let watch = served.drift().filter(|watch| watch.wants(in_force));
        let is_traced = watch.is_some_and(|watch| watch.needs_trace());
        if !self.recorder.is_active() && !is_viewed && !is_traced {
            let outcome = worker.process_masked(masked, &self.identity, mode);
            if let (Some(watch), Ok(decision)) = (watch, &outcome.result) {
                self.measure(watch, served, decision, Trace::default());
            }
            return outcome;
        }
        let (outcome, seen) = worker.observe_masked(masked, &self.identity, mode);
        let decision = outcome.result.as_ref().ok();
        let classifier = served.classifier(&self.hash_keys);
        let release = served.release().digest();
        if self.recorder.is_active() {
            self.recorder.offer(release, classifier, decision, &seen);
        }
        if is_viewed && decision.is_some() {
            self.show_picture(served, &seen);
        }
        if let (Some(watch), Some(decision)) = (watch, decision) {
            self.measure(watch, served, decision, seen);
        }
        outcome
    }

    /// Lets the thread of drift measure a sample.
    fn measure(
        &self,
        watch: &Arc<DriftWatch>,
        served: &ServingRelease,
        decision: &Decision,
        seen: Trace,
    ) {
        self.drift.offer(DriftSample {
            watch: Arc::clone(watch),
            release: served.release().digest(),
            classifier: Arc::clone(served.classifier(&self.hash_keys)),
            decision: decision.clone(),
            seen,
            at: self.clock.now(),
        });
    }

    /// Whether operator, signers and data contract all let samples be seen, as for a recording.
    fn may_view(&self, served: &ServingRelease) -> bool {
        let kind = RecordKind::Sample;
        self.recorder.allows(kind)
            && served.release().data_contract.record.contains(&kind)
            && served.classifier(&self.hash_keys).may_record(kind).is_ok()
    }

    /// Shows a sample to the viewer: that of the trace, since only it has masks.
    fn show_picture(&self, served: &ServingRelease, seen: &Trace) {
        let Some(sample) = &seen.sample else {
            return;
        };
        let classifier = served.classifier(&self.hash_keys);
        match classifier.recorded(RecordKind::Sample, sample.payload.to_vec()) {
            Ok(egress) => self.output_tap.show(Output {
                kind: OutputKind::Picture,
                id: &sample.id,
                content_type: &sample.content_type,
                egress: &egress,
            }),
            Err(refused) => self.kept_back(&refused),
        }
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
