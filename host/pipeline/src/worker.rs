use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::micros;
use hotshoe_engine::{Action, Component, DeviceContext, Failure, Fault, Insight, Instance, Sample};
use hotshoe_trust::{Begin, Device, StageFailure};

use super::back_off::BackOffs;
use super::ends::{Given, conclude};
use super::infer::InferStep;
use super::seen::{Seen, StageUsage, Tensors};
use super::{Decision, Outcome, Pipeline, SampleError, StageTime, Step};

/// Where samples end that do not fit the pipeline's beginning.
const INPUT: &str = "input";
/// Where samples end whose tensors are too large for a result.
const OUTPUT: &str = "output";

/// Runs samples through one pipeline, one at a time, on the caller's thread.
pub struct Worker {
    pipeline: Arc<Pipeline>,
    back_offs: Option<Arc<BackOffs>>,
    begin: Begin,
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
    tensors: Tensors,
    insight: Option<Insight>,
    actions: Option<Vec<Action>>,
    /// Where somebody looks on.
    seen: Option<Seen>,
}

impl Worker {
    pub(super) fn new(pipeline: &Arc<Pipeline>, back_offs: Option<Arc<BackOffs>>) -> Self {
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
            back_offs,
            begin: Begin::of(&pipeline.release.pipeline),
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

    /// The most that each component held at once so far.
    pub fn usage(&self) -> Vec<StageUsage> {
        let of = |step: &Ready| step.usage();
        self.steps.iter().filter_map(of).collect()
    }

    /// Runs one sample to its end.
    pub fn process(&mut self, sample: &Sample, device: &Device) -> Outcome {
        self.run(sample, device, &mut Flow::default())
    }

    /// As [`Self::process`], and also gives what came between.
    pub fn observe(&mut self, sample: &Sample, device: &Device) -> (Outcome, Seen) {
        let mut flow = Flow {
            seen: Some(Seen::default()),
            ..Flow::default()
        };
        let outcome = self.run(sample, device, &mut flow);
        (outcome, flow.seen.unwrap_or_default())
    }

    fn run(&mut self, sample: &Sample, device: &Device, flow: &mut Flow) -> Outcome {
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
        let mut stages = Vec::with_capacity(self.steps.len());
        let mut tolerated = Vec::new();
        let failed = |stage: &str, failure, stages, tolerated| Outcome {
            result: Err(SampleError::of(stage, failure)),
            stages,
            tolerated,
        };
        let inner = match flow.begin(self.begin, sample) {
            Ok(inner) => inner,
            Err(failure) => return failed(INPUT, failure, stages, tolerated),
        };
        let sample = inner.as_ref().unwrap_or(sample);
        for step in &mut self.steps {
            let started = Instant::now();
            let result = step.run_if(self.back_offs.as_deref(), sample, &context, flow);
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
                // Who reaches for what it was not given is not let pass.
                if step.fails_open() && failure.fault != Fault::Denied {
                    tolerated.push(SampleError::of(step.name(), failure));
                    continue;
                }
                return failed(step.name(), failure, stages, tolerated);
            }
        }
        let insight = match flow.insight() {
            Ok(insight) => insight,
            Err(failure) => return failed(OUTPUT, failure, stages, tolerated),
        };
        let decision = Decision {
            insight,
            actions: flow.actions.take().unwrap_or_else(|| vec![Action::Publish]),
        };
        Outcome {
            result: Ok(decision),
            stages,
            tolerated,
        }
    }
}

impl Flow {
    /// Takes in a sample; gives the one that the components see, where it is another one.
    fn begin(&mut self, begin: Begin, sample: &Sample) -> Result<Option<Sample>, Failure> {
        match Given::read(begin, sample)? {
            Given::Sample => Ok(None),
            Given::Insight(insight) => {
                self.insight = Some(insight);
                Ok(None)
            }
            Given::Tensors(tensors, inner) => {
                self.tensors = tensors;
                if let Some(seen) = &mut self.seen {
                    seen.inner = Some(inner.clone());
                    let place = match begin {
                        Begin::Outputs => &mut seen.outputs,
                        _ => &mut seen.tensors,
                    };
                    *place = Some(self.tensors.clone());
                }
                Ok(Some(inner))
            }
        }
    }

    /// The insight so far. Tensors become one where nothing makes another one of them.
    fn insight(&mut self) -> Result<Insight, Failure> {
        match self.insight.take() {
            Some(insight) => Ok(insight),
            None => conclude(&self.tensors),
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

    fn usage(&self) -> Option<StageUsage> {
        match self {
            Self::Infer(..) => None,
            Self::Preprocess(instance)
            | Self::Postprocess(instance)
            | Self::Stage(instance)
            | Self::Policy(instance, _) => {
                let usage = instance.usage();
                Some(StageUsage {
                    name: instance.name().to_owned(),
                    memory_bytes: usage.memory_bytes,
                    tensor_bytes: usage.tensor_bytes,
                })
            }
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

    /// Runs the step, unless it is a component that broke off too often. Models have runs and deadlines of their own.
    fn run_if(
        &mut self,
        back_offs: Option<&BackOffs>,
        sample: &Sample,
        context: &DeviceContext,
        flow: &mut Flow,
    ) -> Result<(), Failure> {
        let Some(back_offs) = back_offs.filter(|_| !matches!(self, Self::Infer(..))) else {
            return self.run(sample, context, flow);
        };
        let name = self.name().to_owned();
        let leave = back_offs.leave(&name, Instant::now())?;
        let result = self.run(sample, context, flow);
        leave.ended(result.as_ref().err(), Instant::now());
        result
    }

    fn run(
        &mut self,
        sample: &Sample,
        context: &DeviceContext,
        flow: &mut Flow,
    ) -> Result<(), Failure> {
        match self {
            Self::Preprocess(instance) => {
                flow.tensors = instance.prepare(sample)?;
                if let Some(seen) = &mut flow.seen {
                    seen.tensors = Some(flow.tensors.clone());
                }
            }
            Self::Infer(step) => {
                let given = flow.seen.as_mut().map(|seen| &mut seen.inputs);
                flow.tensors = step.run(&sample.source, &flow.tensors, given)?;
                if let Some(seen) = &mut flow.seen {
                    seen.outputs = Some(flow.tensors.clone());
                }
            }
            Self::Postprocess(instance) => {
                let outputs = std::mem::take(&mut flow.tensors);
                flow.insight = Some(instance.interpret(sample, outputs)?);
            }
            Self::Stage(instance) => flow.insight = Some(instance.process(sample)?),
            Self::Policy(instance, _) => {
                let insight = flow.insight()?;
                let decided = instance.decide(&sample.source, &insight, context);
                // Also where it fails: the next one, and the result, have the insight all the same.
                flow.insight = Some(insight);
                let decided = decided?;
                flow.actions.get_or_insert_default().extend(decided);
            }
        }
        Ok(())
    }
}
