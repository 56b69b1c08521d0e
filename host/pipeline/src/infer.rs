//! A step that runs a model on the tensors of a sample.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_engine::{Failure, Fault};
use hotshoe_infer::{ErrorKind, NamedModel, RunError, Tensor, VariantChoice};
use hotshoe_trust::Release;

use super::LoadError;
use super::recurrent::Recurrent;
use super::trace::Tensors;

/// A pipeline step that runs a model.
#[derive(Clone)]
pub(super) struct InferStep {
    model: Arc<NamedModel>,
    deadline: Duration,
    /// The state of a recurrent model.
    memory: Option<Arc<Recurrent>>,
}

/// One step for each model of the release; the pipeline may contain it several times.
pub(super) fn steps(
    release: &Release,
    models: &BTreeMap<String, Arc<NamedModel>>,
) -> Result<BTreeMap<String, InferStep>, LoadError> {
    let mut steps = BTreeMap::new();
    for (name, model) in models {
        let Some(spec) = release.models.get(name) else {
            continue;
        };
        let memory = Recurrent::of(spec, model).map_err(|source| LoadError::State {
            name: name.clone(),
            source,
        })?;
        let step = InferStep {
            model: Arc::clone(model),
            deadline: spec.deadline(),
            memory: memory.map(Arc::new),
        };
        steps.insert(name.clone(), step);
    }
    Ok(steps)
}

impl InferStep {
    /// The same step with empty state.
    pub(crate) fn fork(&self) -> Self {
        let memory = self.memory.as_ref();
        Self {
            memory: memory.map(|memory| Arc::new(memory.empty_copy())),
            ..self.clone()
        }
    }

    /// Drops the state of all sources.
    pub(crate) fn forget_sources(&self) {
        if let Some(memory) = &self.memory {
            memory.forget();
        }
    }

    /// The model's name in the release.
    pub(crate) fn name(&self) -> &str {
        self.model.name()
    }

    /// Whether the model has this input, and no state feeds it.
    pub(crate) fn takes(&self, name: &str) -> bool {
        let is_state = |memory: &Arc<Recurrent>| memory.feeds(name);
        self.model.inputs().iter().any(|info| info.name == name)
            && !self.memory.as_ref().is_some_and(is_state)
    }

    /// Runs the model on these tensors and on its state of `source`. State inputs do not come from the previous step, and state outputs
    /// are not passed on. All inputs are added to `trace`. The run begins with the variant of `choice`.
    pub(crate) fn run(
        &self,
        source: &str,
        tensors: &[(String, Tensor)],
        trace: Option<&mut Vec<(String, Tensors)>>,
        choice: &VariantChoice,
    ) -> Result<Tensors, Failure> {
        let look = |inputs: &[(&str, &Tensor)]| {
            if let Some(trace) = trace {
                let owned = inputs
                    .iter()
                    .map(|(name, it)| ((*name).to_owned(), Tensor::clone(it)));
                trace.push((self.name().to_owned(), owned.collect()));
            }
        };
        let given = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let Some(memory) = &self.memory else {
            let inputs: Vec<_> = given.collect();
            look(&inputs);
            return self.run_by(&inputs, choice);
        };
        let lock = memory.lock_source(source, Instant::now() + self.deadline)?;
        let inputs: Vec<_> = given.chain(lock.inputs()).collect();
        look(&inputs);
        let outputs = self.run_by(&inputs, choice)?;
        lock.keep(outputs)
    }

    fn run_by(
        &self,
        inputs: &[(&str, &Tensor)],
        choice: &VariantChoice,
    ) -> Result<Tensors, Failure> {
        let deadline = Instant::now() + self.deadline;
        let run = self.model.run_as(choice, inputs, Some(deadline));
        run.map_err(|error| failure(&error))
    }
}

fn failure(error: &RunError) -> Failure {
    let fault = match error.kind() {
        ErrorKind::NotFound | ErrorKind::Unsupported | ErrorKind::InvalidInput => Fault::Tensor,
        ErrorKind::DeadlineExceeded => Fault::Deadline,
        ErrorKind::LimitExceeded | ErrorKind::Internal => Fault::Model,
    };
    Failure::of(fault, error)
}
