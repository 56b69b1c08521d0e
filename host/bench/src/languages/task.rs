//! The input of a template: the sample of its own test.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_author::manifest::Manifest;
use hotshoe_engine::{Action, Failure, Insight, Instance, Sample};
use hotshoe_infer::{Tensor, npz};
use hotshoe_pipeline::Expectation;
use hotshoe_trust::World;
use hotshoe_trust::release_toml::TestOn;

use crate::calls;

/// A call of a component.
pub(super) enum Task {
    Prepare(Sample),
    Interpret(Sample, Vec<(String, Tensor)>),
    Decide(Insight),
    Process(Sample),
}

/// The result of a call.
pub(super) enum Answer {
    Tensors(Vec<(String, Tensor)>),
    Insight(Insight),
    Actions(Vec<Action>),
}

impl Answer {
    /// The same bytes for the same answer.
    pub(super) fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        Ok(match self {
            Self::Tensors(tensors) => npz::to_bytes(tensors)?,
            Self::Insight(insight) => serde_json::to_vec(insight)?,
            Self::Actions(actions) => serde_json::to_vec(actions)?,
        })
    }
}

impl Task {
    /// The first test of a project.
    pub(super) fn read(world: World, manifest: &Path) -> anyhow::Result<Self> {
        let release = Manifest::read(manifest)?.release;
        let test = release.tests.first().map(|test| &test.on);
        let Some(TestOn::Sample {
            sample,
            content_type,
            ..
        }) = test
        else {
            bail!("{} has no test with a sample", manifest.display());
        };
        let path = manifest.with_file_name(sample);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let sample = |content_type: &str, payload: &[u8]| Sample {
            id: "bench".to_owned(),
            source: "bench".to_owned(),
            content_type: content_type.to_owned(),
            timestamp_us: 0,
            payload: Arc::from(payload),
        };
        Ok(match world {
            World::Preprocessor => Self::Prepare(sample(content_type, &bytes)),
            World::Stage => Self::Process(sample(content_type, &bytes)),
            World::Policy => Self::Decide(Expectation::parse(&bytes)?.insight),
            World::Filter | World::Governor => bail!("no template is a {world}"),
            World::Postprocessor => {
                let (with, outputs): (Vec<_>, Vec<_>) = npz::read(&bytes, npz::Limits::SAMPLE)?
                    .into_iter()
                    .partition(|(name, _)| [npz::SAMPLE, npz::SAMPLE_TYPE].contains(&&**name));
                let part = |wanted| {
                    let found = with.iter().find(|(name, _)| name == wanted);
                    found.map_or(Ok(&[][..]), |(_, tensor)| tensor.as_u8())
                };
                let content_type = String::from_utf8_lossy(part(npz::SAMPLE_TYPE)?);
                Self::Interpret(sample(&content_type, part(npz::SAMPLE)?), outputs)
            }
        })
    }

    /// Calls the instance and measures the time.
    pub(super) fn call(&self, instance: &mut Instance) -> anyhow::Result<(Duration, Answer)> {
        match self {
            Self::Prepare(sample) => timed(|| instance.prepare(sample).map(Answer::Tensors)),
            Self::Process(sample) => timed(|| instance.process(sample).map(Answer::Insight)),
            Self::Interpret(sample, outputs) => {
                let outputs = outputs.clone();
                timed(|| instance.interpret(sample, outputs).map(Answer::Insight))
            }
            Self::Decide(insight) => {
                let device = calls::device();
                timed(|| {
                    let actions = instance.decide("bench", insight, &device);
                    actions.map(Answer::Actions)
                })
            }
        }
    }
}

fn timed(run: impl FnOnce() -> Result<Answer, Failure>) -> anyhow::Result<(Duration, Answer)> {
    let started = Instant::now();
    let answer = run();
    Ok((started.elapsed(), answer?))
}
