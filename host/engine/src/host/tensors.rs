use hotshoe_infer::{ElementType, Tensor, TensorError};
use wasmtime::component::Resource;

use super::{HeldTensor, State, error};
use crate::bindings::hotshoe::pipeline::types::{Error, ErrorCode};
use crate::bindings::hotshoe::pipeline::{samples, tensors};
use crate::sample::Sample;

impl samples::Host for State {}

impl samples::HostSample for State {
    fn id(&mut self, sample: Resource<Sample>) -> wasmtime::Result<String> {
        Ok(self.table.get(&sample)?.id.clone())
    }

    fn source(&mut self, sample: Resource<Sample>) -> wasmtime::Result<String> {
        Ok(self.table.get(&sample)?.source.clone())
    }

    fn content_type(&mut self, sample: Resource<Sample>) -> wasmtime::Result<String> {
        Ok(self.table.get(&sample)?.content_type.clone())
    }

    fn timestamp(&mut self, sample: Resource<Sample>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&sample)?.timestamp_us)
    }

    fn size(&mut self, sample: Resource<Sample>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&sample)?.payload.len() as u64)
    }

    fn read(&mut self, sample: Resource<Sample>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&sample)?.payload.to_vec())
    }

    fn drop(&mut self, sample: Resource<Sample>) -> wasmtime::Result<()> {
        self.table.delete(sample)?;
        Ok(())
    }
}

impl tensors::Host for State {}

type Made = wasmtime::Result<Result<Resource<HeldTensor>, Error>>;

impl State {
    fn made(&mut self, tensor: Result<Tensor, TensorError>) -> Made {
        match tensor {
            Ok(tensor) => self.hold_tensor(tensor),
            Err(cause) => Ok(Err(error(ErrorCode::InvalidInput, cause))),
        }
    }

    fn elements<T: Clone>(
        &self,
        tensor: &Resource<HeldTensor>,
        view: impl FnOnce(&Tensor) -> Result<&[T], TensorError>,
    ) -> wasmtime::Result<Result<Vec<T>, Error>> {
        let tensor = self.table.get(tensor)?;
        Ok(view(tensor)
            .map(<[T]>::to_vec)
            .map_err(|cause| error(ErrorCode::Unsupported, cause)))
    }
}

fn dimensions(shape: &[u32]) -> Vec<usize> {
    shape.iter().map(|&dimension| dimension as usize).collect()
}

impl tensors::HostTensor for State {
    fn from_f32(&mut self, shape: Vec<u32>, elements: Vec<f32>) -> Made {
        self.made(Tensor::from_f32(&dimensions(&shape), elements))
    }

    fn from_u8(&mut self, shape: Vec<u32>, elements: Vec<u8>) -> Made {
        self.made(Tensor::from_u8(&dimensions(&shape), elements))
    }

    fn from_i64(&mut self, shape: Vec<u32>, elements: Vec<i64>) -> Made {
        self.made(Tensor::from_i64(&dimensions(&shape), elements))
    }

    fn from_bytes(
        &mut self,
        element_type: tensors::ElementType,
        shape: Vec<u32>,
        bytes: Vec<u8>,
    ) -> Made {
        self.made(Tensor::from_bytes(
            element_type.into(),
            &dimensions(&shape),
            &bytes,
        ))
    }

    fn element_type(
        &mut self,
        tensor: Resource<HeldTensor>,
    ) -> wasmtime::Result<tensors::ElementType> {
        Ok(self.table.get(&tensor)?.element_type().into())
    }

    fn shape(&mut self, tensor: Resource<HeldTensor>) -> wasmtime::Result<Vec<u32>> {
        let shape = self.table.get(&tensor)?.shape();
        Ok(shape
            .iter()
            .map(|&dimension| u32::try_from(dimension))
            .collect::<Result<_, _>>()?)
    }

    fn read_f32(
        &mut self,
        tensor: Resource<HeldTensor>,
    ) -> wasmtime::Result<Result<Vec<f32>, Error>> {
        self.elements(&tensor, Tensor::as_f32)
    }

    fn read_u8(
        &mut self,
        tensor: Resource<HeldTensor>,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        self.elements(&tensor, Tensor::as_u8)
    }

    fn read_i64(
        &mut self,
        tensor: Resource<HeldTensor>,
    ) -> wasmtime::Result<Result<Vec<i64>, Error>> {
        self.elements(&tensor, Tensor::as_i64)
    }

    fn read_bytes(&mut self, tensor: Resource<HeldTensor>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&tensor)?.bytes().to_vec())
    }

    fn drop(&mut self, tensor: Resource<HeldTensor>) -> wasmtime::Result<()> {
        self.table.delete(tensor)?;
        Ok(())
    }
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
