//! The cost of each memory mode against `guard`: the same components, compiled for each mode.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use hotshoe_engine::{
    Component, DeviceContext, Engine, EngineError, EngineOptions, Insight, Instance, MemoryMode,
    Sample,
};
use hotshoe_infer::Tensor;

use super::calls;
use super::page::PAGE;
use super::report::{Row, Unit};
use super::setup::{BenchSetup, sample};
use super::timings::{Timings, alternate, timing};
use hotshoe_release::terminal::Terminal;

/// The names of the measurements.
const INSTANCE: &str = "an instance, made and dropped";
const CALL: &str = "an empty policy call";
const WORK: &str = "boxes in a map of 640 x 640";
/// The component of the third measurement and its release.
const WORKER: &str = "detect-text-post";
const RELEASE: &str = "detect.toml";
/// Repetitions in one round, so that a round takes far longer than the resolution of the clock.
const INSTANCES: u32 = 200;
const CALLS: u32 = 2000;
/// Width and height of the map, in pixels, and the lines of text in it.
const SIDE: usize = 640;
const LINES: usize = 20;

/// Rows for the other modes than `guard`; none if there is no address space for `guard`.
pub(crate) fn modes(
    setup: &BenchSetup<'_>,
    rounds: usize,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Row>> {
    let mut guard = match Side::new(setup, MemoryMode::Guard)? {
        Ok(guard) => guard,
        Err(why) => {
            terminal.note(format!("left out: the rows of memory modes: {why}"));
            return Ok(Vec::new());
        }
    };
    let mut rows = Vec::new();
    for mode in [MemoryMode::Compact, MemoryMode::OnDemand] {
        let mut side = Side::new(setup, mode)?.map_err(anyhow::Error::from)?;
        let (ours, theirs) = alternate(rounds, || side.turn(), || guard.turn())?;
        for (what, unit) in [
            (INSTANCE, Unit::Micros),
            (CALL, Unit::Micros),
            (WORK, Unit::Millis),
        ] {
            let against = ("guard", theirs.median(what)?);
            let name = format!("{mode}: {what}");
            rows.push(Row::compared(
                &name,
                unit,
                ours.median(what)?,
                against,
                None,
            ));
        }
    }
    Ok(rows)
}

/// One mode.
struct Side {
    policy: Arc<Component>,
    called: Instance,
    worker: Instance,
    insight: Insight,
    device: DeviceContext,
    page: Sample,
    map: Vec<(String, Tensor)>,
}

impl Side {
    fn new(setup: &BenchSetup<'_>, mode: MemoryMode) -> anyhow::Result<Result<Self, EngineError>> {
        let engine = match Engine::new(EngineOptions {
            memory: Some(mode),
            ..EngineOptions::default()
        }) {
            Ok(engine) => engine,
            Err(error) => return Ok(Err(error)),
        };
        let policy = calls::component(setup, &engine, calls::RELEASE, calls::COMPONENT)?;
        let worker = calls::component(setup, &engine, RELEASE, WORKER)?;
        Ok(Ok(Self {
            called: Instance::new(Arc::clone(&policy)),
            policy,
            worker: Instance::new(worker),
            insight: calls::insight(),
            device: calls::device(),
            page: sample(&setup.picture(PAGE)?),
            map: vec![("map".to_owned(), map()?)],
        }))
    }

    fn turn(&mut self) -> anyhow::Result<Timings> {
        let started = Instant::now();
        for _ in 0..INSTANCES {
            Instance::new(Arc::clone(&self.policy)).warm_up()?;
        }
        let instances = started.elapsed();
        let started = Instant::now();
        for _ in 0..CALLS {
            let actions = self.called.decide("bench", &self.insight, &self.device)?;
            std::hint::black_box(actions);
        }
        let calls = started.elapsed();
        let map = self.map.clone();
        let started = Instant::now();
        let found = self.worker.interpret(&self.page, map)?;
        let work = started.elapsed();
        let Insight::Detections { detections } = found else {
            anyhow::bail!("{WORKER} returned no detections");
        };
        let count = detections.len();
        anyhow::ensure!(count == LINES, "{WORKER} found {count} of {LINES} lines");
        Ok(vec![
            timing(INSTANCE, instances / INSTANCES),
            timing(CALL, calls / CALLS),
            timing(WORK, work),
        ])
    }
}

/// A map like that of the detector, with lines of text below each other.
fn map() -> anyhow::Result<Tensor> {
    let pitch = SIDE / LINES;
    let pixel = |at: usize| {
        let (x, y) = (at % SIDE, at / SIDE);
        let is_text = (40..SIDE - 40).contains(&x) && (8..pitch - 8).contains(&(y % pitch));
        if is_text { 0.9 } else { 0.0 }
    };
    let elements = (0..SIDE * SIDE).map(pixel).collect();
    Tensor::from_f32(&[1, 1, SIDE, SIDE], elements).context("cannot create the tensor of the map")
}
