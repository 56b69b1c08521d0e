//! Inputs, outputs and metadata of an ONNX file.

use std::collections::{BTreeMap, HashSet};

use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::{Tensor as TensorType, Value};
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto,
    ValueInfoProto,
};

use crate::{ElementType, LoadError};

/// The first line of a file that stands for another one in git LFS.
const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// One input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The name in the ONNX file.
    pub name: String,
    /// Type of its elements.
    pub element_type: ElementType,
    /// Outermost dimension first. `None` is open: the caller chooses it, or it depends on the inputs. Empty for an output without a
    /// shape in the file.
    pub shape: Vec<Option<usize>>,
}

/// Inputs that the caller has to give, in the order of the file. (Older files list their weights as inputs too.)
pub(crate) fn inputs(graph: &GraphProto) -> Result<Vec<TensorInfo>, LoadError> {
    let weights: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|weight| weight.name.as_str())
        .collect();
    let given = graph
        .input
        .iter()
        .filter(|input| !weights.contains(input.name.as_str()));
    given.map(|input| describe("input", input, true)).collect()
}

/// Outputs in the order of the file.
pub(crate) fn outputs(graph: &GraphProto) -> Result<Vec<TensorInfo>, LoadError> {
    graph
        .output
        .iter()
        .map(|output| describe("output", output, false))
        .collect()
}

fn describe(
    role: &str,
    value: &ValueInfoProto,
    needs_shape: bool,
) -> Result<TensorInfo, LoadError> {
    let refuse = |problem: String| LoadError::Tensor {
        tensor: format!("{role} \"{}\"", value.name),
        problem,
        way_out: match role {
            "output" => "; choose the others with `outputs = [...]` of the model in release.toml",
            _ => "",
        },
    };
    let Some(Value::TensorType(tensor)) = value.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Err(refuse("is not a tensor".to_owned()));
    };
    let element_type = element_type(tensor).map_err(&refuse)?;
    if needs_shape && tensor.shape.is_none() {
        return Err(refuse("states no shape".to_owned()));
    }
    let dimensions = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let shape = dimensions.map(|dimension| match dimension.value {
        Some(Dimension::DimValue(size)) => usize::try_from(size).ok(),
        _ => None,
    });
    Ok(TensorInfo {
        name: value.name.clone(),
        element_type,
        shape: shape.collect(),
    })
}

fn element_type(tensor: &TensorType) -> Result<ElementType, String> {
    let Ok(in_file) = DataType::try_from(tensor.elem_type) else {
        return Err(format!(
            "has elements of the unknown type {}",
            tensor.elem_type
        ));
    };
    // Those that tensors do not have are of a wider type for the caller.
    let kind = of(in_file).or_else(|| of(held(in_file)?));
    kind.ok_or_else(|| format!("has elements of {}", in_file.as_str_name()))
}

/// The element type of tensors for a type of ONNX.
pub(crate) fn of(data_type: DataType) -> Option<ElementType> {
    Some(match data_type {
        DataType::Bool => ElementType::Bool,
        DataType::Uint8 => ElementType::U8,
        DataType::Int8 => ElementType::I8,
        DataType::Int32 => ElementType::I32,
        DataType::Int64 => ElementType::I64,
        DataType::Float16 => ElementType::F16,
        DataType::Float => ElementType::F32,
        DataType::Double => ElementType::F64,
        _ => return None,
    })
}

/// The wider type of the tensors for a type of ONNX that tensors do not have.
pub(crate) fn held(narrow: DataType) -> Option<DataType> {
    Some(match narrow {
        DataType::Bfloat16 => DataType::Float,
        DataType::Int16 | DataType::Uint16 => DataType::Int32,
        DataType::Uint32 => DataType::Int64,
        _ => return None,
    })
}

/// Whether a file is a pointer of git LFS instead of the file itself.
pub(crate) fn is_pointer(bytes: &[u8]) -> bool {
    bytes.starts_with(POINTER)
}

/// The file's own metadata.
pub(crate) fn metadata(model: &ModelProto) -> BTreeMap<String, String> {
    model
        .metadata_props
        .iter()
        .map(|entry| (entry.key.clone(), entry.value.clone()))
        .collect()
}

/// A weight, or a compiled node, that is stored in another file. Such a file is never opened, since its path comes from the model.
pub(crate) fn external_weight(model: &ModelProto) -> Option<&str> {
    let outside = |it: &&TensorProto| it.data_location == Some(DataLocation::External as i32);
    let mut graphs: Vec<&GraphProto> = model.graph.iter().collect();
    // Nodes of the functions first, then of each graph.
    let mut nodes: Vec<&NodeProto> = model.functions.iter().flat_map(|it| &it.node).collect();
    loop {
        for node in nodes.drain(..) {
            if is_compiled_outside(node) {
                return Some(&node.name);
            }
            for attribute in &node.attribute {
                let sparse = attribute
                    .sparse_tensor
                    .iter()
                    .chain(&attribute.sparse_tensors);
                let dense = attribute.t.iter().chain(&attribute.tensors);
                if let Some(tensor) = dense.chain(sparse.flat_map(parts)).find(outside) {
                    return Some(&tensor.name);
                }
                graphs.extend(attribute.g.iter().chain(&attribute.graphs));
            }
        }
        let graph = graphs.pop()?;
        let sparse = graph.sparse_initializer.iter().flat_map(parts);
        if let Some(tensor) = graph.initializer.iter().chain(sparse).find(outside) {
            return Some(&tensor.name);
        }
        nodes.extend(&graph.node);
    }
}

fn parts(tensor: &SparseTensorProto) -> impl Iterator<Item = &TensorProto> {
    tensor.values.iter().chain(&tensor.indices)
}

/// Whether a node is a part of the model that an execution provider of ONNX Runtime has compiled into another file
/// (`EPContext`, whose `embed_mode` is 1 by default).
fn is_compiled_outside(node: &NodeProto) -> bool {
    let beside = |attribute: &AttributeProto| attribute.name == "embed_mode" && attribute.i == 0;
    node.op_type == "EPContext" && node.attribute.iter().any(beside)
}
