use std::collections::BTreeMap;

use hotshoe_daemon::Counters;
use hotshoe_daemon::latency::nearest_rank;
use serde::Serialize;

use crate::terminal::Terminal;

/// What became of the samples of one input.
#[derive(Debug, Default, Serialize)]
pub struct Input {
    /// Samples sent.
    pub samples: u64,
    /// Samples with a result.
    pub results: u64,
    /// Samples that the daemon dropped.
    pub dropped: u64,
    /// Samples that failed, or that nobody answered.
    pub failed: u64,
    /// From sending to the answer, in microseconds.
    #[serde(skip)]
    pub elapsed_us: Vec<u64>,
}

/// Median and 95th percentile, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50_us: u64,
    /// 19 of 20 are at most this.
    pub p95_us: u64,
}

/// What the demo prints last.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Samples sent.
    pub samples: u64,
    /// Samples with a result.
    pub results: u64,
    /// Samples that the daemon dropped.
    pub dropped: u64,
    /// Samples that failed, or that nobody answered.
    pub failed: u64,
    /// Whether every sample ended in one of the three, in the daemon's own counters too.
    pub accounted: bool,
    /// Seconds from the first sample to the last answer.
    pub seconds: f64,
    /// The lines read from each input, as it was read last.
    pub text: BTreeMap<String, Vec<String>>,
    /// Character error rate of `page.png` against the recorded reference, 0 to 1; none if it was not read.
    pub page_character_error_rate: Option<f64>,
    /// Time spent in each stage.
    pub stages: BTreeMap<String, Percentiles>,
    /// By input.
    pub inputs: BTreeMap<String, Input>,
    /// The daemon's own counters at the end.
    pub daemon: Counters,
}

impl Percentiles {
    /// By nearest rank; none of nothing.
    pub fn of(values: &[u64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        Some(Self {
            p50_us: nearest_rank(&sorted, 50)?,
            p95_us: nearest_rank(&sorted, 95)?,
        })
    }
}

fn milliseconds(micros: u64) -> String {
    format!("{:.1}", micros as f64 / 1000.0)
}

impl Summary {
    /// The summary as two tables.
    pub fn tables(&self, terminal: &Terminal) -> String {
        let inputs = self.inputs.iter().map(|(name, input)| {
            let lines = self.text.get(name).map_or(0, Vec::len);
            let [p50, p95] = Percentiles::of(&input.elapsed_us).map_or_else(
                || ["-".to_owned(), "-".to_owned()],
                |p| [milliseconds(p.p50_us), milliseconds(p.p95_us)],
            );
            vec![
                name.clone(),
                input.samples.to_string(),
                input.results.to_string(),
                input.dropped.to_string(),
                input.failed.to_string(),
                lines.to_string(),
                p50,
                p95,
            ]
        });
        let inputs = terminal.figures(
            &[
                "input",
                "samples",
                "results",
                "dropped",
                "failed",
                "lines",
                "answer p50 ms",
                "answer p95 ms",
            ],
            inputs,
        );
        let stages = self
            .stages
            .iter()
            .map(|(name, p)| vec![name.clone(), milliseconds(p.p50_us), milliseconds(p.p95_us)]);
        let stages = terminal.figures(&["stage", "p50 ms", "p95 ms"], stages);
        format!("{inputs}\n\n{stages}")
    }
}
