//! What one instance and one call cost, without any work in the component.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use hotshoe_daemon::default_allowed;
use hotshoe_engine::{Class, Component, DeviceContext, Insight, Instance, Parts};

use super::laps::median;
use super::report::{Row, Unit};
use super::setting::Setting;

/// A release that has the component.
const RELEASE: &str = "classify-angle.toml";
/// A policy that publishes everything.
const COMPONENT: &str = "empty-policy";
/// Most that an instance may cost, in microseconds.
const INSTANCE_TARGET: f64 = 10.0;
/// Most that a call may cost, in microseconds.
const CALL_TARGET: f64 = 2.0;
/// One batch of instances lasts a few milliseconds: far above what the clock can tell apart.
const INSTANCES: u32 = 500;
/// As above, for calls.
const CALLS: u32 = 5000;

/// Measures both in this many batches.
pub fn calls(setting: &Setting<'_>, batches: usize) -> anyhow::Result<Vec<Row>> {
    let component = component(setting)?;
    let instance = per_run(batches, INSTANCES, || {
        let mut instance = Instance::new(Arc::clone(&component));
        Ok(instance.warm_up()?)
    })?;
    let insight = insight();
    let device = device();
    let mut instance_of_all = Instance::new(component);
    let call = per_run(batches, CALLS, || {
        let actions = instance_of_all.decide("bench", &insight, &device)?;
        std::hint::black_box(actions);
        Ok(())
    })?;
    Ok(vec![
        Row::alone(
            "an instance, made and dropped",
            Unit::Micros,
            instance,
            Some(INSTANCE_TARGET),
        ),
        Row::alone(
            "an empty policy call",
            Unit::Micros,
            call,
            Some(CALL_TARGET),
        ),
    ])
}

fn component(setting: &Setting<'_>) -> anyhow::Result<Arc<Component>> {
    let (layout, pipeline) = setting.load(RELEASE)?;
    let release = pipeline.release();
    let spec = release
        .components
        .get(COMPONENT)
        .with_context(|| format!("{RELEASE} has no {COMPONENT}"))?;
    let bytes = layout.read(&spec.blob)?;
    let component = setting.engine.prepare(
        release,
        COMPONENT,
        &bytes,
        &Parts::default(),
        &default_allowed(),
    )?;
    Ok(Arc::new(component))
}

/// The median over batches of a run's mean time, in microseconds.
fn per_run(
    batches: usize,
    runs: u32,
    mut run: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut batch = || {
        let started = Instant::now();
        for _ in 0..runs {
            run()?;
        }
        anyhow::Ok(started.elapsed())
    };
    batch()?;
    let times = (0..batches)
        .map(|_| batch())
        .collect::<anyhow::Result<Vec<_>>>()?;
    let batch = median(&times).context("there were no batches")?;
    Ok(batch / f64::from(runs))
}

fn insight() -> Insight {
    let class = |label: &str, index, score| Class {
        label: label.to_owned(),
        index,
        score,
    };
    Insight::Classes {
        classes: vec![class("0", 0, 0.9), class("180", 1, 0.1)],
    }
}

/// The device that a bench pretends to run on.
pub fn device() -> DeviceContext {
    DeviceContext {
        site: "bench".to_owned(),
        device: "bench".to_owned(),
        labels: Vec::new(),
        generation: 1,
        sample_time_us: 0,
    }
}
