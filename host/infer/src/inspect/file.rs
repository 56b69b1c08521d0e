//! Reading the protobuf of an ONNX file without a backend.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Size;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use crate::describe::is_pointer;

use super::{Dimension, InputShapes, InspectError, Parameters, Port, shape_text};

/// The domain of ONNX's own operators; most files leave it empty.
pub(crate) const OWN_DOMAIN: &str = "ai.onnx";

/// Decodes a file that has a graph with at least one output.
pub(crate) fn open(bytes: &[u8]) -> Result<ModelProto, InspectError> {
    if bytes.is_empty() {
        return Err(InspectError::Empty);
    }
    if is_pointer(bytes) {
        return Err(InspectError::Pointer);
    }
    let model =
        ModelProto::decode(bytes).map_err(|e| InspectError::Malformed { source: e.into() })?;
    if graph(&model)?.output.is_empty() {
        let source = "it has no output".into();
        return Err(InspectError::Malformed { source });
    }
    Ok(model)
}

/// The graph of a file.
pub(crate) fn graph(model: &ModelProto) -> Result<&GraphProto, InspectError> {
    let lacks = || InspectError::Malformed {
        source: "it has no graph".into(),
    };
    model.graph.as_ref().ok_or_else(lacks)
}

/// Inputs that the caller has to give. (Older files list their weights as inputs too.)
pub(crate) fn inputs(graph: &GraphProto) -> Vec<Port> {
    let weights: HashSet<&str> = graph
        .initializer
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let given = graph
        .input
        .iter()
        .filter(|input| !weights.contains(input.name.as_str()));
    given.map(port).collect()
}

pub(super) fn port(value: &ValueInfoProto) -> Port {
    let tensor = value.r#type.as_ref().and_then(|it| it.value.as_ref());
    let Some(Value::TensorType(tensor)) = tensor else {
        return Port {
            name: value.name.clone(),
            element_type: "not a tensor".to_owned(),
            shape: None,
        };
    };
    let dimensions = tensor.shape.as_ref().map(|shape| {
        let sizes = shape.dim.iter().map(|dimension| match &dimension.value {
            // Exporters also write -1 or 0 for open dimensions.
            Some(Size::DimValue(size)) if *size > 0 => {
                usize::try_from(*size).map_or_else(|_| open_dimension(), Dimension::Fixed)
            }
            Some(Size::DimParam(name)) if !name.is_empty() => Dimension::Open(name.clone()),
            _ => open_dimension(),
        });
        sizes.collect()
    });
    Port {
        name: value.name.clone(),
        element_type: type_name(tensor.elem_type),
        shape: dimensions,
    }
}

fn open_dimension() -> Dimension {
    Dimension::Open("?".to_owned())
}

/// Checks that the given shapes fit the inputs.
pub(crate) fn check_shapes(inputs: &[Port], shapes: &InputShapes) -> Result<(), InspectError> {
    for (name, got) in shapes {
        let Some(input) = inputs.iter().find(|input| input.name == *name) else {
            return Err(InspectError::UnknownInput {
                name: name.clone(),
                known: inputs.iter().map(|input| input.name.clone()).collect(),
            });
        };
        let Some(want) = &input.shape else { continue };
        let fits = want.len() == got.len()
            && want.iter().zip(got).all(|(want, &got)| match want {
                Dimension::Fixed(want) => *want == got,
                Dimension::Open(_) => got > 0,
            });
        if !fits {
            return Err(InspectError::Shape {
                name: name.clone(),
                want: shape_text(want),
                got: got.clone(),
            });
        }
    }
    Ok(())
}

pub(super) fn opsets(model: &ModelProto) -> BTreeMap<String, i64> {
    let imports = model.opset_import.iter();
    imports
        .map(|import| (domain(&import.domain).to_owned(), import.version))
        .collect()
}

/// The name of a domain; empty means ONNX's own.
pub(crate) fn domain(domain: &str) -> &str {
    if domain.is_empty() {
        OWN_DOMAIN
    } else {
        domain
    }
}

/// The operator of a node, with its domain unless it is ONNX's own.
pub(crate) fn operator(node: &NodeProto) -> String {
    match domain(&node.domain) {
        OWN_DOMAIN => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

/// The name of a node, or of its first output: many files name only outputs.
pub(crate) fn node_name(node: &NodeProto) -> &str {
    let first = || node.output.iter().find(|name| !name.is_empty());
    if node.name.is_empty() {
        first().map_or("", String::as_str)
    } else {
        &node.name
    }
}

/// Whether a node's operator is ONNX's own.
pub(crate) fn is_own(node: &NodeProto) -> bool {
    domain(&node.domain) == OWN_DOMAIN
}

/// Whether a node calls a function of the file.
pub(crate) fn calls_function(model: &ModelProto, node: &NodeProto) -> bool {
    model.functions.iter().any(|function| {
        let (name, of) = (function.name.as_deref(), function.domain.as_deref());
        name == Some(node.op_type.as_str())
            && domain(of.unwrap_or_default()) == domain(&node.domain)
    })
}

/// The inner graphs of a node: branches and loop bodies.
pub(crate) fn inner_graphs(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute
        .iter()
        .flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs))
}

/// Totals over all graphs of a file.
#[derive(Default)]
pub(crate) struct GraphTotals {
    pub(crate) operators: BTreeMap<String, usize>,
    pub(crate) parameters: Parameters,
    pub(crate) external_files: BTreeSet<String>,
}

pub(crate) fn totals(model: &ModelProto, graph: &GraphProto) -> GraphTotals {
    let mut totals = GraphTotals::default();
    let mut graphs = vec![graph];
    for function in &model.functions {
        totals.nodes(&function.node, &mut graphs);
    }
    while let Some(graph) = graphs.pop() {
        let sparse = graph.sparse_initializer.iter();
        let sparse = sparse.filter_map(|tensor| tensor.values.as_ref());
        graph
            .initializer
            .iter()
            .chain(sparse)
            .for_each(|tensor| totals.tensor(tensor));
        totals.nodes(&graph.node, &mut graphs);
    }
    totals
}

impl GraphTotals {
    fn nodes<'a>(&mut self, nodes: &'a [NodeProto], graphs: &mut Vec<&'a GraphProto>) {
        for node in nodes {
            *self.operators.entry(operator(node)).or_default() += 1;
            let constants = node.attribute.iter().filter_map(|it| it.t.as_ref());
            constants.for_each(|tensor| self.tensor(tensor));
            graphs.extend(inner_graphs(node));
        }
    }

    fn tensor(&mut self, tensor: &TensorProto) {
        let count = tensor.dims.iter().fold(1_u64, |product, &size| {
            product.saturating_mul(u64::try_from(size).unwrap_or_default())
        });
        let bytes = match DataType::try_from(tensor.data_type) {
            Ok(DataType::String) => tensor.string_data.iter().map(|it| it.len() as u64).sum(),
            _ => count
                .saturating_mul(element_bits(tensor.data_type))
                .div_ceil(8),
        };
        let parameters = &mut self.parameters;
        parameters.count = parameters.count.saturating_add(count);
        parameters.bytes = parameters.bytes.saturating_add(bytes);
        let kind = type_name(tensor.data_type);
        let amount = parameters.by_type.entry(kind).or_default();
        amount.count = amount.count.saturating_add(count);
        amount.bytes = amount.bytes.saturating_add(bytes);
        if is_external(tensor) {
            let location = tensor.external_data.iter().find(|it| it.key == "location");
            let file = location.map_or("?", |it| it.value.as_str());
            self.external_files.insert(file.to_owned());
        }
    }
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location == Some(DataLocation::External as i32)
}

/// The short name of an element type of ONNX: `f32`, `i64`, `bf16`, `string`.
pub(crate) fn type_name(data_type: i32) -> String {
    let Ok(kind) = DataType::try_from(data_type) else {
        return format!("type {data_type}");
    };
    match kind {
        DataType::Undefined => "undefined".to_owned(),
        DataType::Float => "f32".to_owned(),
        DataType::Double => "f64".to_owned(),
        DataType::Float16 => "f16".to_owned(),
        DataType::Bfloat16 => "bf16".to_owned(),
        kind => {
            let text = kind.as_str_name().to_ascii_lowercase();
            match text.strip_prefix("uint") {
                Some(bits) => format!("u{bits}"),
                None => match text.strip_prefix("int") {
                    Some(bits) => format!("i{bits}"),
                    None => text,
                },
            }
        }
    }
}

/// Bits of one element; 0 if variable.
pub(crate) fn element_bits(data_type: i32) -> u64 {
    match DataType::try_from(data_type) {
        Ok(DataType::Uint4 | DataType::Int4 | DataType::Float4e2m1) => 4,
        Ok(DataType::Uint16 | DataType::Int16 | DataType::Float16 | DataType::Bfloat16) => 16,
        Ok(DataType::Float | DataType::Int32 | DataType::Uint32) => 32,
        Ok(DataType::Double | DataType::Int64 | DataType::Uint64 | DataType::Complex64) => 64,
        Ok(DataType::Complex128) => 128,
        Ok(DataType::String | DataType::Undefined) | Err(_) => 0,
        Ok(_) => 8,
    }
}
