use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::micros;
use hotshoe_engine::{Action, Component, DeviceContext, Failure, Fault, Insight, Instance, Sample};
use hotshoe_trust::{Device, PipelineInput, StageFailure};

use super::back_off::BackOffs;
use super::infer::InferStep;
use super::pipeline_io::{FirstInput, tensors_to_insight};
use super::privacy::{PRIVACY, RulesOf};
use super::texts::Texts;
use super::trace::{StageUsage, Tensors, Trace};
use super::{Decision, MaskedSample, Outcome, Pipeline, RunMode, SampleError, StageTime, Step};

/// Stage name of samples that are not valid for the first step.
const INPUT: &str = "input";
/// Stage name of samples whose tensors are too large for a result.
const OUTPUT: &str = "output";

/// Runs samples through one pipeline, one at a time, on the caller's thread.
pub struct Worker {
    pipeline: Arc<Pipeline>,
    back_offs: Option<Arc<BackOffs>>,
    /// `Some` if texts may not leave as they are: in a daemon, and where components have state, which was made of samples. Commands of
    /// authors show them.
    texts: Option<Texts>,
    begin: PipelineInput,
    rules: RulesOf,
    steps: Vec<WorkerStep>,
}

enum WorkerStep {
    Filter(Instance),
    Preprocess(Instance),
    Infer(InferStep),
    Postprocess(Instance),
    Stage(Instance),
    Policy(Instance, StageFailure),
}

/// State of a sample between two steps.
#[derive(Default)]
struct SampleState {
    tensors: Tensors,
    insight: Option<Insight>,
    actions: Option<Vec<Action>>,
    /// Set if intermediate tensors are observed.
    trace: Option<Trace>,
}

impl Worker {
    pub(super) fn new(
        pipeline: &Arc<Pipeline>,
        back_offs: Option<Arc<BackOffs>>,
        rules: RulesOf,
    ) -> Self {
        let instance = |component: &Arc<Component>| Instance::new(Arc::clone(component));
        let steps = pipeline
            .steps
            .iter()
            .map(|step| match step {
                Step::Filter(component) => WorkerStep::Filter(instance(component)),
                Step::Preprocess(component) => WorkerStep::Preprocess(instance(component)),
                Step::Infer(step) => WorkerStep::Infer(step.clone()),
                Step::Postprocess(component) => WorkerStep::Postprocess(instance(component)),
                Step::Stage(component) => WorkerStep::Stage(instance(component)),
                Step::Policy(component, failure) => {
                    WorkerStep::Policy(instance(component), *failure)
                }
            })
            .collect();
        let is_of_device = back_offs.is_some() || !pipeline.state_snapshot().is_empty();
        Self {
            pipeline: Arc::clone(pipeline),
            texts: is_of_device.then(|| pipeline.texts.clone()),
            back_offs,
            begin: PipelineInput::of(&pipeline.release.pipeline),
            rules,
            steps,
        }
    }

    /// The pipeline that this worker runs.
    pub const fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// Creates the instances that the first sample would otherwise wait for.
    ///
    /// # Errors
    /// The component that cannot be instantiated. The next sample tries again.
    pub fn warm_up(&mut self) -> Result<(), SampleError> {
        for step in &mut self.steps {
            if let Err(failure) = step.warm_up() {
                let failure = shown(self.texts.as_ref(), step.name(), failure);
                return Err(SampleError::of(step.name(), failure));
            }
        }
        Ok(())
    }

    /// Peak memory of each component so far.
    pub fn usage(&self) -> Vec<StageUsage> {
        let of = |step: &WorkerStep| step.usage();
        self.steps.iter().filter_map(of).collect()
    }

    /// Runs one sample to its end in this mode, a [`Pipeline::run_mode`].
    pub fn process(&mut self, sample: &Sample, device: &Device, mode: &RunMode) -> Outcome {
        let masked = self.pipeline.boundary.cross(sample, self.rules);
        self.process_masked(masked, device, mode)
    }

    /// As [`Self::process`], for a sample that [`Pipeline::mask`] of the same pipeline returned.
    pub fn process_masked(
        &mut self,
        masked: Result<MaskedSample<'_>, SampleError>,
        device: &Device,
        mode: &RunMode,
    ) -> Outcome {
        self.run(masked, device, mode, &mut SampleState::default())
    }

    /// As [`Self::process`], and also returns the intermediate tensors.
    pub fn observe(
        &mut self,
        sample: &Sample,
        device: &Device,
        mode: &RunMode,
    ) -> (Outcome, Trace) {
        let masked = self.pipeline.boundary.cross(sample, self.rules);
        self.observe_masked(masked, device, mode)
    }

    /// As [`Self::process_masked`], and also returns the intermediate tensors.
    pub fn observe_masked(
        &mut self,
        masked: Result<MaskedSample<'_>, SampleError>,
        device: &Device,
        mode: &RunMode,
    ) -> (Outcome, Trace) {
        let mut state = SampleState {
            trace: Some(Trace::default()),
            ..SampleState::default()
        };
        let outcome = self.run(masked, device, mode, &mut state);
        (outcome, state.trace.unwrap_or_default())
    }

    /// Nothing here reads the sample as it was taken.
    fn run(
        &mut self,
        masked: Result<MaskedSample<'_>, SampleError>,
        device: &Device,
        mode: &RunMode,
        state: &mut SampleState,
    ) -> Outcome {
        let masked = match masked {
            Ok(masked) => masked,
            Err(error) => {
                return Outcome {
                    result: Err(error),
                    stages: Vec::new(),
                    tolerated: Vec::new(),
                };
            }
        };
        let sample = masked.sample();
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
        let texts = self.texts.as_ref();
        let failed = |stage: &str, failure, stages, tolerated| Outcome {
            result: Err(SampleError::of(stage, failure)),
            stages,
            tolerated,
        };
        let is_filter = |step: &&WorkerStep| matches!(step, WorkerStep::Filter(_));
        let takes = |name: &str| match self.steps.iter().find(|step| !is_filter(step)) {
            Some(WorkerStep::Infer(step)) => step.takes(name),
            _ => false,
        };
        if let Some(micros) = masked.micros() {
            stages.push(StageTime {
                name: PRIVACY.to_owned(),
                micros,
            });
        }
        if let Some(trace) = &mut state.trace {
            trace.sample = Some(sample.clone());
        }
        let inner = match state.begin(self.begin, sample, takes) {
            Ok(inner) => inner,
            Err(failure) => {
                return failed(INPUT, shown(texts, INPUT, failure), stages, tolerated);
            }
        };
        let sample = inner.as_ref().unwrap_or(sample);
        // Only a policy that fails open may rest, whatever a mode says.
        let takes_part =
            |step: &&mut WorkerStep| !(step.fails_open() && mode.rests_component(step.name()));
        for step in self.steps.iter_mut().filter(takes_part) {
            let started = Instant::now();
            let back_offs = self.back_offs.as_deref();
            let result = step.run_if(back_offs, texts, sample, &context, mode, state);
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
                // A denied operation is never tolerated.
                if step.fails_open() && failure.fault != Fault::Denied {
                    tolerated.push(SampleError::of(step.name(), failure));
                    continue;
                }
                return failed(step.name(), failure, stages, tolerated);
            }
        }
        let insight = match state.insight() {
            Ok(insight) => insight,
            Err(failure) => {
                return failed(OUTPUT, shown(texts, OUTPUT, failure), stages, tolerated);
            }
        };
        let decision = Decision {
            insight,
            actions: state
                .actions
                .take()
                .unwrap_or_else(|| vec![Action::Publish]),
        };
        Outcome {
            result: Ok(decision),
            stages,
            tolerated,
        }
    }
}

impl SampleState {
    /// Parses a sample. Returns the sample for components, if it is a different one.
    fn begin(
        &mut self,
        begin: PipelineInput,
        sample: &Sample,
        takes: impl Fn(&str) -> bool,
    ) -> Result<Option<Sample>, Failure> {
        match FirstInput::read(begin, sample, takes)? {
            FirstInput::Sample => Ok(None),
            FirstInput::Insight(insight) => {
                self.insight = Some(insight);
                Ok(None)
            }
            FirstInput::Tensors(tensors, inner) => {
                self.tensors = tensors;
                if let Some(trace) = &mut self.trace {
                    trace.inner = Some(inner.clone());
                    let place = match begin {
                        PipelineInput::Outputs => &mut trace.outputs,
                        _ => &mut trace.tensors,
                    };
                    *place = Some(self.tensors.clone());
                }
                Ok(Some(inner))
            }
        }
    }

    /// The insight so far. Without one, the tensors are the insight.
    fn insight(&mut self) -> Result<Insight, Failure> {
        match self.insight.take() {
            Some(insight) => Ok(insight),
            None => tensors_to_insight(&self.tensors),
        }
    }
}

impl WorkerStep {
    fn name(&self) -> &str {
        match self {
            Self::Infer(step) => step.name(),
            Self::Filter(instance)
            | Self::Preprocess(instance)
            | Self::Postprocess(instance)
            | Self::Stage(instance)
            | Self::Policy(instance, _) => instance.name(),
        }
    }

    fn usage(&self) -> Option<StageUsage> {
        match self {
            Self::Infer(..) => None,
            Self::Filter(instance)
            | Self::Preprocess(instance)
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

    /// Whether the sample continues if this step fails.
    const fn fails_open(&self) -> bool {
        matches!(self, Self::Policy(_, StageFailure::FailOpen))
    }

    fn instance(&mut self) -> Option<&mut Instance> {
        match self {
            Self::Infer(..) => None,
            Self::Filter(instance)
            | Self::Preprocess(instance)
            | Self::Postprocess(instance)
            | Self::Stage(instance)
            | Self::Policy(instance, _) => Some(instance),
        }
    }

    fn warm_up(&mut self) -> Result<(), Failure> {
        self.instance().map_or(Ok(()), Instance::warm_up)
    }

    fn model_times(&mut self) -> Vec<(String, Duration)> {
        self.instance()
            .map(Instance::take_model_times)
            .unwrap_or_default()
    }

    /// Runs the step, unless it is a paused component. Models are not paused.
    ///
    /// In a daemon, the message of a failure goes to status, events, log and answers: one that may not leave is replaced here, before any
    /// of them gets it.
    fn run_if(
        &mut self,
        back_offs: Option<&BackOffs>,
        texts: Option<&Texts>,
        sample: &Sample,
        context: &DeviceContext,
        mode: &RunMode,
        state: &mut SampleState,
    ) -> Result<(), Failure> {
        let is_model = matches!(self, Self::Infer(..));
        let Some(back_offs) = back_offs.filter(|_| !is_model) else {
            let result = self.run(sample, context, mode, state);
            return result.map_err(|failure| shown(texts, self.name(), failure));
        };
        let name = self.name().to_owned();
        let permit = back_offs.permit(&name, back_offs.clock().now())?;
        let result = self.run(sample, context, mode, state);
        let result = result.map_err(|failure| shown(texts, &name, failure));
        permit.ended(result.as_ref().err(), back_offs.clock().now());
        result
    }

    fn run(
        &mut self,
        sample: &Sample,
        context: &DeviceContext,
        mode: &RunMode,
        state: &mut SampleState,
    ) -> Result<(), Failure> {
        if let Some(instance) = self.instance() {
            instance.use_variants(mode.variants());
        }
        match self {
            Self::Filter(instance) => instance.admit(sample)?,
            Self::Preprocess(instance) => {
                state.tensors = instance.prepare(sample)?;
                if let Some(trace) = &mut state.trace {
                    trace.tensors = Some(state.tensors.clone());
                }
            }
            Self::Infer(step) => {
                let given = state.trace.as_mut().map(|trace| &mut trace.inputs);
                state.tensors = step.run(&sample.source, &state.tensors, given, mode.variants())?;
                if let Some(trace) = &mut state.trace {
                    trace.outputs = Some(state.tensors.clone());
                }
            }
            Self::Postprocess(instance) => {
                let outputs = std::mem::take(&mut state.tensors);
                state.insight = Some(instance.interpret(sample, outputs)?);
            }
            Self::Stage(instance) => state.insight = Some(instance.process(sample)?),
            Self::Policy(instance, _) => {
                let insight = state.insight()?;
                let decided = instance.decide(&sample.source, &insight, context);
                // Restored even if the policy fails, for the next step and the result.
                state.insight = Some(insight);
                let decided = decided?;
                state.actions.get_or_insert_default().extend(decided);
            }
        }
        Ok(())
    }
}

/// A failure as it may leave the device: with its message, or without.
fn shown(texts: Option<&Texts>, stage: &str, failure: Failure) -> Failure {
    match texts {
        Some(texts) => texts.failure(stage, failure),
        None => failure,
    }
}
