//! Implementation of the host interfaces: one file per interface, one [`State`] per instance.

pub(crate) mod bindings;
mod infer;
mod lists;
pub(crate) mod nn;
pub(crate) mod samples;
mod secrets;
pub(crate) mod services;
mod state;
pub(crate) mod tensors;
mod v0_2;
mod vision;
pub(crate) mod wasi;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_infer::{NamedModel, Tensor, VariantChoice};
use hotshoe_trust::{Limits, printable};
use hotshoe_vision::Image;
use wasmtime::component::{Resource, ResourceTable};

use self::bindings::hotshoe::pipeline::tensors::NamedTensor;
use self::bindings::hotshoe::pipeline::types::{self, Error, ErrorCode};
use crate::limits::{Counted, MemoryLimiter, TensorBudget, all_handles};
use crate::message::clip;
use crate::state::KeptState;

pub(crate) use services::Services;

/// A tensor that counts against the budget of its component.
#[allow(unreachable_pub, reason = "`bindgen!` exports it again")]
pub type CountedTensor = Counted<Tensor>;
/// An image that counts against the budget of its component.
#[allow(unreachable_pub, reason = "`bindgen!` exports it again")]
pub type CountedImage = Counted<Image>;

/// Named tensors, in the order that the component or the model gave them.
pub(crate) type Tensors = Vec<(String, Tensor)>;

/// A model of the release that the component has opened.
#[allow(unreachable_pub, reason = "`bindgen!` exports it again")]
pub struct OpenModel(Arc<NamedModel>);

/// The host's side of one instance of a component.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimiter,
    /// The component has just returned, so that the next copy is its result.
    pub(crate) returning: bool,
    /// A host tensor or image was refused during this call.
    pub(crate) tensor_refused: bool,
    /// Why the component is about to trap, in its own words.
    pub(crate) reported_fault: Option<String>,
    /// Time spent in each model since the last [`crate::Instance::take_model_times`].
    pub(crate) model_times: Vec<(String, Duration)>,
    pub(crate) tensor_budget: Arc<TensorBudget>,
    /// The variants that runs of models begin with.
    pub(crate) variants: Arc<VariantChoice>,
    services: Arc<Services>,
    kept: Arc<KeptState>,
    started: Instant,
    /// Deadline of the current call.
    pub(crate) deadline: Instant,
    /// Created at the first use, since most components do not use it.
    wasi: Option<wasi::Wasi>,
}

impl State {
    pub(crate) fn new(services: Arc<Services>, kept: Arc<KeptState>, limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(all_handles(limits));
        Self {
            table,
            memory: MemoryLimiter::new(limits),
            returning: false,
            tensor_refused: false,
            reported_fault: None,
            model_times: Vec::new(),
            tensor_budget: TensorBudget::new(limits),
            variants: Arc::default(),
            services,
            kept,
            started: Instant::now(),
            deadline: Instant::now(),
            wasi: None,
        }
    }

    /// Keeps why the component is about to trap, for the message of its failure.
    fn report_fault(&mut self, text: String) {
        self.reported_fault = Some(printable(&clip(self.services.without_secrets(text)), &[]));
    }

    /// Checks the budget for `count` more tensors or images of `bytes` bytes in total, before anything is created.
    fn check_budget(&mut self, count: u64, bytes: usize) -> Result<(), Error> {
        self.tensor_budget
            .check(count, bytes as u64)
            .map_err(|refusal| {
                self.tensor_refused = true;
                error(ErrorCode::LimitExceeded, refusal)
            })
    }

    pub(crate) fn hold_tensor(
        &mut self,
        tensor: Tensor,
    ) -> wasmtime::Result<Result<Resource<CountedTensor>, Error>> {
        let bytes = tensor.byte_len();
        self.hold(tensor, bytes)
    }

    /// Gives the component all of these tensors, or none.
    pub(crate) fn hold_tensors(
        &mut self,
        tensors: Tensors,
    ) -> wasmtime::Result<Result<Vec<NamedTensor>, Error>> {
        if let Err(error) = self.check_budget(tensors.len() as u64, byte_len(&tensors)) {
            return Ok(Err(error));
        }
        let mut given = Vec::with_capacity(tensors.len());
        for (name, tensor) in tensors {
            match self.hold_tensor(tensor)? {
                Ok(tensor) => given.push(NamedTensor { name, tensor }),
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(given))
    }

    /// Puts a value of this many bytes into the table, or returns an error if the budget is exceeded.
    fn hold<T: Send + 'static>(
        &mut self,
        value: T,
        bytes: usize,
    ) -> wasmtime::Result<Result<Resource<Counted<T>>, Error>> {
        match self.tensor_budget.hold(value, bytes) {
            Ok(held) => Ok(Ok(self.table.push(held)?)),
            Err(refusal) => {
                self.tensor_refused = true;
                Ok(Err(error(ErrorCode::LimitExceeded, refusal)))
            }
        }
    }
}

/// Total bytes of `tensors`.
fn byte_len(tensors: &Tensors) -> usize {
    let sizes = tensors.iter().map(|(_, tensor)| tensor.byte_len());
    sizes.fold(0, usize::saturating_add)
}

impl types::Host for State {}

/// An error for the component.
fn error(code: ErrorCode, message: impl std::fmt::Display) -> Error {
    Error {
        code,
        message: clip(message.to_string()),
    }
}

#[cfg(test)]
mod tests;
