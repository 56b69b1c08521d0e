//! One model on all sides: Hotshoe with each backend and with its own choice, and ONNX Runtime's own package.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_infer::{BackendChoice, Model, ModelOptions, Models, Options, OrtOptions, Tensor};
use hotshoe_trust::Digest;

use super::AUTO_TARGET;
use super::peer::Peer;
use super::subject::BenchModel;
use crate::report::{Row, Unit};
use hotshoe_release::terminal::Terminal;

/// Approximate duration of a turn of the slowest side, so that background work of the side before has ended.
const TURN: Duration = Duration::from_millis(20);
/// Most runs in one turn.
const MAX_RUNS: usize = 50;
/// Runs of each backend before the automatic selection.
const TRIES: usize = 9;
/// Outputs must have at least this cosine similarity, or differ by no more than [`MAX_DIFFERENCE`]; otherwise the sides do
/// not do the same work.
const MIN_COSINE: f64 = 0.9999;
/// If all probabilities are near 0, approximations of the sigmoid function differ in their direction.
const MAX_DIFFERENCE: f32 = 1e-3;

/// One side: runs once unmeasured and then the given number of times, and returns the time of each run.
pub(super) type Turn<'a> = Box<dyn FnMut(usize) -> anyhow::Result<Vec<Duration>> + 'a>;

/// All times of one side.
#[derive(Debug, Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    pub(super) const fn of(times: Vec<Duration>) -> Self {
        Self(times)
    }

    /// The quantile `part` in microseconds.
    fn within(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        let at = (last as f64 * part).round() as usize;
        sorted
            .get(at)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }

    /// The median in microseconds.
    pub(super) fn median(&self) -> f64 {
        self.within(0.5)
    }

    /// The 95th percentile in microseconds.
    pub(super) fn p95(&self) -> f64 {
        self.within(0.95)
    }
}

/// The runs of one turn, as the slowest side needs them.
pub(super) fn runs_in_a_turn(sides: &mut [Turn<'_>]) -> anyhow::Result<usize> {
    let mut slowest = Duration::ZERO;
    for side in sides.iter_mut() {
        slowest = slowest.max(side(1)?.into_iter().max().unwrap_or_default());
    }
    let fitting = TURN.as_nanos() / slowest.as_nanos().max(1);
    let runs = usize::try_from(fitting).unwrap_or(MAX_RUNS);
    Ok(runs.clamp(1, MAX_RUNS))
}

/// Runs the sides alternately, each round starting with another one.
pub(super) fn take_turns(sides: &mut [Turn<'_>], rounds: usize) -> anyhow::Result<Vec<Times>> {
    let runs = runs_in_a_turn(sides)?;
    let mut all: Vec<Times> = sides.iter().map(|_| Times::default()).collect();
    for round in 0..rounds {
        let count = sides.len();
        let order = (0..count).map(|at| (at + round) % count);
        for at in order {
            let (Some(side), Some(times)) = (sides.get_mut(at), all.get_mut(at)) else {
                continue;
            };
            times.0.extend(side(runs)?);
        }
    }
    Ok(all)
}

/// Measures runs of a model.
pub(super) fn run_model(
    model: &Model,
    inputs: &[(&str, &Tensor)],
    times: usize,
) -> anyhow::Result<Vec<Duration>> {
    model.run(inputs)?;
    (0..times)
        .map(|_| {
            let started = Instant::now();
            std::hint::black_box(model.run(inputs)?);
            Ok(started.elapsed())
        })
        .collect()
}

/// Loads a model that is not shared.
pub(super) fn load(
    subject: &BenchModel,
    backend: BackendChoice,
    threads: usize,
    ort: &OrtOptions,
) -> anyhow::Result<Arc<Model>> {
    let options = ModelOptions {
        backend,
        threads,
        ..ModelOptions::default()
    };
    load_with(subject, &options, ort)
}

/// Loads a model that is not shared, with these options.
pub(super) fn load_with(
    subject: &BenchModel,
    options: &ModelOptions,
    ort: &OrtOptions,
) -> anyhow::Result<Arc<Model>> {
    let own = Options::default();
    let models = Models::new(Options {
        ort: ort.clone(),
        pool: own.pool.max(options.max_runs.unwrap_or(1)),
        ..own
    });
    let model = models.load(Digest::of(&subject.bytes), &subject.bytes, options);
    model.with_context(|| format!("cannot load {} for {}", subject.name, options.backend))
}

/// Selects the faster backend, as a device does after its self-tests.
fn choose(model: &Model, subject: &BenchModel) -> anyhow::Result<()> {
    let mut best = None;
    for backend in model.backends() {
        model.use_backend(backend);
        let time = Times(run_model(model, &subject.borrowed(), TRIES)?).median();
        if best.is_none_or(|(_, fastest)| time < fastest) {
            best = Some((backend, time));
        }
    }
    if let Some((backend, _)) = best {
        model.settle(backend);
    }
    Ok(())
}

/// One side of Hotshoe.
struct Ours {
    name: String,
    target: Option<f64>,
    model: Arc<Model>,
}

/// The rows of one model with `threads` threads.
pub(super) fn compare(
    subject: &BenchModel,
    threads: usize,
    ort: &OrtOptions,
    mut peer: Option<&mut Peer>,
    rounds: usize,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let ours = ours(subject, threads, ort, terminal)?;
    if let Some(peer) = peer.as_deref_mut() {
        let expected = peer.load(subject, threads)?.outputs;
        for side in &ours {
            agrees(&side.model, subject, &expected)
                .with_context(|| format!("{} differs", side.name))?;
        }
    }
    let mut turns: Vec<Turn<'_>> = Vec::new();
    turns.extend(ours.iter().map(|side| turn(side, subject)));
    let theirs = peer.as_ref().map(|peer| peer.name().to_owned());
    if let Some(peer) = peer.as_deref_mut() {
        turns.push(Box::new(|times| peer.run(subject, times)));
    }
    let mut times = take_turns(&mut turns, rounds)?;
    drop(turns);
    if let Some(peer) = peer {
        peer.drop_session(subject)?;
    }
    let reference = match theirs {
        Some(name) => times.pop().map(|times| (name, times)),
        None => None,
    };
    let title = format!("{}, {}", subject.name, thread_text(threads));
    let mut rows = rows(&title, &ours, &times, reference);
    rows.extend(against_better(&title, subject, &ours, &times, rounds)?);
    Ok(rows)
}

fn turn<'a>(side: &'a Ours, subject: &'a BenchModel) -> Turn<'a> {
    Box::new(|times| run_model(&side.model, &subject.borrowed(), times))
}

/// `auto` against the better backend. No row if a side is left out.
fn against_better(
    title: &str,
    subject: &BenchModel,
    ours: &[Ours],
    times: &[Times],
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let ([tract, ort, auto], [of_tract, of_ort, _]) = (ours, times) else {
        return Ok(Vec::new());
    };
    let is_tract = of_tract.median() <= of_ort.median();
    let better = if is_tract { tract } else { ort };
    let turns = [auto, better, better].map(|side| turn(side, subject));
    super::auto::bounds(title, &better.name, turns, rounds)
}

/// Hotshoe with each backend and with `auto`. A backend that cannot load the model is reported and left out.
fn ours(
    subject: &BenchModel,
    threads: usize,
    ort: &OrtOptions,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Ours>> {
    let mut ours = Vec::new();
    for choice in [
        BackendChoice::Tract,
        BackendChoice::Ort,
        BackendChoice::Auto,
    ] {
        let model = match load(subject, choice, threads, ort) {
            Ok(model) => model,
            Err(error) => {
                terminal.note(format!(
                    "left out: {} with {choice}: {error:#}",
                    subject.name
                ));
                continue;
            }
        };
        let (mut name, mut target) = (choice.to_string(), None);
        if choice == BackendChoice::Auto {
            choose(&model, subject)?;
            name = format!("auto ({})", model.backend());
            target = Some(AUTO_TARGET);
        }
        ours.push(Ours {
            name,
            target,
            model,
        });
    }
    Ok(ours)
}

/// A row for each side and one for the baseline.
fn rows(
    title: &str,
    ours: &[Ours],
    times: &[Times],
    reference: Option<(String, Times)>,
) -> Vec<Row> {
    let alone = |name: &str, times: &Times| {
        Row::alone(
            &format!("{title}: {name}"),
            Unit::Millis,
            times.median(),
            None,
        )
    };
    let mut rows = Vec::new();
    for (side, times) in ours.iter().zip(times) {
        let row = match &reference {
            Some((against, theirs)) => Row::compared(
                &format!("{title}: {}", side.name),
                Unit::Millis,
                times.median(),
                (against, theirs.median()),
                side.target,
            ),
            None => alone(&side.name, times),
        };
        rows.push(row.with_p95(times.p95()));
    }
    if let Some((name, times)) = &reference {
        rows.push(alone(name, times).with_p95(times.p95()));
    }
    rows
}

fn thread_text(threads: usize) -> String {
    match threads {
        1 => "1 thread".to_owned(),
        more => format!("{more} threads"),
    }
}

/// Checks that both sides return the same outputs.
fn agrees(
    model: &Model,
    subject: &BenchModel,
    expected: &[(String, Vec<u8>)],
) -> anyhow::Result<()> {
    for (name, tensor) in model.run(&subject.borrowed())? {
        let found = tensor.as_f32()?;
        let expected = expected.iter().find(|(other, _)| *other == name);
        let (_, bytes) =
            expected.with_context(|| format!("only one side has the output {name}"))?;
        let expected: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let cosine = cosine(found, &expected);
        let pairs = found.iter().zip(&expected);
        let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        ensure!(
            found.len() == expected.len() && (cosine >= MIN_COSINE || off <= MAX_DIFFERENCE),
            "the output {name} of {} differs by {off}, with a cosine of {cosine}",
            subject.name
        );
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths == 0.0 {
        return f64::from(u8::from(a == b));
    }
    dot(a, b) / lengths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;

    #[test]
    fn all_sides_run_equally_often_and_each_is_first_in_its_turn() {
        let order = std::cell::RefCell::new(String::new());
        let side = |name: char| -> Turn<'_> {
            let order = &order;
            Box::new(move |times| {
                order.borrow_mut().push(name);
                Ok(vec![Duration::from_millis(8); times])
            })
        };
        let mut sides = [side('a'), side('b'), side('c')];
        let times = take_turns(&mut sides, 3).unwrap();
        drop(sides);
        assert_eq!(*order.borrow(), "abcabcbcacab");
        // Two runs of 8 ms fill a turn.
        assert!(times.iter().all(|times| times.0.len() == 6));
        assert_eq!(times[0].median(), 8000.0);
    }

    #[test]
    fn p95_is_what_nineteen_of_twenty_stay_within() {
        let times = Times((0..=20).map(Duration::from_micros).collect());
        assert_eq!((times.median(), times.p95()), (10.0, 19.0));
    }
}
