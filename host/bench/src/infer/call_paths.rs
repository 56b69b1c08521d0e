//! The same model called directly, by a pipeline step, and by a component through `infer` and through `wasi:nn`.

use std::sync::Arc;

use anyhow::Context;
use hotshoe_engine::Sample;
use hotshoe_pipeline::{Pipeline, Worker};

use super::sides::{Turn, run_model, take_turns};
use super::subject::BenchModel;
use crate::lines::first_line;
use crate::report::{Row, Unit};
use crate::setup::{BenchSetup, TOTAL, process, sample};
use crate::timings::Timings;

/// The model, by its name in the releases and here.
pub(super) const MODEL: &str = "classify-angle";
/// A release with the model as a pipeline step.
pub(super) const STEP: &str = "classify-angle.toml";
/// A release whose component calls the model by `infer`.
const BY_INFER: &str = "classify-angle-infer.toml";
/// A release whose component calls the model by `wasi:nn`.
const BY_NN: &str = "classify-angle-nn.toml";

/// All rows.
pub(super) fn call_paths(
    setup: &BenchSetup<'_>,
    subjects: &[BenchModel],
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let subject = subject(subjects)?;
    let line = sample(&first_line(setup)?);
    let [step, infer, nn] = [STEP, BY_INFER, BY_NN].map(|file| setup.load(file));
    let (step, infer, nn) = (step?.1, infer?.1, nn?.1);
    let model = model(&step)?;
    let mut workers = [step.worker(), step.worker(), infer.worker(), nn.worker()];
    let [by_step, whole_step, by_infer, by_nn] = &mut workers;
    let mut turns: [Turn<'_>; 5] = [
        Box::new(|times| run_model(&model, &subject.borrowed(), times)),
        through(by_step, &line, MODEL),
        through(whole_step, &line, TOTAL),
        through(by_infer, &line, TOTAL),
        through(by_nn, &line, TOTAL),
    ];
    let times = take_turns(&mut turns, rounds)?;
    let [direct, step, whole, infer, nn] = times.as_slice() else {
        return Ok(Vec::new());
    };
    let row =
        |name: &str, ours: &super::sides::Times, against: &str, theirs: &super::sides::Times| {
            let against = (against, theirs.median());
            Row::compared(name, Unit::Micros, ours.median(), against, None).with_p95(ours.p95())
        };
    Ok(vec![
        row(
            "way: a pipeline's step",
            step,
            "the model called directly",
            direct,
        ),
        row(
            "way: a component by infer, whole sample",
            infer,
            "a pipeline with the step",
            whole,
        ),
        row(
            "way: a component by wasi:nn, whole sample",
            nn,
            "a component by infer",
            infer,
        ),
    ])
}

/// The model that the releases contain.
pub(super) fn subject(subjects: &[BenchModel]) -> anyhow::Result<&BenchModel> {
    subjects
        .iter()
        .find(|subject| subject.name == MODEL)
        .with_context(|| format!("there is no {MODEL}"))
}

fn model(pipeline: &Pipeline) -> anyhow::Result<Arc<hotshoe_infer::Model>> {
    let named = pipeline.models().get(MODEL);
    let named = named.with_context(|| format!("{STEP} has no model {MODEL}"))?;
    Ok(Arc::clone(named.active()))
}

/// Runs samples and returns the time `name` of each.
fn through<'a>(worker: &'a mut Worker, line: &'a Sample, name: &'a str) -> Turn<'a> {
    Box::new(move |times| {
        process(worker, line)?;
        (0..times)
            .map(|_| {
                let (_, timings): (_, Timings) = process(worker, line)?;
                let found = timings.into_iter().find(|(stage, _)| stage == name);
                let (_, time) =
                    found.with_context(|| format!("no time was measured for {name}"))?;
                Ok(time)
            })
            .collect()
    })
}
