//! The thread `drift`: it measures samples, so that no worker waits for that.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_egress::Classifier;
use hotshoe_engine::low_priority;
use hotshoe_pipeline::{Decision, Trace};
use hotshoe_trust::Digest;

use crate::recording::Recorder;
use crate::serving::{DriftWatch, PublishedStatus, ServingRelease, measured};

/// Most samples that wait to be measured, with their tensors. Further ones are dropped.
const MAX_WAITING: usize = 16;

/// A sample with a result, to be measured.
pub(super) struct DriftSample {
    pub watch: Arc<DriftWatch>,
    pub release: Digest,
    pub classifier: Arc<Classifier>,
    pub decision: Decision,
    /// Empty if nothing but the insight is measured or recorded.
    pub seen: Trace,
    pub at: Instant,
}

/// Starts with the first release that has `[drift]`. It ends when this is dropped.
pub(super) struct DriftThread {
    sender: OnceLock<SyncSender<DriftSample>>,
    recorder: Arc<Recorder>,
    published_status: Arc<PublishedStatus>,
    parts: Supervisor,
}

impl DriftThread {
    pub(super) fn new(
        recorder: &Arc<Recorder>,
        published_status: &Arc<PublishedStatus>,
        parts: &Supervisor,
    ) -> Self {
        Self {
            sender: OnceLock::new(),
            recorder: Arc::clone(recorder),
            published_status: Arc::clone(published_status),
            parts: parts.clone(),
        }
    }

    /// Another release is about to serve: its watch begins, and that of the one before ends.
    pub(super) fn follow(&self, before: Option<&ServingRelease>, next: Option<&ServingRelease>) {
        if let Some(watch) = before.and_then(ServingRelease::drift) {
            watch.leave(&self.published_status);
        }
        let Some(watch) = next.and_then(ServingRelease::drift) else {
            return;
        };
        watch.enter();
        if self.sender.get().is_none() {
            self.start();
        }
    }

    fn start(&self) {
        let (sender, samples) = sync_channel(MAX_WAITING);
        let (recorder, clock) = (Arc::clone(&self.recorder), self.parts.clock().clone());
        let published_status = Arc::clone(&self.published_status);
        let started = self.parts.restarted("drift", move || {
            if let Err(error) = low_priority() {
                tracing::warn!(%error, "drift is measured at the priority of the workers");
            }
            run(&samples, &recorder, &published_status, &clock);
            Ok(())
        });
        match started {
            // Only the deploy thread swaps releases, so that this is the first.
            Ok(_) => drop(self.sender.set(sender)),
            Err(error) => {
                tracing::error!(%error, "cannot start a thread; drift is not noticed");
            }
        }
    }

    /// Hands a sample over, or drops and counts it.
    pub(super) fn offer(&self, sample: DriftSample) {
        let Some(sender) = self.sender.get() else {
            return;
        };
        if let Err(TrySendError::Full(sample) | TrySendError::Disconnected(sample)) =
            sender.try_send(sample)
        {
            sample.watch.drop_sample();
        }
    }
}

fn run(
    samples: &Receiver<DriftSample>,
    recorder: &Recorder,
    published_status: &PublishedStatus,
    clock: &Clock,
) {
    for sample in samples {
        let DriftSample {
            watch,
            release,
            classifier,
            decision,
            seen,
            at,
        } = sample;
        let measured = measured(watch.sources(), &decision.insight, &seen, clock);
        let is_wanted = watch.add(&measured, at, published_status);
        // Without a recording, the trace may be empty.
        if is_wanted && seen.sample.is_some() {
            recorder.offer_drifting(release, &classifier, &decision, &seen);
        }
    }
}
