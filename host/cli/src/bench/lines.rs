//! A picture of one line through two components and a model, against the same three steps in plain Rust.

use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_engine::{Insight, Sample};
use hotshoe_vision::{Budget, DecodeLimits, Format};
use label_reader_native::{NativeClassifier, NativeRecogniser};
use serde_json::Value;

use super::laps::{Laps, Series, by_turns, lap};
use super::report::{Row, Unit};
use super::setting::{Setting, TOTAL, process, sample};

/// The release that reads lines.
pub const RECOGNISER: &str = "recognise.toml";
/// Names of the native side's steps.
const STEPS: [&str; 3] = ["pre", "infer", "post"];
/// What the components are compared with.
const PLAIN: &str = "plain Rust";
/// Most that the components may take, of plain Rust's time.
const TARGET: f64 = 1.10;
/// JPEG's alone; PNG is lossless.
const QUALITY: u8 = 90;

/// The first line of `page.png` as a PNG picture of its own.
pub fn first_line(setting: &Setting<'_>) -> anyhow::Result<Vec<u8>> {
    let expected: Value = serde_json::from_slice(&setting.application_file("expected/page.json")?)
        .context("expected/page.json is no JSON")?;
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
    let page = setting.picture("page.png")?;
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
pub fn classifier(setting: &Setting<'_>, line: &[u8], rounds: usize) -> anyhow::Result<Vec<Row>> {
    let native = NativeClassifier::new(setting.model("classify-angle")?);
    let theirs = || {
        let mut watch = Watch::start();
        let input = native.prepare(line)?;
        watch.lap();
        let output = native.run(&input)?;
        watch.lap();
        let classes = native.interpret(&output)?;
        watch.lap();
        let best = classes.first().map(|class| class.label.clone());
        Ok((best.unwrap_or_default(), watch.laps()))
    };
    let best = |insight: &Insight| match insight {
        Insight::Classes { classes } => classes.first().map(|class| class.label.clone()),
        _ => None,
    };
    let (ours, theirs) = compare(setting, "classify-angle.toml", line, rounds, best, theirs)?;
    rows("classify-angle", &ours, &theirs)
}

/// The recogniser.
pub fn recogniser(setting: &Setting<'_>, line: &[u8], rounds: usize) -> anyhow::Result<Vec<Row>> {
    let native = NativeRecogniser::new(setting.model("recognise")?);
    let theirs = || {
        let mut watch = Watch::start();
        let (input, size) = native.prepare(line)?;
        watch.lap();
        let output = native.run(&input)?;
        watch.lap();
        let lines = native.interpret(&output, size)?;
        watch.lap();
        let text = lines.first().map(|line| line.text.clone());
        Ok((text.unwrap_or_default(), watch.laps()))
    };
    let text = |insight: &Insight| match insight {
        Insight::Text { lines } => lines.first().map(|line| line.text.clone()),
        _ => None,
    };
    let (ours, theirs) = compare(setting, RECOGNISER, line, rounds, text, theirs)?;
    rows("recognise", &ours, &theirs)
}

/// Measures both sides, and makes sure that they find the same.
fn compare(
    setting: &Setting<'_>,
    release: &str,
    line: &[u8],
    rounds: usize,
    found: impl Fn(&Insight) -> Option<String>,
    mut native: impl FnMut() -> anyhow::Result<(String, Laps)>,
) -> anyhow::Result<(Series, Series)> {
    let (_, pipeline) = setting.load(release)?;
    let mut worker = pipeline.worker();
    let sample: Sample = sample(line);
    let expected = native()?.0;
    by_turns(
        rounds,
        || {
            let (decision, laps) = process(&mut worker, &sample)?;
            let found = found(&decision.insight);
            anyhow::ensure!(
                found.as_ref() == Some(&expected),
                "{release} found {found:?}, plain Rust {expected:?}"
            );
            Ok(laps)
        },
        || Ok(native()?.1),
    )
}

/// Stages are called after their release: `NAME-pre`, the model, `NAME-post` and `empty-policy`.
fn rows(name: &str, ours: &Series, theirs: &Series) -> anyhow::Result<Vec<Row>> {
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
        Some(TARGET),
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
struct Watch {
    started: Instant,
    ends: Vec<Duration>,
}

impl Watch {
    fn start() -> Self {
        Self {
            started: Instant::now(),
            ends: Vec::with_capacity(STEPS.len()),
        }
    }

    /// A step ended.
    fn lap(&mut self) {
        self.ends.push(self.started.elapsed());
    }

    fn laps(self) -> Laps {
        let mut begun = Duration::ZERO;
        let mut laps = vec![lap(TOTAL, self.ends.last().copied().unwrap_or_default())];
        for (step, end) in STEPS.iter().zip(self.ends) {
            laps.push(lap(*step, whole_micros(end.saturating_sub(begun))));
            begun = end;
        }
        laps
    }
}

/// Cut off as the pipeline's own stage times are.
fn whole_micros(time: Duration) -> Duration {
    Duration::from_micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}
