//! A picture of one line through two components and a model, against the same three steps in plain Rust.

use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_engine::{Insight, Sample};
use hotshoe_vision::{Budget, DecodeLimits, Format};
use label_reader_native::{NativeClassifier, NativeRecogniser};
use serde_json::Value;

use super::report::{Row, Unit};
use super::setup::{BenchSetup, TOTAL, process, sample};
use super::timings::{Series, Timings, alternate, timing};

/// The release that reads lines.
pub(crate) const RECOGNISER: &str = "recognise.toml";
/// Names of the native side's steps.
const STEPS: [&str; 3] = ["pre", "infer", "post"];
/// The side that the components are compared with.
const PLAIN: &str = "plain Rust";
/// Highest accepted ratio of the classifier's components to plain Rust.
const CLASSIFIER_TARGET: f64 = 1.05;
/// Highest accepted ratio of the recogniser's components to plain Rust.
const RECOGNISER_TARGET: f64 = 1.10;
/// Only used by JPEG; PNG is lossless.
const QUALITY: u8 = 90;

/// The first line of `page.png` as a separate PNG picture.
pub(crate) fn first_line(setup: &BenchSetup<'_>) -> anyhow::Result<Vec<u8>> {
    let expected: Value = serde_json::from_slice(&setup.application_file("expected/page.json")?)
        .context("expected/page.json is not valid JSON")?;
    let corners: Vec<[f32; 2]> = expected
        .pointer("/lines/0/outline")
        .and_then(|outline| serde_json::from_value(outline.clone()).ok())
        .context("expected/page.json has no first line")?;
    let range = |axis: fn(&[f32; 2]) -> f32| {
        let of = corners.iter().map(axis);
        let least = of.clone().fold(f32::INFINITY, f32::min);
        (least, of.fold(f32::NEG_INFINITY, f32::max) - least)
    };
    let ((x, width), (y, height)) = (range(|[x, _]| *x), range(|[_, y]| *y));
    let budget = Budget::unlimited();
    let page = setup.picture("page.png")?;
    let page = hotshoe_vision::decode(&page, &DecodeLimits::default(), &budget)?;
    let line = hotshoe_vision::crop(&page, x, y, width, height, &budget)?;
    Ok(hotshoe_vision::encode(
        &line,
        Format::Png,
        QUALITY,
        &budget,
    )?)
}

/// The angle classifier.
pub(crate) fn classifier(
    setup: &BenchSetup<'_>,
    line: &[u8],
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let native = NativeClassifier::new(setup.model("classify-angle")?);
    let theirs = || {
        let mut timer = StepTimer::start();
        let input = native.prepare(line)?;
        timer.end_step();
        let output = native.run(&input)?;
        timer.end_step();
        let classes = native.interpret(&output)?;
        timer.end_step();
        let best = classes.first().map(|class| class.label.clone());
        Ok((best.unwrap_or_default(), timer.timings()))
    };
    let best = |insight: &Insight| match insight {
        Insight::Classes { classes } => classes.first().map(|class| class.label.clone()),
        _ => None,
    };
    let (ours, theirs) = compare(setup, "classify-angle.toml", line, rounds, best, theirs)?;
    rows("classify-angle", CLASSIFIER_TARGET, &ours, &theirs)
}

/// The recogniser.
pub(crate) fn recogniser(
    setup: &BenchSetup<'_>,
    line: &[u8],
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let native = NativeRecogniser::new(setup.model("recognise")?);
    let theirs = || {
        let mut timer = StepTimer::start();
        let (input, size) = native.prepare(line)?;
        timer.end_step();
        let output = native.run(&input)?;
        timer.end_step();
        let lines = native.interpret(&output, size)?;
        timer.end_step();
        let text = lines.first().map(|line| line.text.clone());
        Ok((text.unwrap_or_default(), timer.timings()))
    };
    let text = |insight: &Insight| match insight {
        Insight::Text { lines } => lines.first().map(|line| line.text.clone()),
        _ => None,
    };
    let (ours, theirs) = compare(setup, RECOGNISER, line, rounds, text, theirs)?;
    rows("recognise", RECOGNISER_TARGET, &ours, &theirs)
}

/// Measures both sides and checks that they find the same.
fn compare(
    setup: &BenchSetup<'_>,
    release: &str,
    line: &[u8],
    rounds: usize,
    found: impl Fn(&Insight) -> Option<String>,
    mut native: impl FnMut() -> anyhow::Result<(String, Timings)>,
) -> anyhow::Result<(Series, Series)> {
    let (_, pipeline) = setup.load(release)?;
    let mut worker = pipeline.worker();
    let sample: Sample = sample(line);
    let expected = native()?.0;
    alternate(
        rounds,
        || {
            let (decision, timings) = process(&mut worker, &sample)?;
            let found = found(&decision.insight);
            anyhow::ensure!(
                found.as_ref() == Some(&expected),
                "{release} found {found:?}, plain Rust {expected:?}"
            );
            Ok(timings)
        },
        || Ok(native()?.1),
    )
}

/// Stages are named after their release: `NAME-pre`, the model, `NAME-post` and `empty-policy`.
fn rows(name: &str, target: f64, ours: &Series, theirs: &Series) -> anyhow::Result<Vec<Row>> {
    let against = |step: &str| Ok::<_, anyhow::Error>((PLAIN, theirs.median(step)?));
    let components = match name {
        "recognise" => "recognise-text",
        other => other,
    };
    let mut rows = vec![Row::compared(
        &format!("{name}: total"),
        Unit::Micros,
        ours.median(TOTAL)?,
        against(TOTAL)?,
        Some(target),
    )];
    let stages = [
        format!("{components}-pre"),
        name.to_owned(),
        format!("{components}-post"),
    ];
    for (stage, step) in stages.iter().zip(STEPS) {
        rows.push(Row::compared(
            &format!("{name}: {step}"),
            Unit::Micros,
            ours.median(stage)?,
            against(step)?,
            None,
        ));
    }
    rows.push(Row::alone(
        &format!("{name}: policy"),
        Unit::Micros,
        ours.median("empty-policy")?,
        None,
    ));
    Ok(rows)
}

/// Times the steps of one run in plain Rust.
struct StepTimer {
    started: Instant,
    ends: Vec<Duration>,
}

impl StepTimer {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            ends: Vec::with_capacity(STEPS.len()),
        }
    }

    /// Records the end of a step.
    fn end_step(&mut self) {
        self.ends.push(self.started.elapsed());
    }

    fn timings(self) -> Timings {
        let mut begun = Duration::ZERO;
        let mut timings = vec![timing(TOTAL, self.ends.last().copied().unwrap_or_default())];
        for (step, end) in STEPS.iter().zip(self.ends) {
            timings.push(timing(*step, whole_micros(end.saturating_sub(begun))));
            begun = end;
        }
        timings
    }
}

/// Truncates to whole microseconds, as the pipeline does for stage times.
fn whole_micros(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
