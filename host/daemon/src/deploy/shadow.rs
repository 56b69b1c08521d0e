//! A trial in shadow: it gets copies of samples, and what it makes of them is compared and thrown away.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use hotshoe_base::supervisor::Supervisor;
use hotshoe_engine::{Insight, Sample, agreement, low_priority};
use hotshoe_pipeline::Pipeline;
use hotshoe_trust::{Device, Shadow};

/// Copies that may wait for the shadow. When they are that many, samples pass it by.
const QUEUE: usize = 4;

/// Takes copies of samples from the workers.
#[derive(Debug)]
pub struct Tap {
    sender: SyncSender<(Arc<Sample>, Insight)>,
    share: f64,
    offered: AtomicU64,
    score: Arc<Score>,
}

/// What came of the comparisons so far.
#[derive(Debug, Default)]
pub struct Score {
    sums: Mutex<Compared>,
    skipped: AtomicU64,
}

/// Comparisons, summed up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Compared {
    /// Samples that both releases have seen.
    pub samples: u64,
    /// The sum of their agreements, each from 0 to 1. A sample on which the trial fails has 0.
    pub agreement: f64,
}

/// What the shadow says now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Likeness {
    /// Too few samples.
    Wait,
    /// The two releases agree.
    Alike,
    /// They do not, or cannot any more; the mean agreement so far.
    Unlike(f64),
}

impl Tap {
    /// Starts the thread that runs `pipeline` on copies. It ends when the tap is dropped.
    pub fn open(
        pipeline: &Arc<Pipeline>,
        share: f64,
        device: Device,
        parts: &Supervisor,
    ) -> io::Result<(Arc<Self>, Arc<Score>)> {
        let (sender, copies) = sync_channel(QUEUE);
        let score = Arc::new(Score::default());
        let kept = Arc::clone(&score);
        let pipeline = Arc::clone(pipeline);
        parts.restarted("shadow", move || {
            run(&pipeline, &copies, &device, &kept);
            Ok(())
        })?;
        let tap = Self {
            sender,
            share,
            offered: AtomicU64::new(0),
            score: Arc::clone(&score),
        };
        Ok((Arc::new(tap), score))
    }

    /// Copies a sample, if its turn has come and there is room.
    pub fn offer(&self, sample: &Arc<Sample>, insight: Insight) {
        let before = self.offered.fetch_add(1, Ordering::Relaxed);
        if !has_turn(before, self.share) {
            return;
        }
        let sent = self.sender.try_send((Arc::clone(sample), insight));
        if let Err(TrySendError::Full(_)) = sent {
            self.score.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether the sample after `before` others is one of the `share` that are copied, evenly spread.
#[expect(clippy::cast_precision_loss, reason = "2^53 samples are enough")]
fn has_turn(before: u64, share: f64) -> bool {
    let due = |samples: u64| (samples as f64 * share).floor();
    due(before + 1) > due(before)
}

impl Score {
    /// The comparisons so far.
    pub fn compared(&self) -> Compared {
        *self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Samples that found the shadow busy.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    fn add(&self, agreement: f64) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.samples += 1;
        sums.agreement += agreement;
    }
}

impl Compared {
    /// Holds the mean agreement against what the release asks for, as soon as nothing that comes can change the answer.
    #[expect(clippy::cast_precision_loss, reason = "2^53 samples are enough")]
    pub fn judge(self, shadow: &Shadow) -> Likeness {
        let wanted = shadow.samples.max(1).max(self.samples) as f64;
        let missing = wanted - self.samples as f64;
        // Sums of agreements that are all 1 are exact; a little less than the limit is the limit.
        if self.agreement + missing < shadow.min_agreement * wanted - 1e-9 {
            return Likeness::Unlike(self.agreement / (self.samples as f64).max(1.0));
        }
        if missing > 0.0 {
            Likeness::Wait
        } else {
            Likeness::Alike
        }
    }
}

fn run(
    pipeline: &Arc<Pipeline>,
    copies: &Receiver<(Arc<Sample>, Insight)>,
    device: &Device,
    score: &Score,
) {
    if let Err(error) = low_priority() {
        tracing::debug!(%error, "the shadow runs at the priority of the samples");
    }
    let mut worker = pipeline.worker();
    while let Ok((sample, insight)) = copies.recv() {
        let outcome = catch_unwind(AssertUnwindSafe(|| worker.process(&sample, device)));
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
