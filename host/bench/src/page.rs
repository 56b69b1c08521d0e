//! A whole page through a component that calls three models, against the same program in plain Rust.

use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_engine::{Insight, Sample};
use hotshoe_pipeline::Worker;
use label_reader::rules::Rules;
use label_reader_native::NativeReader;

use super::report::{Row, Unit};
use super::setup::{BenchSetup, TOTAL, process, sample};
use super::timings::{Series, Timings, alternate, timing};

/// The release that reads pages.
pub(crate) const RELEASE: &str = "release.toml";
/// The picture to read.
pub(crate) const PAGE: &str = "page.png";
/// The component, by its name in the release.
const COMPONENT: &str = "read-page";
/// The policy, by its name in the release.
const POLICY: &str = "policy-label";
/// The models, by their names in the release.
const MODELS: [&str; 3] = ["detect", "classify-angle", "recognise"];
/// The time of a stage outside models: pixels, the components' own code and call overhead.
const REST: &str = "all but models";
const PLAIN: &str = "plain Rust";
/// Highest accepted ratio of the page to plain Rust.
const TARGET: f64 = 1.05;

/// Reads the page alternately with plain Rust.
pub(crate) fn page(setup: &BenchSetup<'_>, rounds: usize) -> anyhow::Result<Vec<Row>> {
    let (_, pipeline) = setup.load(RELEASE)?;
    let mut worker = pipeline.worker();
    let picture = setup.picture(PAGE)?;
    let sample = sample(&picture);
    let native = Native::prepare(setup)?;
    let (expected, _) = native.read(&picture)?;
    let ours = || read(&mut worker, &sample, &expected);
    let (ours, theirs) = alternate(rounds, ours, || Ok(native.read(&picture)?.1))?;
    rows(&ours, &theirs)
}

/// Reads one page with the components, which must return the same text as plain Rust.
fn read(worker: &mut Worker, sample: &Sample, expected: &[String]) -> anyhow::Result<Timings> {
    let (decision, mut timings) = process(worker, sample)?;
    let found = lines(&decision.insight);
    anyhow::ensure!(
        found == expected,
        "the components read {found:?}, plain Rust {expected:?}"
    );
    let time = |timings: &Timings, stage: &str| {
        let found = timings.iter().find(|(name, _)| name == stage);
        found.map(|(_, time)| *time).unwrap_or_default()
    };
    let models: Duration = MODELS
        .iter()
        .map(|model| time(&timings, &format!("{COMPONENT}/{model}")))
        .sum();
    let rest = time(&timings, COMPONENT).saturating_sub(models);
    timings.push(timing(REST, rest));
    Ok(timings)
}

/// The text of each line.
pub(crate) fn lines(insight: &Insight) -> Vec<String> {
    match insight {
        Insight::Text { lines } => lines.iter().map(|line| line.text.clone()).collect(),
        _ => Vec::new(),
    }
}

/// The same program without WebAssembly.
struct Native {
    reader: NativeReader,
    rules: Rules,
}

impl Native {
    fn prepare(setup: &BenchSetup<'_>) -> anyhow::Result<Self> {
        let [detect, classify_angle, recognise] = MODELS.map(|name| setup.model(name));
        Ok(Self {
            reader: NativeReader::new(detect?, classify_angle?, recognise?),
            rules: Rules::parse(&setup.application_file("rules.json")?)
                .context("cannot use rules.json")?,
        })
    }

    fn read(&self, picture: &[u8]) -> anyhow::Result<(Vec<String>, Timings)> {
        let started = Instant::now();
        let (lines, times) = self.reader.read_timed(picture)?;
        let reading = started.elapsed();
        let text: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        std::hint::black_box(self.rules.judge(&text.join("\n")));
        let total = started.elapsed();
        let models = [times.detect, times.classify_angle, times.recognise];
        let mut timings = vec![
            timing(TOTAL, total),
            timing(REST, reading.saturating_sub(models.iter().sum())),
            timing(POLICY, total.saturating_sub(reading)),
        ];
        timings.extend(
            MODELS
                .iter()
                .zip(models)
                .map(|(name, time)| timing(*name, time)),
        );
        let text = lines.into_iter().map(|line| line.text).collect();
        Ok((text, timings))
    }
}

fn rows(ours: &Series, theirs: &Series) -> anyhow::Result<Vec<Row>> {
    let row = |what: &str, unit, name: &str, against: &str, target| -> anyhow::Result<Row> {
        let theirs = (PLAIN, theirs.median(against)?);
        let what = format!("page: {what}");
        Ok(Row::compared(
            &what,
            unit,
            ours.median(name)?,
            theirs,
            target,
        ))
    };
    let mut rows = vec![row("total", Unit::Millis, TOTAL, TOTAL, Some(TARGET))?];
    for model in MODELS {
        let stage = format!("{COMPONENT}/{model}");
        rows.push(row(model, Unit::Millis, &stage, model, None)?);
    }
    rows.push(row(REST, Unit::Millis, REST, REST, None)?);
    rows.push(row("policy", Unit::Micros, POLICY, POLICY, None)?);
    Ok(rows)
}
