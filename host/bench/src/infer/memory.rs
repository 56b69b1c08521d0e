//! The memory of one pipeline and of two that share a model.

use hotshoe_base::resident;

use crate::lines::{RECOGNISER, first_line};
use crate::report::{Row, Unit};
use crate::setup::{BenchSetup, process, sample};

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
