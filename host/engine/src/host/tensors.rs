//! `tensors`, linked by hand, since generated bindings copy every list a second time on the host.

use hotshoe_infer::{ElementType, Tensor, TensorError};
use hotshoe_trust::PIPELINE;
use wasmtime::component::{Linker, LinkerInstance, Resource, ResourceType, WasmList};
use wasmtime::{AsContext, StoreContext, StoreContextMut};

use super::bindings::hotshoe::pipeline::tensors;
use super::bindings::hotshoe::pipeline::types::{Error, ErrorCode};
use super::lists::{F32List, HostList};
use super::{CountedTensor, State, error};
use crate::message::MAX_MESSAGE_BYTES;

/// Most dimensions of a tensor that a component makes, as in NumPy 2. Their list is not counted against `tensor-mib`.
pub(super) const MAX_RANK: usize = 64;

/// The shape of the `from-u8` call by which a component of 0.1.0 reports why it is about to trap: its elements are the text. No tensor has this shape, so
/// the call fails on any host. 0.2.0 has `fault` for it.
const FAULT_SHAPE: [u32; 2] = [u32::MAX; 2];

type Caller<'a> = StoreContextMut<'a, State>;
type Handle = Resource<CountedTensor>;
type MakeResult = wasmtime::Result<(Result<Handle, Error>,)>;
type ReadResult<T> = wasmtime::Result<(Result<HostList<Tensor, T>, Error>,)>;

/// Links `tensors` of a version.
pub(crate) fn add_to_linker(linker: &mut Linker<State>, version: &str) -> wasmtime::Result<()> {
    let mut interface = linker.instance(&PIPELINE.interface("tensors", version))?;
    interface.resource(
        "tensor",
        ResourceType::host::<CountedTensor>(),
        |mut caller: Caller<'_>, index| {
            let tensor = Handle::new_own(index);
            caller.data_mut().table.delete(tensor)?;
            Ok(())
        },
    )?;
    add_makers(&mut interface)?;
    add_readers(&mut interface)
}

fn add_makers(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "[static]tensor.from-f32",
        |caller: Caller<'_>, (shape, list): (Vec<u32>, F32List)| {
            let bytes = list.len().saturating_mul(size_of::<f32>());
            make(caller, ElementType::F32, &shape, bytes, |memory| {
                bytemuck::cast_slice(list.bits(memory))
            })
        },
    )?;
    interface.func_wrap(
        "[static]tensor.from-u8",
        |mut caller: Caller<'_>, (shape, list): (Vec<u32>, WasmList<u8>)| {
            if shape == FAULT_SHAPE {
                let text = list.as_le_slice(caller.as_context());
                let text = text.get(..MAX_MESSAGE_BYTES).unwrap_or(text);
                let text = String::from_utf8_lossy(text).into_owned();
                caller.data_mut().report_fault(text);
            }
            make(caller, ElementType::U8, &shape, list.len(), |memory| {
                list.as_le_slice(memory)
            })
        },
    )?;
    interface.func_wrap(
        "[static]tensor.from-i64",
        |caller: Caller<'_>, (shape, list): (Vec<u32>, WasmList<i64>)| {
            let bytes = list.len().saturating_mul(size_of::<i64>());
            make(caller, ElementType::I64, &shape, bytes, |memory| {
                bytemuck::cast_slice(list.as_le_slice(memory))
            })
        },
    )?;
    interface.func_wrap(
        "[static]tensor.from-bytes",
        |caller: Caller<'_>,
         (element_type, shape, list): (tensors::ElementType, Vec<u32>, WasmList<u8>)| {
            make(caller, element_type.into(), &shape, list.len(), |memory| {
                list.as_le_slice(memory)
            })
        },
    )
}

/// Creates a tensor from elements in the component's memory, if `bytes` fit its budget.
fn make(
    mut caller: Caller<'_>,
    element_type: ElementType,
    shape: &[u32],
    bytes: usize,
    elements: impl for<'a> FnOnce(StoreContext<'a, State>) -> &'a [u8],
) -> MakeResult {
    if let Err(error) = caller.data_mut().check_budget(1, bytes) {
        return Ok((Err(error),));
    }
    if shape.len() > MAX_RANK {
        let cause = too_many_dimensions(shape.len());
        return Ok((Err(error(ErrorCode::InvalidInput, cause)),));
    }
    let shape = dimensions(shape);
    match Tensor::from_bytes(element_type, &shape, elements(caller.as_context())) {
        Ok(tensor) => Ok((caller.data_mut().hold_tensor(tensor)?,)),
        Err(cause) => Ok((Err(error(ErrorCode::InvalidInput, cause)),)),
    }
}

fn add_readers(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap(
        "[method]tensor.element-type",
        |caller: Caller<'_>, (tensor,): (Handle,)| {
            let element_type = caller.data().table.get(&tensor)?.element_type();
            Ok((tensors::ElementType::from(element_type),))
        },
    )?;
    interface.func_wrap(
        "[method]tensor.shape",
        |caller: Caller<'_>, (tensor,): (Handle,)| Ok((shape(caller.data().table.get(&tensor)?)?,)),
    )?;
    interface.func_wrap(
        "[method]tensor.read-f32",
        |caller: Caller<'_>, (tensor,): (Handle,)| {
            read(&caller, &tensor, ElementType::F32, |tensor| {
                tensor.as_f32().unwrap_or_default()
            })
        },
    )?;
    interface.func_wrap(
        "[method]tensor.read-u8",
        |caller: Caller<'_>, (tensor,): (Handle,)| {
            read(&caller, &tensor, ElementType::U8, |tensor| {
                tensor.as_u8().unwrap_or_default()
            })
        },
    )?;
    interface.func_wrap(
        "[method]tensor.read-i64",
        |caller: Caller<'_>, (tensor,): (Handle,)| {
            read(&caller, &tensor, ElementType::I64, |tensor| {
                tensor.as_i64().unwrap_or_default()
            })
        },
    )?;
    interface.func_wrap(
        "[method]tensor.read-bytes",
        |caller: Caller<'_>, (tensor,): (Handle,)| {
            let tensor = Tensor::clone(caller.data().table.get(&tensor)?);
            Ok((HostList::new(tensor, Tensor::bytes),))
        },
    )
}

/// The elements of a tensor, if it has type `want`.
fn read<T>(
    caller: &Caller<'_>,
    tensor: &Handle,
    want: ElementType,
    view: for<'a> fn(&'a Tensor) -> &'a [T],
) -> ReadResult<T> {
    let tensor = Tensor::clone(caller.data().table.get(tensor)?);
    let got = tensor.element_type();
    if got != want {
        let cause = TensorError::WrongType { want, got };
        return Ok((Err(error(ErrorCode::Unsupported, cause)),));
    }
    Ok((Ok(HostList::new(tensor, view)),))
}

/// The shape of a tensor for components.
pub(super) fn shape(tensor: &Tensor) -> wasmtime::Result<Vec<u32>> {
    let dimensions = tensor.shape().iter();
    let dimensions = dimensions.map(|&dimension| u32::try_from(dimension));
    Ok(dimensions.collect::<Result<_, _>>()?)
}

/// The message about a shape with too many dimensions.
pub(super) fn too_many_dimensions(found: usize) -> String {
    format!("a shape of {found} dimensions; a tensor has at most {MAX_RANK}")
}

pub(super) fn dimensions(shape: &[u32]) -> Vec<usize> {
    shape.iter().map(|&dimension| dimension as usize).collect()
}

impl From<tensors::ElementType> for ElementType {
    fn from(wit: tensors::ElementType) -> Self {
        match wit {
            tensors::ElementType::Bool => Self::Bool,
            tensors::ElementType::U8 => Self::U8,
            tensors::ElementType::I8 => Self::I8,
            tensors::ElementType::I32 => Self::I32,
            tensors::ElementType::I64 => Self::I64,
            tensors::ElementType::F16 => Self::F16,
            tensors::ElementType::F32 => Self::F32,
            tensors::ElementType::F64 => Self::F64,
        }
    }
}

impl From<ElementType> for tensors::ElementType {
    fn from(own: ElementType) -> Self {
        match own {
            ElementType::Bool => Self::Bool,
            ElementType::U8 => Self::U8,
            ElementType::I8 => Self::I8,
            ElementType::I32 => Self::I32,
            ElementType::I64 => Self::I64,
            ElementType::F16 => Self::F16,
            ElementType::F32 => Self::F32,
            ElementType::F64 => Self::F64,
        }
    }
}
