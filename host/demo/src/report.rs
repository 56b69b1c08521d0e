use std::collections::BTreeMap;

use hotshoe_base::nearest_rank;
use hotshoe_protocol::status::Counters;
use hotshoe_store::{Cause, Phase};
use serde::Serialize;

use hotshoe_release::terminal::{Terminal, size};

/// The counts of one input.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Input {
    /// Samples sent.
    pub samples: u64,
    /// Samples with a result.
    pub results: u64,
    /// Samples that the daemon dropped.
    pub dropped: u64,
    /// Samples that failed, by error name.
    pub failed: u64,
    /// Samples without an answer.
    pub lost: u64,
    /// From sending to the answer, in microseconds.
    #[serde(skip)]
    pub elapsed_us: Vec<u64>,
}

/// Median and 95th percentile, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    /// Half are at most this.
    pub p50_us: u64,
    /// 19 of 20 are at most this.
    pub p95_us: u64,
}

/// The summary that the demo prints at the end.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    /// Samples sent.
    pub samples: u64,
    /// Samples with a result.
    pub results: u64,
    /// Samples that the daemon dropped.
    pub dropped: u64,
    /// Samples that failed, by error name.
    pub failed: u64,
    /// Samples without an answer.
    pub lost: u64,
    /// Whether every sample has a result, was dropped or failed, according to the daemon's own counters too.
    pub accounted: bool,
    /// Number of swaps, counted by the daemon.
    pub swaps: u64,
    /// Number of rollbacks.
    pub rollbacks: u64,
    /// Number of refused releases.
    pub refused: u64,
    /// The longest time between two results, in milliseconds.
    pub max_gap_ms: f64,
    /// The same before the first update.
    pub max_gap_before_ms: f64,
    /// The outcome of each version.
    pub versions: Vec<VersionReport>,
    /// Seconds from the first sample to the last answer.
    pub seconds: f64,
    /// The lines read from each input, as it was read last.
    pub text: BTreeMap<String, Vec<String>>,
    /// Character error rate of `page.png` against the recorded reference, 0 to 1; none if it was not read.
    pub page_character_error_rate: Option<f64>,
    /// Time spent in each stage.
    pub stages: BTreeMap<String, Percentiles>,
    /// The backend of each model at the end, and why.
    pub models: BTreeMap<String, ModelReport>,
    /// By input.
    pub inputs: BTreeMap<String, Input>,
    /// The daemon's own counters at the end.
    pub daemon: Counters,
}

/// The backend of one model.
#[derive(Debug, Serialize)]
pub(crate) struct ModelReport {
    /// `tract` or `ort`.
    pub backend: String,
    /// Why this one.
    pub reason: String,
}

/// The outcome of one version.
#[derive(Debug, Serialize)]
pub(crate) struct VersionReport {
    /// Its generation.
    pub generation: u64,
    /// What was new in it.
    pub what: &'static str,
    /// Its last phase.
    pub phase: Phase,
    /// Why it ended in this phase.
    pub cause: Option<Cause>,
    /// Whether this is the expected outcome.
    pub expected: bool,
    /// Bytes that the publisher sent; none for the installed version.
    pub bytes_moved: Option<u64>,
    /// Seconds from publishing it to its first result.
    pub first_result_s: Option<f64>,
    /// Seconds from publishing it to its end: confirmed, rolled back or refused.
    pub seconds: Option<f64>,
    /// Samples with a result.
    pub results: u64,
    /// Samples that failed.
    pub failed: u64,
}

impl Percentiles {
    /// By the nearest-rank method; none if there are no values.
    pub(crate) fn of(values: &[u64]) -> Option<Self> {
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
    /// The summary as text.
    pub(crate) fn text(&self, terminal: &Terminal) -> String {
        format!(
            "\n{}\n\n{} samples in {:.1} s: {} results, {} dropped, {} failed, {} lost\n{} swaps, {} rollbacks, {} refused; longest time between two results {:.0} ms, {:.0} ms before the first update",
            self.tables(terminal),
            self.samples,
            self.seconds,
            self.results,
            self.dropped,
            self.failed,
            self.lost,
            self.swaps,
            self.rollbacks,
            self.refused,
            self.max_gap_ms,
            self.max_gap_before_ms
        )
    }

    fn tables(&self, terminal: &Terminal) -> String {
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
                input.lost.to_string(),
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
                "lost",
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
        let versions = self.versions.iter().map(VersionReport::cells);
        let versions = terminal.figures(
            &[
                "version",
                "what is new",
                "outcome",
                "because of",
                "moved",
                "first result s",
                "end s",
                "results",
                "failed",
            ],
            versions,
        );
        let models = self.models.iter();
        let models =
            models.map(|(name, it)| vec![name.clone(), it.backend.clone(), it.reason.clone()]);
        let models = terminal.table(&["model", "backend", "why"], models);
        format!("{inputs}\n\n{stages}\n\n{models}\n\n{versions}")
    }
}

impl VersionReport {
    fn cells(&self) -> Vec<String> {
        let none = || "-".to_owned();
        let seconds = |value: Option<f64>| value.map_or_else(none, |value| format!("{value:.1}"));
        vec![
            self.generation.to_string(),
            self.what.to_owned(),
            self.phase.to_string(),
            self.cause
                .as_ref()
                .map_or_else(none, |cause| cause.name.clone()),
            self.bytes_moved.map_or_else(none, size),
            seconds(self.first_result_s),
            seconds(self.seconds),
            self.results.to_string(),
            self.failed.to_string(),
        ]
    }
}
