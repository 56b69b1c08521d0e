//! Measures two models on the same samples, alternately.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::nearest_rank;
use hotshoe_devkit::Progress;
use hotshoe_infer::{
    Backend, BackendChoice, Model, ModelOptions, Models, Options, OrtOptions, Tensor,
};
use hotshoe_trust::Digest;
use serde::Serialize;

use super::agreement::{Agreement, Tally};
use super::report::many;
use super::samples::Sample;
use super::{ModelError, memory, read_model};

/// A model that takes longer by this factor is slower; less is chance.
pub(super) const SLOWER: f64 = 1.05;

/// A model file and its backend.
#[derive(Debug, Clone)]
pub(super) struct Side {
    /// The ONNX file.
    pub file: PathBuf,
    /// The path in messages: where the file will be, if it is still temporary.
    pub title: PathBuf,
    /// `None`: tract if it can, else ONNX Runtime.
    pub backend: Option<Backend>,
}

/// The settings of a comparison.
#[derive(Debug)]
pub(super) struct Settings {
    /// Timed runs per model.
    pub runs: usize,
    /// Threads per run.
    pub threads: usize,
    /// Outputs whose last axis is classes.
    pub classes: BTreeSet<String>,
    /// Whether the samples are noise.
    pub synthetic: bool,
    /// The most by which the agreement may be below 1.
    pub max_drop: Option<f64>,
    pub ort: OrtOptions,
}

/// The result of a comparison.
#[derive(Debug, Serialize)]
pub(super) struct Comparison {
    pub first: MeasuredModel,
    pub second: MeasuredModel,
    pub samples: usize,
    /// Whether the samples are noise, which says little about agreement.
    pub synthetic: bool,
    /// Timed runs per model, alternating, after both ran every sample once.
    pub runs: usize,
    pub outputs: Vec<Agreement>,
    /// The median time of the second model relative to that of the first.
    pub time_ratio: f64,
    /// 1 minus the lowest agreement of the outputs.
    pub drop: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drop: Option<f64>,
    /// Whether the drop is within the limit and there is no other problem.
    pub passed: bool,
    /// A problem whatever the drop: values that are not numbers, or nothing to compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The measurements of one model.
#[derive(Debug, Serialize)]
pub(super) struct MeasuredModel {
    pub file: PathBuf,
    pub backend: Backend,
    pub provider: String,
    /// The size on disk.
    pub bytes: u64,
    /// The growth of the resident memory of a new process, whose backend has run another model, from before it reads the file to
    /// after its first run.
    pub memory_bytes: Option<u64>,
    pub p50_ms: f64,
    pub p95_ms: f64,
}

/// Loads a model on its backend. Returns it with its size on disk in bytes.
pub(super) fn load(
    side: &Side,
    threads: usize,
    ort: &OrtOptions,
) -> anyhow::Result<(Arc<Model>, u64)> {
    let bytes = read_model(&side.file)?;
    let size = bytes.len() as u64;
    let digest = Digest::of(&bytes);
    let models = Models::new(Options {
        ort: ort.clone(),
        ..Options::default()
    });
    let with = |backend| {
        let options = ModelOptions {
            backend,
            threads,
            ..ModelOptions::default()
        };
        models.load(digest, &bytes, &options)
    };
    let (backend, loaded) = match side.backend {
        Some(Backend::Ort) => (Backend::Ort, with(BackendChoice::Ort)),
        Some(Backend::Tract) => (Backend::Tract, with(BackendChoice::Tract)),
        // The error of tract is more useful than that of a missing ONNX Runtime.
        None => match with(BackendChoice::Tract) {
            Ok(model) => (Backend::Tract, Ok(model)),
            Err(error) => (Backend::Tract, with(BackendChoice::Ort).map_err(|_| error)),
        },
    };
    let model = loaded.map_err(|source| ModelError::Load {
        path: side.title.clone(),
        backend: backend.to_string(),
        source,
    })?;
    Ok((model, size))
}

/// Runs both models on all samples, then times them alternately.
pub(super) fn compare(
    sides: [&Side; 2],
    models: [&(Arc<Model>, u64); 2],
    samples: &[Sample],
    settings: &Settings,
    progress: &Progress,
) -> anyhow::Result<Comparison> {
    let [first, second] = models.map(|(model, _)| model);
    check_inputs(first, second)?;
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    for sample in samples {
        let a = run(sides[0], first, sample)?.0;
        let b = run(sides[1], second, sample)?.0;
        tally(&mut tallies, &a, &b, &settings.classes)?;
    }
    let task = progress.bar("timing both models alternately", settings.runs as u64);
    let mut times = [Vec::new(), Vec::new()];
    for (round, sample) in (0..settings.runs).zip(samples.iter().cycle()) {
        task.at(round as u64);
        // The first one alternates, so that a busy moment affects both.
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for position in order {
            let (Some(model), Some(side)) = (models.get(position), sides.get(position)) else {
                continue;
            };
            let (_, time) = run(side, &model.0, sample)?;
            if let Some(times) = times.get_mut(position) {
                times.push(time);
            }
        }
    }
    task.done(&format!("{} of each", many(settings.runs, "run")));
    let outputs: Vec<Agreement> = tallies.into_values().map(Tally::finish).collect();
    let least = outputs.iter().map(|it| it.agreement).fold(1.0, f64::min);
    let [first_times, second_times] = times;
    let drop = 1.0 - least;
    let problem = problem(&outputs);
    let first = measured(sides[0], models[0], first_times, samples, settings)?;
    let second = measured(sides[1], models[1], second_times, samples, settings)?;
    Ok(Comparison {
        time_ratio: if first.p50_ms > 0.0 {
            second.p50_ms / first.p50_ms
        } else {
            1.0
        },
        first,
        second,
        samples: samples.len(),
        synthetic: settings.synthetic,
        runs: settings.runs,
        outputs,
        drop,
        max_drop: settings.max_drop,
        passed: problem.is_none() && settings.max_drop.is_none_or(|most| drop <= most),
        problem,
    })
}

/// A problem that the agreement does not show.
fn problem(outputs: &[Agreement]) -> Option<String> {
    if let Some(odd) = outputs.iter().find(|output| output.not_finite > 0) {
        let (count, name) = (odd.not_finite, &odd.output);
        return Some(format!(
            "{count} elements of output {name} are not numbers, or infinite in only one model"
        ));
    }
    let nothing = outputs.iter().all(|output| output.elements == 0);
    nothing.then(|| "all outputs are empty, so nothing was compared".to_owned())
}

fn measured(
    side: &Side,
    (model, bytes): &(Arc<Model>, u64),
    times: Vec<Duration>,
    samples: &[Sample],
    settings: &Settings,
) -> anyhow::Result<MeasuredModel> {
    let backend = model.backend();
    let memory_bytes = match samples.first() {
        Some(sample) => memory::measure(side, backend, sample, settings.threads, &settings.ort)?,
        None => None,
    };
    Ok(MeasuredModel {
        file: side.title.clone(),
        backend,
        provider: model.provider(),
        bytes: *bytes,
        memory_bytes,
        p50_ms: quantile(&times, 50),
        p95_ms: quantile(&times, 95),
    })
}

fn run(
    side: &Side,
    model: &Model,
    sample: &Sample,
) -> Result<(Vec<(String, Tensor)>, Duration), ModelError> {
    let inputs = sample.inputs();
    let started = Instant::now();
    let outputs = model.run(&inputs);
    let time = started.elapsed();
    match outputs {
        Ok(outputs) => Ok((outputs, time)),
        Err(source) => Err(ModelError::Run {
            path: side.title.clone(),
            sample: sample.name.clone(),
            source,
        }),
    }
}

fn check_inputs(first: &Model, second: &Model) -> Result<(), ModelError> {
    let names = |model: &Model| -> BTreeSet<String> {
        model.inputs().iter().map(|it| it.name.clone()).collect()
    };
    let (first, second) = (names(first), names(second));
    if first == second {
        return Ok(());
    }
    Err(different("inputs", joined(first), joined(second)))
}

/// Checks that the model has the named outputs.
pub(super) fn check_classes(model: &Model, classes: &BTreeSet<String>) -> Result<(), ModelError> {
    let known = || model.outputs().iter().map(|it| &it.name);
    match classes.iter().find(|name| !known().any(|it| it == *name)) {
        None => Ok(()),
        Some(name) => Err(ModelError::UnknownOutput {
            name: name.clone(),
            known: known().cloned().collect(),
        }),
    }
}

fn tally(
    tallies: &mut BTreeMap<String, Tally>,
    first: &[(String, Tensor)],
    second: &[(String, Tensor)],
    classes: &BTreeSet<String>,
) -> Result<(), ModelError> {
    let names = |outputs: &[(String, Tensor)]| -> BTreeSet<String> {
        outputs.iter().map(|(name, _)| name.clone()).collect()
    };
    if names(first) != names(second) {
        let (first, second) = (joined(names(first)), joined(names(second)));
        return Err(different("outputs", first, second));
    }
    for (name, a) in first {
        let Some((_, b)) = second.iter().find(|(other, _)| other == name) else {
            continue;
        };
        let tally = tallies
            .entry(name.clone())
            .or_insert_with(|| Tally::new(name, classes));
        tally
            .add(a, b)
            .map_err(|(a, b)| different("outputs' types or shapes", format!("{name} is {a}"), b))?;
    }
    Ok(())
}

fn different(what: &'static str, first: String, second: String) -> ModelError {
    ModelError::Different {
        what,
        first,
        second,
    }
}

fn joined(names: BTreeSet<String>) -> String {
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// The percentile by nearest rank, in milliseconds; 0 without times.
fn quantile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    nearest_rank(&sorted, percent).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_nearest_rank() {
        let times: Vec<Duration> = (1..=20).map(Duration::from_millis).collect();
        assert!((quantile(&times, 50) - 10.0).abs() < 1e-9);
        assert!((quantile(&times, 95) - 19.0).abs() < 1e-9);
        assert!((quantile(times.get(..1).unwrap_or_default(), 95) - 1.0).abs() < 1e-9);
        assert!(quantile(&[], 50).abs() < 1e-9);
    }
}
