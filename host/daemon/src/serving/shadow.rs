//! The shadow: a candidate processes copies of samples, and its insights are compared and discarded.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_engine::{Insight, Sample, agreement, low_priority};
use hotshoe_pipeline::Pipeline;
use hotshoe_trust::{Device, Shadow};
use parking_lot::Mutex;

/// Most copies that wait for the shadow. Beyond it, samples are skipped.
const QUEUE: usize = 4;

/// Passes copies of samples from the workers to the shadow.
#[derive(Debug)]
pub struct ShadowMirror {
    sender: SyncSender<(Arc<Sample>, Insight)>,
    share: f64,
    offered: AtomicU64,
    score: Arc<ShadowScore>,
}

/// Results of the comparisons.
#[derive(Debug, Default)]
pub struct ShadowScore {
    sums: Mutex<Comparison>,
    skipped: AtomicU64,
}

/// Sums of the comparisons.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Comparison {
    /// Samples that both releases processed.
    pub samples: u64,
    /// Sum of their agreements, each from 0 to 1. A sample on which the candidate fails has 0.
    pub agreement: f64,
}

/// Verdict of the shadow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ShadowVerdict {
    /// Too few samples.
    Wait,
    /// The two releases agree.
    Agree,
    /// They do not agree, or no longer can. The mean agreement so far.
    Disagree(f64),
}

impl ShadowMirror {
    /// Starts a thread that runs `pipeline` on copies. It ends when this is dropped.
    pub fn open(
        pipeline: &Arc<Pipeline>,
        share: f64,
        device: Device,
        parts: &Supervisor,
    ) -> io::Result<(Arc<Self>, Arc<ShadowScore>)> {
        let (sender, copies) = sync_channel(QUEUE);
        let score = Arc::new(ShadowScore::default());
        let kept = Arc::clone(&score);
        let pipeline = Arc::clone(pipeline);
        parts.restarted("shadow", move || {
            run(&pipeline, &copies, &device, &kept);
            Ok(())
        })?;
        let mirror = Self {
            sender,
            share,
            offered: AtomicU64::new(0),
            score: Arc::clone(&score),
        };
        Ok((Arc::new(mirror), score))
    }

    /// Copies a sample, if it is selected and there is room.
    pub fn offer(&self, sample: &Arc<Sample>, insight: Insight) {
        let before = self.offered.fetch_add(1, Ordering::Relaxed);
        if !is_selected(before, self.share) {
            return;
        }
        let sent = self.sender.try_send((Arc::clone(sample), insight));
        if let Err(TrySendError::Full(_)) = sent {
            self.score.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether the sample after `before` others is selected. The selected `share` is evenly spread.
#[expect(clippy::cast_precision_loss, reason = "2^53 samples are enough")]
fn is_selected(before: u64, share: f64) -> bool {
    let due = |samples: u64| (samples as f64 * share).floor();
    due(before + 1) > due(before)
}

impl ShadowScore {
    /// The comparisons so far.
    pub fn compared(&self) -> Comparison {
        *self.sums.lock()
    }

    /// Number of skipped samples.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    fn add(&self, agreement: f64) {
        let mut sums = self.sums.lock();
        sums.samples += 1;
        sums.agreement += agreement;
    }
}

impl Comparison {
    /// Compares the mean agreement with the release's limit, as soon as further samples cannot change the verdict.
    #[expect(clippy::cast_precision_loss, reason = "2^53 samples are enough")]
    pub fn judge(self, shadow: &Shadow) -> ShadowVerdict {
        let wanted = shadow.samples.max(1).max(self.samples) as f64;
        let missing = wanted - self.samples as f64;
        // With a tolerance for rounding.
        if self.agreement + missing < shadow.min_agreement * wanted - 1e-9 {
            return ShadowVerdict::Disagree(self.agreement / (self.samples as f64).max(1.0));
        }
        if missing > 0.0 {
            ShadowVerdict::Wait
        } else {
            ShadowVerdict::Agree
        }
    }
}

fn run(
    pipeline: &Arc<Pipeline>,
    copies: &Receiver<(Arc<Sample>, Insight)>,
    device: &Device,
    score: &ShadowScore,
) {
    if let Err(error) = low_priority() {
        tracing::debug!(%error, "cannot lower the priority of the shadow thread; it runs at the priority of the workers");
    }
    let mut worker = pipeline.worker();
    let mode = pipeline.run_mode(None, 0);
    while let Ok((sample, insight)) = copies.recv() {
        let outcome = catch_unwind(AssertUnwindSafe(|| worker.process(&sample, device, &mode)));
        let like = |insights: &Insight| agreement(insights, &insight);
        score.add(match outcome {
            Ok(outcome) => outcome
                .result
                .map_or(0.0, |decision| like(&decision.insight)),
            Err(_) => {
                worker = pipeline.worker();
                0.0
            }
        });
    }
}
