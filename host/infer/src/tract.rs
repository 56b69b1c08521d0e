//! tract.

mod attributes;
mod plans;
mod semantics;
mod threads;
mod values;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tract_onnx::pb::{GraphProto, ModelProto};
use tract_onnx::prelude::{
    Framework, InferenceModel, TValue, TVec, TractError, TractResult, multithread,
};
use tract_onnx::tract_core::plan::eval;

use crate::backend::{InputSignature, Session, Stop};
use crate::guard::guard;
use crate::{LoadError, Options, RunError, Stats, Tensor, TensorInfo, describe};
use multithread::{Executor, multithread_tract_scope};
use plans::{Plan, PlanError, Plans};
pub(crate) use semantics::{framework, partial_framework};

/// A model that tract holds.
#[derive(Debug)]
pub(crate) struct TractSession {
    graph: InferenceModel,
    plans: Plans,
    max_tensor_bytes: usize,
    outputs: Vec<TensorInfo>,
    /// Whether the file leaves a dimension of an input to the caller.
    open: bool,
    /// The threads of one run; `None` is the calling thread alone.
    threads: Option<Executor>,
}

impl TractSession {
    /// Takes a file over; no plan is compiled yet.
    pub(crate) fn load(
        file: &ModelProto,
        graph: &GraphProto,
        threads: usize,
        options: &Options,
    ) -> Result<Self, LoadError> {
        let backend = framework(file, graph)?;
        let (inputs, outputs) = (describe::inputs(graph)?, describe::outputs(graph)?);
        let model = guard(|| backend.model_for_proto_model(file))
            .map_err(|message| LoadError::Panicked { message })?
            .map_err(|e| LoadError::Tract { source: e.into() })?;
        Ok(Self {
            graph: model,
            plans: Plans::new(options.plans, options.max_tensor_bytes, graph),
            max_tensor_bytes: options.max_tensor_bytes,
            outputs,
            open: inputs.iter().any(|info| info.shape.contains(&None)),
            threads: threads::pool(threads)?,
        })
    }

    fn plan(&self, signature: &InputSignature) -> Result<Arc<Plan>, RunError> {
        self.plans
            .get(&self.graph, signature)
            .map_err(|error| match error {
                PlanError::Refused(source) => RunError::Plan {
                    shapes: signature.shapes.clone(),
                    source,
                },
                PlanError::Panicked(message) => RunError::Panicked { message },
                PlanError::TooLarge { node, bytes } => {
                    let what = format!("the output of the model's node \"{node}\"");
                    RunError::TooLarge {
                        what,
                        bytes,
                        limit: self.max_tensor_bytes,
                    }
                }
            })
    }

    fn run_on(
        &self,
        threads: Option<&Executor>,
        inputs: &[Tensor],
        stop: &Stop,
    ) -> Result<Vec<Tensor>, RunError> {
        let signature = InputSignature::of(inputs);
        let plan = self.plan(&signature)?;
        let values: TVec<_> = inputs.iter().map(Tensor::to_raw).collect();
        let run = || guard(|| run(&plan, values, stop));
        let results = match threads {
            Some(threads) => multithread_tract_scope(threads.clone(), run),
            None => run(),
        };
        let results = match results {
            Err(message) => return Err(RunError::Panicked { message }),
            Ok(Err(_)) if stop.is_stopped() => return Err(RunError::Deadline),
            Ok(Err(e)) => {
                let source = Box::<dyn Error + Send + Sync>::from(e);
                // Some operators look at their inputs' shapes only when they run; shapes that have run are not at fault.
                let refused = self.open && !plan.proven.load(Ordering::Relaxed);
                return Err(if refused {
                    let (shapes, source) = (signature.shapes, Arc::from(source));
                    RunError::Plan { shapes, source }
                } else {
                    RunError::Failed { source }
                });
            }
            Ok(Ok(results)) => results,
        };
        plan.proven.store(true, Ordering::Relaxed);
        let named = self.outputs.iter().zip(results).map(|(info, value)| {
            let name = &info.name;
            let unread = |problem: String| {
                let message = format!("its output \"{name}\" cannot be read: {problem}");
                RunError::Failed {
                    source: message.into(),
                }
            };
            let tensor = Tensor::from_raw(value).map_err(unread)?;
            let (want, got) = (info.element_type, tensor.element_type());
            if want != got {
                return Err(unread(format!("it is {got}, and the file says {want}")));
            }
            // The plan does not show the sizes that follow from values.
            let (bytes, limit) = (tensor.byte_len(), self.max_tensor_bytes);
            if bytes > limit {
                let what = format!("the output \"{name}\"");
                return Err(RunError::TooLarge { what, bytes, limit });
            }
            Ok(tensor)
        });
        named.collect()
    }
}

impl Session for TractSession {
    fn prepare(&self, signature: &InputSignature) -> Result<(), RunError> {
        self.plan(signature).map(drop)
    }

    fn run(&self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, RunError> {
        self.run_on(self.threads.as_ref(), inputs, stop)
    }

    fn run_part(&self, inputs: &[Tensor], stop: &Stop) -> Result<Vec<Tensor>, RunError> {
        self.run_on(None, inputs, stop)
    }

    fn at_once(&self) -> Option<usize> {
        None
    }

    fn signatures(&self) -> Vec<InputSignature> {
        self.plans.signatures()
    }

    fn stats(&self) -> Stats {
        self.plans.stats()
    }

    fn provider(&self) -> &str {
        "cpu"
    }

    fn provider_notes(&self) -> &[String] {
        &[]
    }
}

/// Runs a plan as tract itself does, but ends at the next node after it is told to stop.
fn run(plan: &Plan, inputs: TVec<TValue>, stop: &Stop) -> TractResult<TVec<TValue>> {
    let mut state = plan.compiled.spawn()?;
    state.run_plan_with_eval(inputs, |context, state, node, inputs| {
        if stop.is_stopped() {
            return Err(TractError::msg("stopped"));
        }
        eval(context, state, node, inputs)
    })
}
