//! The metric of a comparison by device: the mean of the first samples of one release.

use std::sync::atomic::{AtomicBool, Ordering};

use hotshoe_drift::{Source, Value, measure};
use hotshoe_trust::Digest;
use parking_lot::Mutex;
use serde_json::Value as Json;

/// What is collected, and of which release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedMetric {
    /// The digest of the plan that asks for it.
    pub plan: Digest,
    /// The release whose insights count.
    pub release: Digest,
    /// The metric.
    pub source: Source,
    /// Values that make the mean.
    pub samples: u64,
}

/// The values of the metric that is collected now, one at most. The deploy thread says which; workers add.
#[derive(Debug, Default)]
pub(crate) struct ComparedMetric {
    /// Whether values are missing. Without a comparison, this is all that a sample costs.
    is_wanted: AtomicBool,
    collected: Mutex<Option<Collected>>,
}

#[derive(Debug)]
struct Collected {
    wanted: WantedMetric,
    values: u64,
    sum: f64,
}

impl ComparedMetric {
    /// Collects this metric from now on, or none. What is collected already goes on.
    pub(crate) fn want(&self, wanted: Option<&WantedMetric>) {
        let mut collected = self.collected.lock();
        if collected.as_ref().map(|it| &it.wanted) == wanted {
            return;
        }
        *collected = wanted.map(|wanted| Collected {
            wanted: wanted.clone(),
            values: 0,
            sum: 0.0,
        });
        self.is_wanted.store(wanted.is_some(), Ordering::Relaxed);
    }

    /// The mean for this plan, once it has all its values.
    pub(crate) fn mean(&self, plan: Digest) -> Option<f64> {
        let collected = self.collected.lock();
        let done = collected.as_ref().filter(|it| it.wanted.plan == plan);
        let done = done.filter(|it| it.values >= it.wanted.samples)?;
        #[expect(clippy::cast_precision_loss, reason = "a plan has at most 1,000,000")]
        let values = done.values as f64;
        Some(done.sum / values)
    }

    /// Adds a sample of `release`. `insight` gives its JSON as the data contract lets it be averaged; `None` leaves the sample out.
    pub(crate) fn add(&self, release: Digest, insight: impl FnOnce() -> Option<Json>) {
        if !self.is_wanted.load(Ordering::Relaxed) {
            return;
        }
        let source = {
            let collected = self.collected.lock();
            let wanted = collected.as_ref().map(|it| &it.wanted);
            let wanted = wanted.filter(|it| it.release == release);
            let Some(wanted) = wanted else {
                return;
            };
            wanted.source.clone()
        };
        // Outside of the lock: an insight with masks is large.
        let Some(insight) = insight() else {
            return;
        };
        let measured = measure([&source], &insight, |_, _| None);
        let Some(Some(Value::Number(value))) = measured.0.first() else {
            return;
        };
        if !(0.0..=1.0).contains(value) {
            return;
        }
        let mut collected = self.collected.lock();
        let of_same =
            |it: &&mut Collected| it.wanted.release == release && it.wanted.source == source;
        let Some(collected) = collected.as_mut().filter(of_same) else {
            return;
        };
        if collected.values < collected.wanted.samples {
            collected.values += 1;
            collected.sum += value;
        }
        if collected.values >= collected.wanted.samples {
            self.is_wanted.store(false, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn wanted(release: &[u8]) -> WantedMetric {
        WantedMetric {
            plan: Digest::of(b"plan"),
            release: Digest::of(release),
            source: "mean(lines.*.score)".parse().unwrap(),
            samples: 2,
        }
    }

    fn insight(score: f64) -> Option<Json> {
        Some(json!({"kind": "text", "lines": [{"score": score}]}))
    }

    #[test]
    fn the_first_values_of_the_wanted_release_make_the_mean() {
        let metric = ComparedMetric::default();
        let (release, other) = (Digest::of(b"new"), Digest::of(b"old"));
        metric.add(release, || unreachable!("nothing is wanted"));
        metric.want(Some(&wanted(b"new")));
        metric.add(other, || unreachable!("it is of another release"));
        metric.add(release, || None);
        metric.add(release, || insight(1.5));
        metric.add(release, || Some(json!({"kind": "text", "lines": []})));
        metric.add(release, || insight(0.25));
        assert_eq!(metric.mean(Digest::of(b"plan")), None);
        // The same wish again begins nothing again.
        metric.want(Some(&wanted(b"new")));
        metric.add(release, || insight(0.75));
        assert_eq!(metric.mean(Digest::of(b"plan")), Some(0.5));
        metric.add(release, || unreachable!("it has all its values"));
        assert_eq!(metric.mean(Digest::of(b"another plan")), None);
        metric.want(None);
        assert_eq!(metric.mean(Digest::of(b"plan")), None);
    }
}
