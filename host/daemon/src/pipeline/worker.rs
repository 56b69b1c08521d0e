use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_engine::{Action, Component, DeviceContext, Failure, Insight, Instance, Sample};
use hotshoe_infer::Tensor;
use hotshoe_trust::{Device, StageFailure};

use super::infer::InferStep;
use super::{Decision, Outcome, Pipeline, SampleError, StageTime, Step};
use crate::latency::micros;

/// Runs samples through one pipeline, one at a time, on the caller's thread.
pub struct Worker {
    pipeline: Arc<Pipeline>,
    steps: Vec<Ready>,
}

enum Ready {
    Preprocess(Instance),
    Infer(InferStep),
    Postprocess(Instance),
    Stage(Instance),
    Policy(Instance, StageFailure),
}

/// What a sample has become by the step that comes next.
#[derive(Default)]
struct Flow {
    tensors: Vec<(String, Tensor)>,
    insight: Option<Insight>,
    actions: Option<Vec<Action>>,
}

impl Worker {
    pub(super) fn new(pipeline: &Arc<Pipeline>) -> Self {
        let instance = |component: &Arc<Component>| Instance::new(Arc::clone(component));
        let steps = pipeline
            .steps
            .iter()
            .map(|step| match step {
                Step::Preprocess(component) => Ready::Preprocess(instance(component)),
                Step::Infer(step) => Ready::Infer(step.clone()),
                Step::Postprocess(component) => Ready::Postprocess(instance(component)),
                Step::Stage(component) => Ready::Stage(instance(component)),
                Step::Policy(component, failure) => Ready::Policy(instance(component), *failure),
            })
            .collect();
        Self {
            pipeline: Arc::clone(pipeline),
            steps,
        }
    }

    /// The pipeline that this worker runs.
    pub const fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Makes the instances that the first sample would otherwise wait for.
    ///
    /// # Errors
    /// The component that cannot be instantiated. The next sample tries again.
    pub fn warm_up(&mut self) -> Result<(), SampleError> {
        for step in &mut self.steps {
            step.warm_up()
                .map_err(|failure| SampleError::of(step.name(), failure))?;
        }
        Ok(())
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
        let mut tolerated = Vec::new();
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
                let error = SampleError::of(step.name(), failure);
                if step.fails_open() {
                    tolerated.push(error);
                    continue;
                }
                return Outcome {
                    result: Err(error),
                    stages,
                    tolerated,
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
            tolerated,
        }
    }
}

impl Ready {
    fn name(&self) -> &str {
        match self {
            Self::Infer(step) => step.name(),
            Self::Preprocess(instance)
            | Self::Postprocess(instance)
            | Self::Stage(instance)
            | Self::Policy(instance, _) => instance.name(),
        }
    }

    /// Whether its failure costs nothing but its own actions.
    const fn fails_open(&self) -> bool {
        matches!(self, Self::Policy(_, StageFailure::FailOpen))
    }

    fn warm_up(&mut self) -> Result<(), Failure> {
        match self {
            Self::Infer(..) => Ok(()),
            Self::Preprocess(instance)
            | Self::Postprocess(instance)
            | Self::Stage(instance)
            | Self::Policy(instance, _) => instance.warm_up(),
        }
    }

    fn model_times(&mut self) -> Vec<(String, Duration)> {
        match self {
            Self::Infer(..) => Vec::new(),
            Self::Preprocess(instance)
            | Self::Postprocess(instance)
            | Self::Stage(instance)
            | Self::Policy(instance, _) => instance.take_model_times(),
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
            Self::Infer(step) => flow.tensors = step.run(&sample.source, &flow.tensors)?,
            Self::Postprocess(instance) => {
                let outputs = std::mem::take(&mut flow.tensors);
                flow.insight = Some(instance.interpret(sample, outputs)?);
            }
            Self::Stage(instance) => flow.insight = Some(instance.process(sample)?),
            Self::Policy(instance, _) => {
                if let Some(insight) = &flow.insight {
                    let decided = instance.decide(insight, context)?;
                    flow.actions.get_or_insert_default().extend(decided);
                }
            }
        }
        Ok(())
    }
}
