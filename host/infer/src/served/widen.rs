//! Element types of ONNX that tensors do not have: their tensors are of a wider type, and the graph casts them.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};

use super::ValueRange;
use crate::describe::held;
use crate::onnx::type_name;

/// The beginning of the names of added tensors.
const ADDED: &str = "hotshoe:";

fn values(narrow: DataType) -> Option<RangeInclusive<i64>> {
    Some(match narrow {
        DataType::Int16 => i16::MIN.into()..=i16::MAX.into(),
        DataType::Uint16 => 0..=u16::MAX.into(),
        DataType::Uint32 => 0..=u32::MAX.into(),
        _ => return None,
    })
}

/// The values that each input takes.
pub(super) fn ranges(graph: &GraphProto) -> Vec<Option<ValueRange>> {
    let weights = weights(graph);
    let given = graph.input.iter().filter(|it| !weights.contains(&it.name));
    let range = |input: &ValueInfoProto| {
        let narrow = element_type(input)?;
        Some(ValueRange {
            element_type: type_name(narrow as i32),
            values: values(narrow)?,
        })
    };
    given.map(range).collect()
}

/// Casts the inputs and outputs of narrow types. The inputs and outputs of the graph get names of their own, so that all others stay.
/// Returns whether there are any.
pub(super) fn with_casts(graph: &mut GraphProto) -> bool {
    let weights = weights(graph);
    let mut first = Vec::new();
    for input in &mut graph.input {
        if weights.contains(&input.name) {
            continue;
        }
        if let Some(narrow) = widen(input) {
            let added = format!("{ADDED}{}", input.name);
            first.push(cast(&added, &input.name, narrow));
            input.name = added;
        }
    }
    let mut last = Vec::new();
    for output in &mut graph.output {
        if let Some(narrow) = widen(output)
            && let Some(wide) = held(narrow)
        {
            // An output may be an input.
            let added = format!("{ADDED}{ADDED}{}", output.name);
            last.push(cast(&output.name, &added, wide));
            output.name = added;
        }
    }
    let changed = !(first.is_empty() && last.is_empty());
    let nodes = std::mem::take(&mut graph.node);
    graph.node = first.into_iter().chain(nodes).chain(last).collect();
    changed
}

fn weights(graph: &GraphProto) -> HashSet<String> {
    let weights = graph.initializer.iter();
    weights.map(|weight| weight.name.clone()).collect()
}

fn element_type(value: &ValueInfoProto) -> Option<DataType> {
    let Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    DataType::try_from(tensor.elem_type).ok()
}

/// Gives a value the wider type, if it has a narrow one, which is returned.
fn widen(value: &mut ValueInfoProto) -> Option<DataType> {
    let narrow = element_type(value)?;
    let wide = held(narrow)?;
    let Value::TensorType(tensor) = value.r#type.as_mut()?.value.as_mut()?;
    tensor.elem_type = wide as i32;
    Some(narrow)
}

fn cast(from: &str, to: &str, element_type: DataType) -> NodeProto {
    NodeProto {
        name: format!("{ADDED}cast {from} {to}"),
        op_type: "Cast".to_owned(),
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        attribute: vec![AttributeProto {
            name: "to".to_owned(),
            i: element_type as i64,
            r#type: AttributeType::Int as i32,
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    }
}
