//! The memory of one pipeline and of two that share a model, and of several sessions of ONNX Runtime on one model.

use std::sync::Barrier;
use std::thread;

use anyhow::{Context, anyhow};
use hotshoe_base::resident;
use hotshoe_infer::{BackendChoice, Model, ModelOptions, OrtOptions};
use hotshoe_release::terminal::Terminal;

use crate::lines::{RECOGNISER, first_line};
use crate::report::{Row, Unit};
use crate::setup::{BenchSetup, process, sample};

use super::sides::load_with;
use super::subject::BenchModel;

/// Highest accepted ratio of the memory of two pipelines to that of one.
const TARGET: f64 = 1.1;

/// Loads a release twice; each pipeline reads a line, so that everything is allocated. No row if the system does not report
/// resident memory.
pub(super) fn memory(setup: &BenchSetup<'_>) -> anyhow::Result<Vec<Row>> {
    let line = sample(&first_line(setup)?);
    let load = || {
        let (_, pipeline) = setup.load(RECOGNISER)?;
        let mut worker = pipeline.worker();
        process(&mut worker, &line)?;
        anyhow::Ok((pipeline, worker))
    };
    // The allocator keeps the temporary memory of loading for the next load, so a first load is dropped and not counted.
    drop(load()?);
    let mut pipelines = Vec::new();
    let mut held = Vec::new();
    for _ in 0..2 {
        pipelines.push(load()?);
        held.extend(resident().map(|it| it.bytes as f64 / 1e6));
    }
    let [one, two] = held.as_slice() else {
        return Ok(Vec::new());
    };
    Ok(vec![Row::compared(
        "memory: two pipelines on one model",
        Unit::Megabytes,
        *two,
        ("one pipeline", *one),
        Some(TARGET),
    )])
}

/// Numbers of sessions that are measured.
const SESSIONS: [usize; 3] = [1, 2, 4];
/// Runs that each thread makes at the same time as the others, so that each session comes to be.
const RUNS: usize = 3;

/// What a model takes with so many runs at once on ONNX Runtime, each of which has a session. All of them stay loaded, so that none gets memory
/// that another one has left. No row without ONNX Runtime, or if the system does not report resident memory.
pub(super) fn sessions(
    subject: &BenchModel,
    ort: &OrtOptions,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let (mut held, mut models) = (Vec::new(), Vec::new());
    for most in SESSIONS {
        let options = ModelOptions {
            backend: BackendChoice::Ort,
            max_runs: Some(most),
            ..ModelOptions::default()
        };
        let before = resident();
        let model = match load_with(subject, &options, ort) {
            Ok(model) => model,
            Err(error) => {
                terminal.note(format!("left out: memory of sessions: {error:#}"));
                return Ok(Vec::new());
            }
        };
        run_at_once(&model, subject, most)?;
        models.push(model);
        let Some((before, after)) = before.zip(resident()) else {
            return Ok(Vec::new());
        };
        held.push(after.bytes.saturating_sub(before.bytes) as f64 / 1e6);
    }
    let one = *held.first().context("one session")?;
    let rows = SESSIONS.iter().zip(&held).map(|(most, held)| {
        let name = format!("memory: {}, {most} sessions", subject.name);
        Row::compared(&name, Unit::Megabytes, *held, ("one session", one), None)
    });
    Ok(rows.collect())
}

fn run_at_once(model: &Model, subject: &BenchModel, most: usize) -> anyhow::Result<()> {
    let start = Barrier::new(most);
    thread::scope(|scope| {
        let all: Vec<_> = (0..most)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..RUNS {
                        model.run(&subject.borrowed())?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        all.into_iter()
            .try_for_each(|one| one.join().map_err(|_| anyhow!("a run panicked"))?)
    })
}
