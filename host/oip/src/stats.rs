//! Statistics of the models and of the pipeline, as requests of this protocol give them. Those of one release: another begins at 0.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// The number of measurements, and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Total {
    pub(crate) count: u64,
    pub(crate) ns: u64,
}

impl Total {
    fn add(&mut self, spent: Duration) {
        let ns = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        self.count += 1;
        self.ns = self.ns.saturating_add(ns);
    }
}

/// The statistics of one model or of the pipeline.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// The end of the last request, in milliseconds since 1970; 0 before the first one.
    pub(crate) last_ms: u64,
    /// Successful runs, and samples of successful requests.
    pub(crate) inferences: u64,
    /// Runs of the model and calls of the pipeline, in requests that succeeded.
    pub(crate) executions: u64,
    /// Requests with an answer, from the complete body to the written answer.
    pub(crate) success: Total,
    /// The other requests to this model.
    pub(crate) fail: Total,
    /// Reading of requests: unpacking, JSON, copies into tensors. As the next two: of successful requests.
    pub(crate) input: Total,
    /// Runs and calls, each with its wait for a thread or a place in the queue.
    pub(crate) infer: Total,
    /// Writing of answers.
    pub(crate) output: Total,
}

/// How long the parts of one request take.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) input: Duration,
    pub(crate) infer: Duration,
    pub(crate) output: Duration,
    /// Runs of the model, or calls of the pipeline.
    pub(crate) executions: u64,
}

/// The statistics by name and version.
#[derive(Debug, Default)]
pub(crate) struct Statistics(Mutex<BTreeMap<(String, String), Counters>>);

impl Statistics {
    /// Counts one request to a model of the release that serves, and forgets earlier releases.
    pub(crate) fn count(
        &self,
        (name, version): (&str, &str),
        total: Duration,
        spent: Option<&Spent>,
    ) {
        let key = (name.to_owned(), version.to_owned());
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let mut all = self.0.lock();
        if !all.contains_key(&key) {
            all.retain(|(_, known), _| known == version);
        }
        let counters = all.entry(key).or_default();
        counters.last_ms = now;
        let Some(spent) = spent else {
            counters.fail.add(total);
            return;
        };
        counters.success.add(total);
        counters.inferences += spent.executions;
        counters.executions += spent.executions;
        counters.input.add(spent.input);
        counters.infer.add(spent.infer);
        counters.output.add(spent.output);
    }

    /// The statistics of one model; zeros before its first request.
    pub(crate) fn of(&self, name: &str, version: &str) -> Counters {
        let all = self.0.lock();
        let key = (name.to_owned(), version.to_owned());
        all.get(&key).copied().unwrap_or_default()
    }
}
