//! What the host gives to components: one file an interface, over one [`State`] an instance.

mod infer;
mod services;
mod tensors;
mod vision;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_infer::{Model, Tensor};
use hotshoe_trust::Limits;
use hotshoe_vision::Image;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_nn::wit::{WasiNnCtx, WasiNnView};

use crate::bindings::hotshoe::pipeline::types::{self, Error, ErrorCode};
use crate::instance::mib;
use crate::limits::{Held, MAX_HANDLES, MemoryLimit, Meter};
use crate::nn;

pub(crate) use services::Services;

/// A tensor whose bytes count against its component.
pub type HeldTensor = Held<Tensor>;
/// An image whose bytes count against its component.
pub type HeldImage = Held<Image>;

/// A model of the release, opened by its name.
pub struct NamedModel {
    pub(crate) name: String,
    pub(crate) model: Arc<Model>,
}

/// What one instance of a component holds on the host's side.
pub(crate) struct State {
    pub(crate) table: ResourceTable,
    pub(crate) memory: MemoryLimit,
    /// A host tensor or image was refused during this call.
    pub(crate) meter_refused: bool,
    /// Time spent in each model since it was last asked for.
    pub(crate) model_times: Vec<(String, Duration)>,
    meter: Arc<Meter>,
    services: Arc<Services>,
    started: Instant,
    log: services::LogBudget,
    metric_names: services::MetricNames,
    /// Made at the first call, as most components have no use for it.
    nn: Option<WasiNnCtx>,
    /// As `nn`.
    wasi: Option<WasiCtx>,
}

impl State {
    pub(crate) fn new(services: Arc<Services>, limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            table,
            memory: MemoryLimit {
                max_bytes: mib(limits.memory_mib),
                refused: false,
            },
            meter_refused: false,
            model_times: Vec::new(),
            meter: Meter::new(mib(limits.tensor_mib) as u64),
            services,
            started: Instant::now(),
            log: services::LogBudget::default(),
            metric_names: services::MetricNames::default(),
            nn: None,
            wasi: None,
        }
    }

    pub(crate) fn hold_tensor(
        &mut self,
        tensor: Tensor,
    ) -> wasmtime::Result<Result<Resource<HeldTensor>, Error>> {
        let bytes = tensor.byte_len();
        self.hold(tensor, bytes)
    }

    /// Puts a value of this many bytes into the table, or tells the component that it holds too much.
    fn hold<T: Send + 'static>(
        &mut self,
        value: T,
        bytes: usize,
    ) -> wasmtime::Result<Result<Resource<Held<T>>, Error>> {
        match self.meter.hold(value, bytes) {
            Ok(held) => Ok(Ok(self.table.push(held)?)),
            Err(message) => {
                self.meter_refused = true;
                Ok(Err(error(ErrorCode::LimitExceeded, message)))
            }
        }
    }

    pub(crate) fn wasi_nn(&mut self) -> WasiNnView<'_> {
        let ctx = self
            .nn
            .get_or_insert_with(|| nn::context(&self.services.models));
        WasiNnView::new(&mut self.table, ctx)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            // The default has no arguments, no environment, no directories and no network; output goes nowhere.
            ctx: self.wasi.get_or_insert_with(|| WasiCtx::builder().build()),
            table: &mut self.table,
        }
    }
}

impl types::Host for State {}

/// An error for the component, with the whole chain of causes in one sentence.
fn error(code: ErrorCode, message: impl std::fmt::Display) -> Error {
    Error {
        code,
        message: message.to_string(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
