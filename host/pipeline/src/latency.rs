//! Latency of stages over the most recent samples.

use std::collections::BTreeMap;

use hotshoe_protocol::status::StageLatency;
use parking_lot::Mutex;

/// Most recent durations that are kept for each stage.
pub const WINDOW: usize = 1_024;
/// Most stages that are kept; further ones are ignored.
pub const MAX_STAGES: usize = 64;

/// Collects durations by stage, in bounded memory.
#[derive(Debug, Default)]
pub struct Latency {
    stages: Mutex<BTreeMap<String, RecentDurations>>,
}

/// A ring of the most recent durations, in microseconds.
#[derive(Debug, Default)]
pub struct RecentDurations {
    values: Vec<u64>,
    count: u64,
}

impl Latency {
    /// Adds one duration in microseconds.
    pub fn record(&self, stage: &str, micros: u64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "2^53 microseconds are 285 years"
        )]
        let seconds = micros as f64 / 1e6;
        metrics::histogram!("hotshoe_stage_seconds", "stage" => stage.to_owned()).record(seconds);
        let mut stages = self.stages.lock();
        if let Some(recent) = stages.get_mut(stage) {
            recent.add(micros);
        } else if stages.len() < MAX_STAGES {
            let mut recent = RecentDurations::default();
            recent.add(micros);
            stages.insert(stage.to_owned(), recent);
        }
    }

    /// Every stage, by name.
    pub fn snapshot(&self) -> Vec<StageLatency> {
        let stages = self.stages.lock();
        stages
            .iter()
            .map(|(name, recent)| recent.summary(name))
            .collect()
    }
}

impl RecentDurations {
    /// Adds one duration in microseconds; the oldest goes.
    pub fn add(&mut self, micros: u64) {
        let place = usize::try_from(self.count % WINDOW as u64).unwrap_or(0);
        match self.values.get_mut(place) {
            Some(value) => *value = micros,
            None => self.values.push(micros),
        }
        self.count += 1;
    }

    /// The kept durations, sorted, for [`nearest_rank`].
    pub fn sorted(&self) -> Vec<u64> {
        let mut sorted = self.values.clone();
        sorted.sort_unstable();
        sorted
    }

    fn summary(&self, name: &str) -> StageLatency {
        let sorted = self.sorted();
        StageLatency {
            name: name.to_owned(),
            count: self.count,
            p50_us: nearest_rank(&sorted, 50).unwrap_or(0),
            p95_us: nearest_rank(&sorted, 95).unwrap_or(0),
        }
    }
}

/// The smallest of the sorted values that at least `percent` of 100 of them do not exceed; `None` if there are none.
pub fn nearest_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}
