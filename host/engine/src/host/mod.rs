//! What the host gives to components: one file an interface, over one [`State`] an instance.

mod infer;
mod services;
mod state;
mod tensors;
mod vision;
pub(crate) mod wasi;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_infer::{Model, Tensor};
use hotshoe_trust::Limits;
use hotshoe_vision::Image;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_nn::wit::{Tensor as NnTensor, WasiNnCtx, WasiNnView};

use crate::bindings::hotshoe::pipeline::types::{self, Error, ErrorCode};
use crate::instance::mib;
use crate::limits::{Held, MAX_HANDLES, MAX_NN_HANDLES, MemoryLimit, Meter};
use crate::nn;
use crate::state::KeptState;

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
    kept: Arc<KeptState>,
    started: Instant,
    /// When the present call must have ended.
    pub(crate) deadline: Instant,
    /// Tensors and contexts of `wasi:nn`, whose host keeps them itself.
    nn_table: ResourceTable,
    nn_max_bytes: usize,
    /// Whether that table took nothing more at the last call.
    pub(crate) nn_full: bool,
    /// Made at the first call, as most components have no use for it.
    nn: Option<WasiNnCtx>,
    /// As `nn`.
    wasi: Option<WasiCtx>,
}

impl State {
    pub(crate) fn new(services: Arc<Services>, kept: Arc<KeptState>, limits: &Limits) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_HANDLES);
        Self {
            table,
            memory: MemoryLimit::new(mib(limits.memory_mib)),
            meter_refused: false,
            model_times: Vec::new(),
            meter: Meter::new(mib(limits.tensor_mib) as u64),
            services,
            kept,
            started: Instant::now(),
            deadline: Instant::now(),
            nn_table: ResourceTable::new(),
            nn_max_bytes: mib(limits.tensor_mib),
            nn_full: false,
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

    /// The state of `wasi:nn`, for one call. Its host pushes tensors into the table without asking: where they hold
    /// `tensor-mib` already, the table is closed, and the call that would add another one fails.
    pub(crate) fn wasi_nn(&mut self) -> WasiNnView<'_> {
        let (mut entries, mut bytes) = (0, 0_usize);
        for entry in self.nn_table.iter_mut() {
            entries += 1;
            if let Some(tensor) = (entry as &dyn Any).downcast_ref::<NnTensor>() {
                bytes = bytes.saturating_add(tensor.data.len());
            }
        }
        self.nn_full = bytes >= self.nn_max_bytes || entries >= MAX_NN_HANDLES;
        let capacity = if self.nn_full { 0 } else { MAX_NN_HANDLES };
        self.nn_table.set_max_capacity(capacity);
        let ctx = self
            .nn
            .get_or_insert_with(|| nn::context(&self.services.models));
        WasiNnView::new(&mut self.nn_table, ctx)
    }
}

impl types::Host for State {}

/// An error for the component.
fn error(code: ErrorCode, message: impl std::fmt::Display) -> Error {
    Error {
        code,
        message: message.to_string(),
    }
}
