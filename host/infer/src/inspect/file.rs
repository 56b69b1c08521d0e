//! Reading the protobuf of an ONNX file without a backend.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Size;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use crate::describe::is_pointer;
use crate::onnx::{domain, element_bits, inner_graphs, operator, type_name};

use super::{Dimension, InputShapes, InspectError, Parameters, Port, shape_text};

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
