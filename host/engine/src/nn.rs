//! `wasi:nn` over named models: a graph is a model of the release, and no backend is there to load a guest's own bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use hotshoe_infer::{ElementType, Model, Tensor};
use wasmtime_wasi_nn::backend::{
    BackendError, BackendExecutionContext, BackendGraph, Id, NamedTensor,
};
use wasmtime_wasi_nn::wit::{Tensor as NnTensor, TensorType, WasiNnCtx};
use wasmtime_wasi_nn::{ExecutionContext, Graph, GraphRegistry, Registry};

use crate::vector;

/// A context that knows these models by their names and nothing else.
pub(crate) fn context(models: &BTreeMap<String, Arc<Model>>) -> WasiNnCtx {
    let graphs = models
        .iter()
        .map(|(name, model)| {
            let graph: Box<dyn BackendGraph> = Box::new(NamedGraph(Arc::clone(model)));
            (name.clone(), Graph::from(graph))
        })
        .collect();
    WasiNnCtx::new([], Registry::from(NamedGraphs(graphs)))
}

struct NamedGraphs(BTreeMap<String, Graph>);

impl GraphRegistry for NamedGraphs {
    fn get(&self, name: &str) -> Option<&Graph> {
        self.0.get(name)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Graph> {
        self.0.get_mut(name)
    }
}

struct NamedGraph(Arc<Model>);

impl BackendGraph for NamedGraph {
    fn init_execution_context(&self) -> Result<ExecutionContext, BackendError> {
        let context: Box<dyn BackendExecutionContext> = Box::new(Context(Arc::clone(&self.0)));
        Ok(context.into())
    }
}

struct Context(Arc<Model>);

impl BackendExecutionContext for Context {
    fn set_input(&mut self, _id: Id, _tensor: &NnTensor) -> Result<(), BackendError> {
        Err(not_a_component())
    }

    fn get_output(&mut self, _id: Id) -> Result<NnTensor, BackendError> {
        Err(not_a_component())
    }

    fn compute(
        &mut self,
        inputs: Option<Vec<NamedTensor>>,
    ) -> Result<Option<Vec<NamedTensor>>, BackendError> {
        let inputs: Vec<(String, Tensor)> = inputs
            .ok_or_else(not_a_component)?
            .into_iter()
            .map(|named| Ok((named.name, from_nn(&named.tensor)?)))
            .collect::<Result<_, BackendError>>()?;
        let named: Vec<(&str, &Tensor)> = inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        let outputs = self.0.run(&named);
        vector::tidy();
        let outputs = outputs.map_err(wasmtime::Error::new)?;
        outputs
            .iter()
            .map(|(name, tensor)| {
                Ok(NamedTensor {
                    name: name.clone(),
                    tensor: to_nn(tensor)?,
                })
            })
            .collect::<Result<_, BackendError>>()
            .map(Some)
    }
}

/// `set-input` and `get-output` belong to the older ABI of core modules, which are not linked.
fn not_a_component() -> BackendError {
    BackendError::BackendAccess(wasmtime::format_err!(
        "this call belongs to wasi-nn's ABI for core modules; build a component"
    ))
}

fn from_nn(tensor: &NnTensor) -> Result<Tensor, BackendError> {
    let element_type = match tensor.ty {
        TensorType::Fp16 => ElementType::F16,
        TensorType::Fp32 => ElementType::F32,
        TensorType::Fp64 => ElementType::F64,
        TensorType::U8 => ElementType::U8,
        TensorType::I32 => ElementType::I32,
        TensorType::I64 => ElementType::I64,
        TensorType::Bf16 => {
            return Err(BackendError::UnsupportedTensorType("bf16".to_owned()));
        }
    };
    let shape: Vec<usize> = tensor.dimensions.iter().map(|&d| d as usize).collect();
    Tensor::from_bytes(element_type, &shape, &tensor.data)
        .map_err(|error| BackendError::BackendAccess(wasmtime::Error::new(error)))
}

fn to_nn(tensor: &Tensor) -> Result<NnTensor, BackendError> {
    let ty = match tensor.element_type() {
        ElementType::F16 => TensorType::Fp16,
        ElementType::F32 => TensorType::Fp32,
        ElementType::F64 => TensorType::Fp64,
        ElementType::U8 => TensorType::U8,
        ElementType::I32 => TensorType::I32,
        ElementType::I64 => TensorType::I64,
        other @ (ElementType::Bool | ElementType::I8) => {
            return Err(BackendError::UnsupportedTensorType(format!(
                "{other}, which wasi:nn cannot express"
            )));
        }
    };
    let dimensions = tensor
        .shape()
        .iter()
        .map(|&dimension| u32::try_from(dimension))
        .collect::<Result<_, _>>()
        .map_err(|error| BackendError::BackendAccess(wasmtime::Error::new(error)))?;
    Ok(NnTensor {
        dimensions,
        ty,
        data: tensor.bytes().to_vec(),
    })
}
