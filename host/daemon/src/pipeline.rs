//! One verified release, loaded: `sample -> pre (wasm) -> infer (native) -> post (wasm) -> policy (wasm) -> actions`.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_engine::{
    Action, Component, DeviceContext, Engine, Failure, Fault, Insight, Instance, Parts,
    PrepareError, Sample,
};
use hotshoe_infer::{ErrorKind, Model, Models, RunError, Tensor};
use hotshoe_trust::{Blob, Device, Digest, Grant, Release, Verified};
use serde::{Deserialize, Serialize};

use crate::latency::micros;

/// Why a release cannot serve on this device. The release that serves now goes on serving.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A blob of the release cannot be read.
    #[error("cannot read {kind} `{name}` of the release")]
    Blob {
        /// `component`, `model` or `data file`.
        kind: &'static str,
        /// Its name in the release.
        name: String,
        /// Why not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The bytes are not those that the release signed.
    #[error(
        "{kind} `{name}` of the release is damaged: it has digest {found} instead of {expected}"
    )]
    Damaged {
        /// `component`, `model` or `data file`.
        kind: &'static str,
        /// Its name in the release.
        name: String,
        /// What was signed.
        expected: Digest,
        /// What the bytes have.
        found: Digest,
    },
    /// A model cannot be loaded.
    #[error("cannot load model `{name}`")]
    Model {
        /// Its name in the release.
        name: String,
        /// Why not.
        #[source]
        source: hotshoe_infer::LoadError,
    },
    /// A component cannot be made ready.
    #[error(transparent)]
    Component(#[from] PrepareError),
    /// The pipeline names something that the release does not hold. A verified release never does.
    #[error("the pipeline names `{0}`, which the release does not hold")]
    Unknown(String),
}

impl LoadError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Blob { .. } => "unreadable_blob",
            Self::Damaged { .. } => "damaged_blob",
            Self::Model { .. } => "invalid_model",
            Self::Component(error) => error.name(),
            Self::Unknown(_) => "unknown_part",
        }
    }
}

/// A loaded release: components compiled and linked, models in memory. It is shared by all workers and never changes.
pub struct Pipeline {
    release: Verified<Release>,
    steps: Vec<Step>,
}

enum Step {
    Preprocess(Arc<Component>),
    Infer(String, Arc<Model>),
    Postprocess(Arc<Component>),
    Stage(Arc<Component>),
    Policy(Arc<Component>),
}

/// What a pipeline decided about a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The typed result.
    pub insight: Insight,
    /// What the policies decided, in the order in which they ran; `publish` alone where there is no policy.
    pub actions: Vec<Action>,
}

impl Decision {
    /// Whether the insight may leave the device: some policy published it and none dropped it.
    pub fn published(&self) -> bool {
        let dropped = |action: &Action| matches!(action, Action::Drop { .. });
        self.actions.contains(&Action::Publish) && !self.actions.iter().any(dropped)
    }
}

/// Why one sample has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stage `{stage}`: {message} ({fault})")]
pub struct SampleError {
    /// The component or model that failed, by its name in the release.
    pub stage: String,
    /// What kind of failure it was.
    pub fault: Fault,
    /// One sentence for a person.
    pub message: String,
}

/// How long one stage took for one sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTime {
    /// The component or model by its name in the release; `COMPONENT/MODEL` for a model that a component ran, whose time
    /// is part of the component's.
    pub name: String,
    /// Wall time in microseconds.
    pub micros: u64,
}

/// What became of one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The decision, or the error that the sample ended with.
    pub result: Result<Decision, SampleError>,
    /// The stages that ran, in their order, with the failing one last.
    pub stages: Vec<StageTime>,
}

impl Pipeline {
    /// Loads every part of a verified release. `read` gives the bytes of a blob, which are checked against the signed digest.
    ///
    /// # Errors
    /// [`LoadError`] names the part.
    pub fn load<E: Error + Send + Sync + 'static>(
        release: Verified<Release>,
        read: impl Fn(&Blob) -> Result<Vec<u8>, E>,
        engine: &Engine,
        models: &Models,
        allowed: &BTreeSet<Grant>,
    ) -> Result<Arc<Self>, LoadError> {
        let blob = |kind, name: &str, blob: &Blob| {
            let bytes = read(blob).map_err(|source| LoadError::Blob {
                kind,
                name: name.to_owned(),
                source: source.into(),
            })?;
            let found = Digest::of(&bytes);
            if found == blob.digest {
                Ok(bytes)
            } else {
                Err(LoadError::Damaged {
                    kind,
                    name: name.to_owned(),
                    expected: blob.digest,
                    found,
                })
            }
        };
        let mut parts = Parts::default();
        for (name, model) in &release.models {
            let bytes = blob("model", name, &model.blob)?;
            let model =
                models
                    .load(model.blob.digest, &bytes)
                    .map_err(|source| LoadError::Model {
                        name: name.clone(),
                        source,
                    })?;
            parts.models.insert(name.clone(), model);
        }
        for (name, file) in &release.data {
            let bytes = blob("data file", name, &file.blob)?;
            parts.data.insert(name.clone(), bytes.into());
        }
        let mut steps = Vec::with_capacity(release.pipeline.len());
        for step in &release.pipeline {
            use hotshoe_trust::Step as Named;
            let component = |name: &str| -> Result<Arc<Component>, LoadError> {
                let spec = release
                    .components
                    .get(name)
                    .ok_or_else(|| LoadError::Unknown(name.to_owned()))?;
                let bytes = blob("component", name, &spec.blob)?;
                Ok(Arc::new(
                    engine.prepare(&release, name, &bytes, &parts, allowed)?,
                ))
            };
            steps.push(match step {
                Named::Preprocess { component: name } => Step::Preprocess(component(name)?),
                Named::Postprocess { component: name } => Step::Postprocess(component(name)?),
                Named::Stage { component: name } => Step::Stage(component(name)?),
                Named::Policy { component: name } => Step::Policy(component(name)?),
                Named::Infer { model: name } => match parts.models.get(name) {
                    Some(model) => Step::Infer(name.clone(), Arc::clone(model)),
                    None => return Err(LoadError::Unknown(name.clone())),
                },
            });
        }
        Ok(Arc::new(Self { release, steps }))
    }

    /// The release that this is.
    pub const fn release(&self) -> &Verified<Release> {
        &self.release
    }

    /// A worker with its own instance of every component, for one thread.
    pub fn worker(self: &Arc<Self>) -> Worker {
        let instance = |component: &Arc<Component>| Instance::new(Arc::clone(component));
        let steps = self
            .steps
            .iter()
            .map(|step| match step {
                Step::Preprocess(component) => Ready::Preprocess(instance(component)),
                Step::Infer(name, model) => Ready::Infer(name.clone(), Arc::clone(model)),
                Step::Postprocess(component) => Ready::Postprocess(instance(component)),
                Step::Stage(component) => Ready::Stage(instance(component)),
                Step::Policy(component) => Ready::Policy(instance(component)),
            })
            .collect();
        Worker {
            pipeline: Arc::clone(self),
            steps,
        }
    }
}

/// Runs samples through one pipeline, one at a time, on the caller's thread.
pub struct Worker {
    pipeline: Arc<Pipeline>,
    steps: Vec<Ready>,
}

enum Ready {
    Preprocess(Instance),
    Infer(String, Arc<Model>),
    Postprocess(Instance),
    Stage(Instance),
    Policy(Instance),
}

/// What a sample has become by the step that comes next.
#[derive(Default)]
struct Flow {
    tensors: Vec<(String, Tensor)>,
    insight: Option<Insight>,
    actions: Option<Vec<Action>>,
}

impl Worker {
    /// The pipeline that this worker runs.
    pub const fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Runs one sample to its end.
    pub fn process(&mut self, sample: &Sample, device: &Device) -> Outcome {
        let context = DeviceContext {
            site: device.site.clone(),
            device: device.name.clone(),
            labels: device
                .labels
                .iter()
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            generation: self.pipeline.release.generation,
            sample_time_us: sample.timestamp_us,
        };
        let mut flow = Flow::default();
        let mut stages = Vec::with_capacity(self.steps.len());
        for step in &mut self.steps {
            let started = Instant::now();
            let result = step.run(sample, &context, &mut flow);
            stages.push(StageTime {
                name: step.name().to_owned(),
                micros: micros(started.elapsed()),
            });
            for (model, time) in step.model_times() {
                stages.push(StageTime {
                    name: format!("{}/{model}", step.name()),
                    micros: micros(time),
                });
            }
            if let Err(failure) = result {
                let error = SampleError {
                    stage: step.name().to_owned(),
                    fault: failure.fault,
                    message: failure.message,
                };
                return Outcome {
                    result: Err(error),
                    stages,
                };
            }
        }
        let decision = Decision {
            insight: flow.insight.unwrap_or(Insight::Scalars {
                scalars: Vec::new(),
            }),
            actions: flow.actions.unwrap_or_else(|| vec![Action::Publish]),
        };
        Outcome {
            result: Ok(decision),
            stages,
        }
    }
}

impl Ready {
    fn name(&self) -> &str {
        match self {
            Self::Infer(name, _) => name,
            Self::Preprocess(instance)
            | Self::Postprocess(instance)
            | Self::Stage(instance)
            | Self::Policy(instance) => instance.name(),
        }
    }

    fn model_times(&mut self) -> Vec<(String, Duration)> {
        match self {
            Self::Infer(..) => Vec::new(),
            Self::Preprocess(instance)
            | Self::Postprocess(instance)
            | Self::Stage(instance)
            | Self::Policy(instance) => instance.take_model_times(),
        }
    }

    fn run(
        &mut self,
        sample: &Sample,
        context: &DeviceContext,
        flow: &mut Flow,
    ) -> Result<(), Failure> {
        match self {
            Self::Preprocess(instance) => flow.tensors = instance.prepare(sample)?,
            Self::Infer(_, model) => {
                let inputs: Vec<(&str, &Tensor)> = flow
                    .tensors
                    .iter()
                    .map(|(name, tensor)| (name.as_str(), tensor))
                    .collect();
                flow.tensors = model.run(&inputs).map_err(|error| failure(&error))?;
            }
            Self::Postprocess(instance) => {
                let outputs = std::mem::take(&mut flow.tensors);
                flow.insight = Some(instance.interpret(sample, outputs)?);
            }
            Self::Stage(instance) => flow.insight = Some(instance.process(sample)?),
            Self::Policy(instance) => {
                if let Some(insight) = &flow.insight {
                    let decided = instance.decide(insight, context)?;
                    flow.actions.get_or_insert_default().extend(decided);
                }
            }
        }
        Ok(())
    }
}

fn failure(error: &RunError) -> Failure {
    let fault = match error.kind() {
        ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::InvalidInput => Fault::Tensor,
        ErrorKind::LimitExceeded | ErrorKind::Internal => Fault::Model,
    };
    Failure::of(fault, error)
}
