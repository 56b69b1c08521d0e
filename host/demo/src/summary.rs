//! Builds the summary from the collected results and checks it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hotshoe_protocol::status::Status;
use hotshoe_store::Phase;
use serde::Deserialize;

use super::feed::{FeedResults, ReleaseResults};
use super::report::{Input, ModelReport, Percentiles, Summary, VersionReport};
use super::updates::{Delivered, is_as_expected};
use super::versions::{Expected, Version};

/// Highest accepted character error rate of the page's text against the reference.
const MAX_CHARACTER_ERROR_RATE: f64 = 0.01;
/// The picture whose text must be read.
pub(crate) const PAGE: &str = "page.png";

/// What the reference implementation read in a picture.
#[derive(Deserialize)]
struct Recorded {
    lines: Vec<RecordedLine>,
}

#[derive(Deserialize)]
struct RecordedLine {
    text: String,
}

/// The lines of `page.png` as the reference implementation read them.
pub(crate) fn expected_page(root: &Path) -> anyhow::Result<Vec<String>> {
    let path = root.join("examples/label-reader/expected/page.json");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let recorded: Recorded = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a recording", path.display()))?;
    Ok(recorded.lines.into_iter().map(|line| line.text).collect())
}

/// Builds the summary.
pub(crate) fn summarise(
    collected: FeedResults,
    status: Status,
    versions: &[Version],
    delivered: &[Delivered],
    expected: &[String],
) -> Summary {
    let total = |of: fn(&Input) -> u64| collected.inputs.values().map(of).sum();
    let (samples, results): (u64, u64) = (total(|i| i.samples), total(|i| i.results));
    let (dropped, failed): (u64, u64) = (total(|i| i.dropped), total(|i| i.failed));
    let counters = status.counters;
    let accounted = samples == results + dropped + failed
        && counters.add_up()
        && counters.accepted == samples
        && counters.in_flight == 0;
    let error_rate = collected.text.get(PAGE).map(|lines| {
        let expected = expected.join("\n");
        let errors = strsim::levenshtein(&lines.join("\n"), &expected);
        errors as f64 / expected.chars().count().max(1) as f64
    });
    let began = delivered.first().map(|first| first.published);
    let before = |arrival: &Instant| began.is_none_or(|began| *arrival < began);
    let early: Vec<Instant> = collected.arrivals.iter().copied().filter(before).collect();
    Summary {
        samples,
        results,
        dropped,
        failed,
        lost: total(|i| i.lost),
        accounted,
        swaps: status.swaps,
        rollbacks: status.rollbacks,
        refused: status.refused.values().sum(),
        max_gap_ms: milliseconds(largest_gap(&collected.arrivals)),
        max_gap_before_ms: milliseconds(largest_gap(&early)),
        versions: reports(&collected, versions, delivered),
        seconds: collected.elapsed.as_secs_f64(),
        text: collected.text,
        page_character_error_rate: error_rate,
        stages: collected
            .stages
            .into_iter()
            .filter_map(|(name, times)| Some((name, Percentiles::of(&times)?)))
            .collect(),
        models: status
            .models
            .into_iter()
            .map(|it| {
                let (backend, reason) = (it.backend, it.reason);
                (it.name, ModelReport { backend, reason })
            })
            .collect(),
        inputs: collected.inputs,
        daemon: counters,
    }
}

/// The installed version and the delivered ones.
fn reports(
    collected: &FeedResults,
    versions: &[Version],
    delivered: &[Delivered],
) -> Vec<VersionReport> {
    let answered = |generation: u64| collected.generations.get(&generation);
    let counts = |generation| {
        answered(generation).map_or(
            (0, 0),
            |ReleaseResults {
                 results, failed, ..
             }| (*results, *failed),
        )
    };
    let (results, failed) = counts(1);
    let first = VersionReport {
        generation: 1,
        what: "installed",
        phase: Phase::Live,
        cause: None,
        expected: true,
        bytes_moved: None,
        first_result_s: None,
        seconds: None,
        results,
        failed,
    };
    let later = versions.iter().zip(delivered).map(|(version, delivered)| {
        let since = |at: Instant| at.duration_since(delivered.published).as_secs_f64();
        let (results, failed) = counts(delivered.generation);
        let first = answered(delivered.generation).and_then(|answered| answered.first);
        VersionReport {
            generation: delivered.generation,
            what: delivered.what,
            phase: delivered.end.phase,
            cause: delivered.end.cause.clone(),
            expected: is_as_expected(&delivered.end, version.expected),
            bytes_moved: Some(delivered.bytes_moved),
            first_result_s: first.map(since),
            seconds: Some(since(delivered.end.at)),
            results,
            failed,
        }
    });
    std::iter::once(first).chain(later).collect()
}

/// The longest time between two consecutive results.
pub(crate) fn largest_gap(arrivals: &[Instant]) -> Duration {
    let mut arrivals = arrivals.to_vec();
    arrivals.sort_unstable();
    arrivals
        .iter()
        .zip(arrivals.iter().skip(1))
        .map(|(one, next)| next.duration_since(*one))
        .max()
        .unwrap_or_default()
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Fails if anything in the summary is not as expected.
pub(crate) fn judge(
    summary: &Summary,
    versions: &[Version],
    serving: Option<u64>,
) -> anyhow::Result<()> {
    ensure!(
        summary.accounted && summary.lost == 0,
        "not every sample is accounted for: {} sent, {} results, {} dropped, {} failed, {} lost; the daemon counted {:?}",
        summary.samples,
        summary.results,
        summary.dropped,
        summary.failed,
        summary.lost,
        summary.daemon
    );
    for version in &summary.versions {
        ensure!(
            version.expected,
            "version {} ({}) ended as {}: {:?}",
            version.generation,
            version.what,
            version.phase,
            version.cause
        );
    }
    let confirmed = versions
        .iter()
        .filter(|version| version.expected == Expected::Confirmed)
        .map(|version| version.release.generation)
        .next_back();
    ensure!(
        serving == confirmed,
        "generation {serving:?} serves at the end, expected {confirmed:?}"
    );
    match summary.page_character_error_rate {
        Some(rate) if rate <= MAX_CHARACTER_ERROR_RATE => Ok(()),
        Some(rate) => bail!(
            "{PAGE} was read with a character error rate of {:.1}%; the limit is {:.0}%",
            rate * 100.0,
            MAX_CHARACTER_ERROR_RATE * 100.0
        ),
        None => bail!("{PAGE} was not read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_gap_is_that_between_neighbours_in_time() {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        assert_eq!(largest_gap(&[]), Duration::ZERO);
        assert_eq!(largest_gap(&[at(5)]), Duration::ZERO);
        assert_eq!(
            largest_gap(&[at(30), at(5), at(12)]),
            Duration::from_millis(18)
        );
    }
}
