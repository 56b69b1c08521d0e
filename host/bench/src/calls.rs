//! The cost of one instance and one call against wasmtime's own, without any work in the component.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_config::default_allowed;
use hotshoe_engine::{
    BarePolicy, Class, Component, ComponentAssets, DeviceContext, Engine, Insight, Instance,
};
use hotshoe_infer::Tensor;

use super::report::{Row, Unit};
use super::setup::{BenchSetup, sample};
use super::timings::median;

/// A release that contains the component.
pub(crate) const RELEASE: &str = "classify-angle.toml";
/// A policy that publishes everything.
pub(crate) const COMPONENT: &str = "empty-policy";
/// A postprocessor that reads one tensor and returns two classes.
const POSTPROCESSOR: &str = "classify-angle-post";
/// Highest accepted ratio of an instance to wasmtime's own `instantiate` of the same code in the same pool.
const INSTANCE_TARGET: f64 = 1.4;
/// Highest accepted ratio of a call to wasmtime's own typed call.
const CALL_TARGET: f64 = 2.0;
/// Instances in one batch. A batch takes a few milliseconds, far above the resolution of the clock.
const INSTANCES: u32 = 500;
/// Calls in one batch.
const CALLS: u32 = 5000;

/// Measures both in `batches` batches.
pub(crate) fn calls(setup: &BenchSetup<'_>, batches: usize) -> anyhow::Result<Vec<Row>> {
    let component = component(setup, &setup.engine, RELEASE, COMPONENT)?;
    let (insight, device) = (insight(), device());
    let bare = BarePolicy::of(&component)?;
    let [instance, bare_instance] = per_run(
        batches,
        INSTANCES,
        || {
            let mut instance = Instance::new(Arc::clone(&component));
            Ok(instance.warm_up()?)
        },
        || {
            std::hint::black_box(bare.instantiate(&insight, &device)?);
            Ok(())
        },
    )?;
    let mut instance_of_all = Instance::new(Arc::clone(&component));
    let mut bare_of_all = bare.instantiate(&insight, &device)?;
    let [call, bare_call] = per_run(
        batches,
        CALLS,
        || {
            let actions = instance_of_all.decide("bench", &insight, &device)?;
            std::hint::black_box(actions);
            Ok(())
        },
        || {
            std::hint::black_box(bare_of_all.decide()?);
            Ok(())
        },
    )?;
    let mut postprocessor = Instance::new(self::component(
        setup,
        &setup.engine,
        RELEASE,
        POSTPROCESSOR,
    )?);
    let (given, scores) = (sample(&[]), Tensor::from_f32(&[1, 2], vec![0.9, 0.1])?);
    let [post, policy] = per_run(
        batches,
        CALLS,
        || {
            let outputs = vec![("scores".to_owned(), scores.clone())];
            std::hint::black_box(postprocessor.interpret(&given, outputs)?);
            Ok(())
        },
        || {
            let actions = instance_of_all.decide("bench", &insight, &device)?;
            std::hint::black_box(actions);
            Ok(())
        },
    )?;
    Ok(vec![
        Row::compared(
            "an instance, made and dropped",
            Unit::Micros,
            instance,
            ("wasmtime alone", bare_instance),
            Some(INSTANCE_TARGET),
        ),
        Row::compared(
            "an empty policy call",
            Unit::Micros,
            call,
            ("wasmtime alone", bare_call),
            Some(CALL_TARGET),
        ),
        // In a pipeline it takes many times as long, since the model has filled the caches.
        Row::compared(
            "a postprocessor's call, repeated",
            Unit::Micros,
            post,
            ("an empty policy call", policy),
            None,
        ),
    ])
}

/// Loads a component of a release. It needs no model and no data.
pub(crate) fn component(
    setup: &BenchSetup<'_>,
    engine: &Engine,
    file: &str,
    name: &str,
) -> anyhow::Result<Arc<Component>> {
    let (layout, release) = setup.verified(file)?;
    let spec = release
        .components
        .get(name)
        .with_context(|| format!("{file} has no {name}"))?;
    let bytes = layout.read(&spec.blob)?;
    let component = engine.prepare(
        &release,
        name,
        &bytes,
        &ComponentAssets::default(),
        &default_allowed(),
    )?;
    Ok(Arc::new(component))
}

/// The medians over all batches of the mean time of one run, in microseconds. The two sides alternate.
fn per_run(
    batches: usize,
    runs: u32,
    mut ours: impl FnMut() -> anyhow::Result<()>,
    mut theirs: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<[f64; 2]> {
    fn batch(runs: u32, run: &mut impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
        let started = Instant::now();
        for _ in 0..runs {
            run()?;
        }
        Ok(started.elapsed())
    }
    // The first batch of each side fills caches.
    batch(runs, &mut ours)?;
    batch(runs, &mut theirs)?;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..batches {
        let [first, second] = &mut times;
        first.push(batch(runs, &mut ours)?);
        second.push(batch(runs, &mut theirs)?);
    }
    let per_run = |times: &[Duration]| {
        let batch = median(times).context("there were no batches")?;
        anyhow::Ok(batch / f64::from(runs))
    };
    let [ours, theirs] = &times;
    Ok([per_run(ours)?, per_run(theirs)?])
}

/// The input of the policy.
pub(crate) fn insight() -> Insight {
    let class = |label: &str, index, score| Class {
        label: label.to_owned(),
        index,
        score,
    };
    Insight::Classes {
        classes: vec![class("0", 0, 0.9), class("180", 1, 0.1)],
    }
}

/// The device that a bench simulates.
pub(crate) fn device() -> DeviceContext {
    DeviceContext {
        site: "bench".to_owned(),
        device: "bench".to_owned(),
        labels: Vec::new(),
        generation: 1,
        sample_time_us: 0,
    }
}
