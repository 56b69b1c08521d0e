//! Parts of an ONNX file: operators and their domains, inner graphs, element types.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

/// The domain of ONNX's own operators; most files leave it empty.
pub(crate) const OWN_DOMAIN: &str = "ai.onnx";

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
