//! The outputs that are served, and the part of the graph that they need.

use std::collections::HashSet;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::{Tensor, Value};
use tract_onnx::pb::{GraphProto, NodeProto, TypeProto, ValueInfoProto};

use crate::LoadError;
use crate::fold::remove_unused;
use crate::onnx::inner_graphs;

/// Leaves only the chosen outputs, in this order, and the nodes, weights and inputs that they need. A chosen output is an output of the
/// file, or another tensor whose type it states. Without a choice, the outputs stay, each once. Returns whether the graph has changed.
pub(super) fn outputs(graph: &mut GraphProto, chosen: &[String]) -> Result<bool, LoadError> {
    if chosen.is_empty() {
        let before = graph.output.len();
        let mut names = HashSet::new();
        // Two outputs of one name are one tensor.
        graph
            .output
            .retain(|output| names.insert(output.name.clone()));
        return Ok(graph.output.len() < before);
    }
    let found = chosen.iter().map(|name| {
        find(graph, name)
            .cloned()
            .ok_or_else(|| LoadError::NoOutput {
                name: name.clone(),
                known: graph.output.iter().map(|it| it.name.clone()).collect(),
            })
    });
    graph.output = found.collect::<Result<_, _>>()?;
    remove_unused(graph);
    let mut needed: HashSet<String> = graph.output.iter().map(|it| it.name.clone()).collect();
    graph.node.iter().for_each(|node| uses(node, &mut needed));
    graph.input.retain(|input| needed.contains(&input.name));
    graph.sparse_initializer.retain(|weight| {
        let values = weight.values.as_ref();
        values.is_some_and(|values| needed.contains(&values.name))
    });
    let outputs: HashSet<&String> = graph.output.iter().map(|it| &it.name).collect();
    graph
        .value_info
        .retain(|it| needed.contains(&it.name) && !outputs.contains(&it.name));
    Ok(true)
}

fn find<'a>(graph: &'a GraphProto, name: &str) -> Option<&'a ValueInfoProto> {
    let is_made = |name: &String| graph.node.iter().any(|node| node.output.contains(name));
    let mut inner = graph.value_info.iter().filter(|it| is_made(&it.name));
    let own = graph.output.iter().find(|it| it.name == name);
    own.or_else(|| inner.find(|it| it.name == name))
}

/// Collects the names that a node and its inner graphs use.
fn uses(node: &NodeProto, names: &mut HashSet<String>) {
    names.extend(node.input.iter().cloned());
    for graph in inner_graphs(node) {
        names.extend(graph.output.iter().map(|it| it.name.clone()));
        graph.node.iter().for_each(|node| uses(node, names));
    }
}

/// Replaces outputs that are lists of maps from class to score, as scikit-learn's converter makes them, by the scores: one row for each
/// sample, one column for each class. Returns whether there was one.
pub(super) fn without_maps(graph: &mut GraphProto) -> bool {
    let mut replaced = false;
    for output in &mut graph.output {
        let mut nodes = graph.node.iter_mut();
        let maker = nodes.find(|node| node.output.contains(&output.name));
        let Some(node) = maker.filter(|node| is_zip_map(node)) else {
            continue;
        };
        "Identity".clone_into(&mut node.op_type);
        node.domain.clear();
        node.attribute.clear();
        output.r#type = Some(TypeProto {
            value: Some(Value::TensorType(Tensor {
                elem_type: DataType::Float as i32,
                shape: None,
            })),
            ..TypeProto::default()
        });
        replaced = true;
    }
    replaced
}

fn is_zip_map(node: &NodeProto) -> bool {
    node.op_type == "ZipMap" && node.domain == "ai.onnx.ml"
}
