//! Load: each worker takes the next sample as soon as it has finished one.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use hotshoe_engine::{Fault, Sample};
use hotshoe_pipeline::{Pipeline, RunMode};
use hotshoe_senses::Sketch;
use hotshoe_trust::Device;

/// Parts of a run, to compare its end with its beginning.
pub(super) const PARTS: usize = 4;

/// A shorter run does not warm a device up.
const LEAST_RUN: Duration = Duration::from_secs(60);
/// A lighter sample takes as long as the scheduler decides, in milliseconds.
const LEAST_MS: f64 = 1.0;

/// What a run measured.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Times in the pipeline in milliseconds, by the quarter of the run in which the sample ended.
    pub(super) parts: [Sketch; PARTS],
    /// All but those that a component left out.
    pub(super) samples: u64,
    /// Samples that a component left out. They cost next to nothing, so that they have no part in the times.
    pub(super) skipped: u64,
    pub(super) failed: u64,
    /// The first failure.
    pub(super) failure: Option<String>,
    pub(super) elapsed: Duration,
}

impl Measured {
    /// All quarters in one.
    pub(super) fn all(&self) -> Sketch {
        let mut all = Sketch::default();
        self.parts.iter().for_each(|part| all.merge(part));
        all
    }

    /// The 95th percentile of the last quarter as a multiple of that of the first one. None for a run that is too short, or whose
    /// samples are too light, to tell a slower device from noise.
    pub(super) fn slowdown(&self) -> Option<f64> {
        let [first, .., last] = &self.parts;
        let (first, last) = (first.quantile(0.95)?, last.quantile(0.95)?);
        (self.elapsed >= LEAST_RUN && first >= LEAST_MS).then(|| last / first)
    }

    fn fail(&mut self, failure: String) {
        self.failed += 1;
        self.failure.get_or_insert(failure);
    }

    fn merge(&mut self, other: Self) {
        for (own, part) in self.parts.iter_mut().zip(&other.parts) {
            own.merge(part);
        }
        self.samples += other.samples;
        self.skipped += other.skipped;
        self.failed += other.failed;
        if let Some(failure) = other.failure {
            self.failure.get_or_insert(failure);
        }
    }
}

/// Runs the samples in turn on so many threads, as long as given.
pub(super) fn run(
    pipeline: &Arc<Pipeline>,
    device: &Device,
    samples: &[Sample],
    threads: usize,
    length: Duration,
) -> Measured {
    let began = Instant::now();
    let mut all = thread::scope(|scope| {
        let work = move |first| work(pipeline, device, samples.iter().cycle().skip(first), length);
        let workers: Vec<_> = (0..threads.max(1))
            .map(|first| scope.spawn(move || work(first)))
            .collect();
        let mut all = Measured::default();
        for worker in workers {
            match worker.join() {
                Ok(one) => all.merge(one),
                Err(_) => all.fail("a thread panicked".to_owned()),
            }
        }
        all
    });
    all.elapsed = began.elapsed();
    all
}

fn work<'s>(
    pipeline: &Arc<Pipeline>,
    device: &Device,
    samples: impl Iterator<Item = &'s Sample>,
    length: Duration,
) -> Measured {
    let mut measured = Measured::default();
    let mut worker = pipeline.worker();
    let began = Instant::now();
    for sample in samples {
        let start = Instant::now();
        let outcome = worker.process(sample, device, &RunMode::default());
        let took = start.elapsed();
        let share = began.elapsed().as_secs_f64() / length.as_secs_f64();
        match outcome.result {
            Err(error) if error.fault == Fault::Skipped => measured.skipped += 1,
            result => {
                measured.samples += 1;
                if let Err(error) = result {
                    measured.fail(format!(
                        "{} in {}: {}",
                        error.fault.name(),
                        error.stage,
                        error.message
                    ));
                }
                if let Some(part) = measured.parts.get_mut(part_of(share)) {
                    part.add(took.as_secs_f64() * 1_000.0);
                }
            }
        }
        if share >= 1.0 {
            break;
        }
    }
    measured
}

/// The quarter of a run for a share of it, from 0 to 1; what is later belongs to the last one.
fn part_of(share: f64) -> usize {
    (0..PARTS - 1)
        .find(|part| share < (*part as f64 + 1.0) / PARTS as f64)
        .unwrap_or(PARTS - 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_run_has_four_quarters() {
        let parts = [0.0, 0.24, 0.25, 0.5, 0.74, 0.75, 1.0, 7.0].map(part_of);
        assert_eq!(parts, [0, 0, 1, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn the_end_is_compared_with_the_beginning() {
        let mut measured = Measured::default();
        assert_eq!(measured.slowdown(), None);
        measured.parts[0].add(10.0);
        measured.parts[3].add(20.0);
        assert_eq!(measured.slowdown(), None, "too short");
        measured.elapsed = LEAST_RUN;
        let slowdown = measured.slowdown().unwrap();
        assert!((1.9..2.1).contains(&slowdown), "{slowdown}");
        assert_eq!(measured.all().count(), 2);
    }

    #[test]
    fn the_first_failure_is_kept() {
        let (mut all, mut one) = (Measured::default(), Measured::default());
        one.fail("a".to_owned());
        one.fail("b".to_owned());
        all.merge(one);
        assert_eq!((all.failed, all.failure.as_deref()), (2, Some("a")));
    }
}
