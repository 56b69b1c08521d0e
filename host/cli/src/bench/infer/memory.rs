//! The memory of one pipeline, and of two on the same model.

use hotshoe_base::resident;

use crate::bench::lines::{RECOGNISER, first_line};
use crate::bench::report::{Row, Unit};
use crate::bench::setting::{Setting, process, sample};

/// Most that two pipelines may hold, of what one holds.
const TARGET: f64 = 1.1;

/// Loads a release twice; each pipeline reads a line, so that all that it needs is there. No row where the system does not tell.
pub fn memory(setting: &Setting<'_>) -> anyhow::Result<Vec<Row>> {
    let line = sample(&first_line(setting)?);
    let load = || {
        let (_, pipeline) = setting.load(RECOGNISER)?;
        let mut worker = pipeline.worker();
        process(&mut worker, &line)?;
        anyhow::Ok((pipeline, worker))
    };
    // What loading needs for a moment the allocator keeps for the next one, so a first load is let go and not counted.
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
