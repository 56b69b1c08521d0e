//! `wasi:nn` over named models: a graph is a model of the release, and a component's own bytes are never loaded.
//!
//! `tensor` is linked by hand, so that a list is copied once each way.

use std::sync::Arc;

use hotshoe_base::chain;
use hotshoe_infer::{ElementType, ErrorKind, NamedModel, RunError, Tensor};
use hotshoe_trust::WASI_NN;
use wasmtime::component::{HasSelf, Linker, LinkerInstance, Resource, ResourceType, WasmList};
use wasmtime::{AsContext, StoreContextMut};

use super::bindings::nn::tensor::TensorType;
use super::bindings::nn::{errors, graph, inference};
use super::lists::HostList;
use super::{State, byte_len, tensors};
use crate::call_end::CallEnd;
use crate::limits::Counted;
use crate::message::clip;

/// A model that the component has loaded by its name.
#[allow(unreachable_pub, reason = "`bindgen!` exports it again")]
pub struct Graph(Arc<NamedModel>);

/// An execution context. It has no state, since `compute` takes all inputs and returns all outputs.
#[allow(unreachable_pub, reason = "`bindgen!` exports it again")]
pub struct Context(Arc<NamedModel>);

/// An error, which is a resource in `wasi:nn`.
#[allow(unreachable_pub, reason = "`bindgen!` exports it again")]
pub struct NnError {
    code: errors::ErrorCode,
    message: String,
}

/// A tensor that counts against the budget of its component.
#[allow(unreachable_pub, reason = "`bindgen!` exports it again")]
pub type NnTensor = Counted<NnValue>;

/// A tensor of a component or a model.
pub(crate) enum NnValue {
    /// A tensor that models take.
    Supported(Tensor),
    /// A tensor that no model takes. Its constructor has no error, so `compute` reports it.
    Unsupported(UnsupportedTensor),
}

/// An unsupported tensor, and what is wrong with it.
pub(crate) struct UnsupportedTensor {
    dimensions: Vec<u32>,
    ty: TensorType,
    data: Arc<[u8]>,
    code: errors::ErrorCode,
    problem: String,
}

type Caller<'a> = StoreContextMut<'a, State>;
type Handle = Resource<NnTensor>;
type NnResult<T> = wasmtime::Result<Result<T, Resource<NnError>>>;

/// Links `wasi:nn`.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    type Own = HasSelf<State>;
    errors::add_to_linker::<_, Own>(linker, |state| state)?;
    graph::add_to_linker::<_, Own>(linker, |state| state)?;
    inference::add_to_linker::<_, Own>(linker, |state| state)?;
    add_tensor(&mut linker.instance(&WASI_NN.interface("tensor", WASI_NN.oldest))?)
}

fn add_tensor(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.resource(
        "tensor",
        ResourceType::host::<NnTensor>(),
        |mut caller: Caller<'_>, index| {
            caller.data_mut().table.delete(Handle::new_own(index))?;
            Ok(())
        },
    )?;
    interface.func_wrap(
        "[constructor]tensor",
        |caller: Caller<'_>, (dimensions, ty, data): (Vec<u32>, TensorType, WasmList<u8>)| {
            Ok((make(caller, dimensions, ty, &data)?,))
        },
    )?;
    interface.func_wrap(
        "[method]tensor.dimensions",
        |caller: Caller<'_>, (tensor,): (Handle,)| {
            Ok((match &**caller.data().table.get(&tensor)? {
                NnValue::Supported(tensor) => tensors::shape(tensor)?,
                NnValue::Unsupported(tensor) => tensor.dimensions.clone(),
            },))
        },
    )?;
    interface.func_wrap(
        "[method]tensor.ty",
        |caller: Caller<'_>, (tensor,): (Handle,)| {
            Ok((match &**caller.data().table.get(&tensor)? {
                NnValue::Supported(tensor) => {
                    tensor_type(tensor.element_type()).ok_or_else(|| {
                        wasmtime::format_err!("a tensor of a type that wasi:nn does not have")
                    })?
                }
                NnValue::Unsupported(tensor) => tensor.ty,
            },))
        },
    )?;
    interface.func_wrap(
        "[method]tensor.data",
        |caller: Caller<'_>, (tensor,): (Handle,)| {
            let data = match &**caller.data().table.get(&tensor)? {
                NnValue::Supported(tensor) => TensorData::Tensor(tensor.clone()),
                NnValue::Unsupported(tensor) => TensorData::Unsupported(Arc::clone(&tensor.data)),
            };
            Ok((HostList::new(data, TensorData::bytes),))
        },
    )
}

/// The source of the bytes of `data`.
enum TensorData {
    Tensor(Tensor),
    Unsupported(Arc<[u8]>),
}

impl TensorData {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Tensor(tensor) => tensor.bytes(),
            Self::Unsupported(bytes) => bytes,
        }
    }
}

/// Creates a tensor from the component's bytes. The interface has no error, so a refusal ends the call.
fn make(
    mut caller: Caller<'_>,
    dimensions: Vec<u32>,
    ty: TensorType,
    data: &WasmList<u8>,
) -> wasmtime::Result<Handle> {
    let mut bytes = data.len();
    if dimensions.len() > tensors::MAX_RANK {
        bytes = bytes.saturating_add(size_of_val(dimensions.as_slice()));
    }
    let fits = caller.data().tensor_budget.check(1, bytes as u64);
    fits.map_err(CallEnd::Tensors)?;
    let given = from_bytes(dimensions, ty, data.as_le_slice(caller.as_context()));
    let held = caller.data().tensor_budget.hold(given, bytes);
    Ok(caller
        .data_mut()
        .table
        .push(held.map_err(CallEnd::Tensors)?)?)
}

fn from_bytes(dimensions: Vec<u32>, ty: TensorType, data: &[u8]) -> NnValue {
    use errors::ErrorCode::{InvalidArgument, UnsupportedOperation};
    let made = match element_type(ty) {
        None => {
            let problem = "a tensor of bf16, which no model here takes; convert it to fp32";
            Err((UnsupportedOperation, problem.to_owned()))
        }
        Some(_) if dimensions.len() > tensors::MAX_RANK => Err((
            InvalidArgument,
            tensors::too_many_dimensions(dimensions.len()),
        )),
        Some(element_type) => {
            let shape = tensors::dimensions(&dimensions);
            Tensor::from_bytes(element_type, &shape, data)
                .map_err(|cause| (InvalidArgument, chain(&cause)))
        }
    };
    match made {
        Ok(tensor) => NnValue::Supported(tensor),
        Err((code, problem)) => NnValue::Unsupported(UnsupportedTensor {
            dimensions,
            ty,
            data: data.into(),
            code,
            problem,
        }),
    }
}

const fn element_type(ty: TensorType) -> Option<ElementType> {
    Some(match ty {
        TensorType::Fp16 => ElementType::F16,
        TensorType::Fp32 => ElementType::F32,
        TensorType::Fp64 => ElementType::F64,
        TensorType::Bf16 => return None,
        TensorType::U8 => ElementType::U8,
        TensorType::I32 => ElementType::I32,
        TensorType::I64 => ElementType::I64,
    })
}

const fn tensor_type(element_type: ElementType) -> Option<TensorType> {
    Some(match element_type {
        ElementType::F16 => TensorType::Fp16,
        ElementType::F32 => TensorType::Fp32,
        ElementType::F64 => TensorType::Fp64,
        ElementType::U8 => TensorType::U8,
        ElementType::I32 => TensorType::I32,
        ElementType::I64 => TensorType::I64,
        ElementType::Bool | ElementType::I8 => return None,
    })
}

impl State {
    fn failed<T>(&mut self, code: errors::ErrorCode, message: impl Into<String>) -> NnResult<T> {
        // Cut: it exists as long as the component holds the error, and may have a name that the component chose.
        let message = clip(message.into());
        if !self.services.keeps_log() {
            tracing::debug!(?code, message, "wasi:nn");
        }
        Ok(Err(self.table.push(NnError { code, message })?))
    }

    /// Runs the model on the inputs of the component.
    fn compute_with(
        &mut self,
        model: &NamedModel,
        inputs: Vec<(String, NnTensor)>,
    ) -> NnResult<Vec<(String, Handle)>> {
        let mut named = Vec::with_capacity(inputs.len());
        for (name, tensor) in &inputs {
            match &**tensor {
                NnValue::Supported(tensor) => named.push((name.as_str(), tensor)),
                NnValue::Unsupported(tensor) => {
                    let message = format!("input \"{name}\": {}", tensor.problem);
                    return self.failed(tensor.code, message);
                }
            }
        }
        let expressed =
            |info: &&hotshoe_infer::TensorInfo| tensor_type(info.element_type).is_none();
        if let Some(info) = model.outputs().iter().find(expressed) {
            let (name, kind) = (&info.name, info.element_type);
            let message = format!(
                "the model's output \"{name}\" is {kind}, which wasi:nn cannot express; use the import hotshoe:pipeline/infer"
            );
            return self.failed(errors::ErrorCode::UnsupportedOperation, message);
        }
        let outputs = match self.run_model(model, &named)? {
            Ok(outputs) => outputs,
            Err(cause) => return self.failed(code(&cause), chain(&cause)),
        };
        // Freed first, so that the outputs fit the budget.
        drop(inputs);
        let fits = self
            .tensor_budget
            .check(outputs.len() as u64, byte_len(&outputs) as u64);
        if let Err(refusal) = fits {
            self.tensor_refused = true;
            return self.failed(errors::ErrorCode::TooLarge, refusal.to_string());
        }
        let mut given = Vec::with_capacity(outputs.len());
        for (name, tensor) in outputs {
            let bytes = tensor.byte_len();
            let held = self.tensor_budget.hold(NnValue::Supported(tensor), bytes);
            given.push((name, self.table.push(held.map_err(CallEnd::Tensors)?)?));
        }
        Ok(Ok(given))
    }
}

impl graph::Host for State {
    fn load(
        &mut self,
        _builder: Vec<Vec<u8>>,
        _encoding: graph::GraphEncoding,
        _target: graph::ExecutionTarget,
    ) -> NnResult<Resource<Graph>> {
        self.failed(
            errors::ErrorCode::Security,
            "a component cannot load a model of its own; put the model into the release, name it in the component's `models`, and use load-by-name",
        )
    }

    fn load_by_name(&mut self, name: String) -> NnResult<Resource<Graph>> {
        match self.services.model(&name) {
            Ok(model) => {
                let graph = Graph(Arc::clone(model));
                Ok(Ok(self.table.push(graph)?))
            }
            Err(message) => self.failed(errors::ErrorCode::NotFound, message),
        }
    }
}

impl graph::HostGraph for State {
    fn init_execution_context(&mut self, graph: Resource<Graph>) -> NnResult<Resource<Context>> {
        let context = Context(Arc::clone(&self.table.get(&graph)?.0));
        Ok(Ok(self.table.push(context)?))
    }

    fn drop(&mut self, graph: Resource<Graph>) -> wasmtime::Result<()> {
        self.table.delete(graph)?;
        Ok(())
    }
}

impl inference::Host for State {}

impl inference::HostGraphExecutionContext for State {
    fn compute(
        &mut self,
        context: Resource<Context>,
        inputs: Vec<(String, Handle)>,
    ) -> NnResult<Vec<(String, Handle)>> {
        let model = Arc::clone(&self.table.get(&context)?.0);
        let inputs = inputs
            .into_iter()
            .map(|(name, tensor)| Ok((name, self.table.delete(tensor)?)))
            .collect::<wasmtime::Result<_>>()?;
        self.compute_with(&model, inputs)
    }

    fn drop(&mut self, context: Resource<Context>) -> wasmtime::Result<()> {
        self.table.delete(context)?;
        Ok(())
    }
}

impl errors::Host for State {}

impl errors::HostError for State {
    fn code(&mut self, failed: Resource<NnError>) -> wasmtime::Result<errors::ErrorCode> {
        Ok(self.table.get(&failed)?.code)
    }

    fn data(&mut self, failed: Resource<NnError>) -> wasmtime::Result<String> {
        Ok(self.table.get(&failed)?.message.clone())
    }

    fn drop(&mut self, failed: Resource<NnError>) -> wasmtime::Result<()> {
        self.table.delete(failed)?;
        Ok(())
    }
}

fn code(error: &RunError) -> errors::ErrorCode {
    use errors::ErrorCode as Nn;
    match error.kind() {
        // `not-found` is for graphs only.
        ErrorKind::InvalidInput | ErrorKind::NotFound => Nn::InvalidArgument,
        ErrorKind::Unsupported => Nn::UnsupportedOperation,
        ErrorKind::LimitExceeded => Nn::TooLarge,
        ErrorKind::DeadlineExceeded => Nn::Timeout,
        ErrorKind::Internal => Nn::RuntimeError,
    }
}
