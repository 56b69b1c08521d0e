//! The three transformations of a graph.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::{GraphProto, NodeProto};

use super::to_proto;
use crate::inspect::Facts;
use crate::onnx::{inner_graphs, is_own};

/// Operators that are not folded: the first would undo the quantisation of a model, the others are random.
const KEPT: [&str; 9] = [
    "DequantizeLinear",
    "QuantizeLinear",
    "DynamicQuantizeLinear",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
];

/// The operator set from which training of a `Dropout` is an input (ONNX `Operators.md`).
const OPSET_OF_DROPOUT_INPUTS: i64 = 12;

/// Replaces nodes with known outputs by weights. Returns the number of computed nodes, and of `Constant` nodes, which only move.
pub(super) fn compute(graph: &mut GraphProto, facts: &Facts) -> (usize, usize) {
    let outputs: HashSet<String> = graph.output.iter().map(|it| it.name.clone()).collect();
    let mut weights = Vec::new();
    let (mut computed, mut moved) = (0, 0);
    graph.node.retain(|node| {
        let gives_output = node.output.iter().any(|name| outputs.contains(name));
        if gives_output || KEPT.contains(&node.op_type.as_str()) || node.output.is_empty() {
            return true;
        }
        let named = node.output.iter().filter(|name| !name.is_empty());
        let values: Option<Vec<_>> = named
            .map(|name| Some(to_proto(name, &facts.value(name)?)))
            .collect();
        let Some(values) = values else { return true };
        weights.extend(values);
        match node.op_type.as_str() {
            "Constant" => moved += 1,
            _ => computed += 1,
        }
        false
    });
    graph.initializer.extend(weights);
    (computed, moved)
}

/// Removes nodes that pass on their input unchanged. Returns their number.
pub(super) fn pass_through(graph: &mut GraphProto, opset: i64) -> usize {
    let outputs: HashSet<String> = graph.output.iter().map(|it| it.name.clone()).collect();
    let mut used = HashSet::new();
    let mut graphs: Vec<&GraphProto> = vec![graph];
    while let Some(graph) = graphs.pop() {
        used.extend(
            graph
                .node
                .iter()
                .flat_map(|node| node.input.iter().cloned()),
        );
        used.extend(graph.output.iter().map(|it| it.name.clone()));
        graphs.extend(graph.node.iter().flat_map(inner_graphs));
    }
    // Nodes are in topological order, so that renamed inputs are known.
    let mut renamed: HashMap<String, String> = HashMap::new();
    let before = graph.node.len();
    graph.node.retain_mut(|node| {
        rename(node, &renamed);
        let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
            return true;
        };
        if outputs.contains(output) || !does_nothing(node, opset, &used) {
            return true;
        }
        renamed.insert(output.clone(), input.clone());
        false
    });
    before - graph.node.len()
}

fn does_nothing(node: &NodeProto, opset: i64, used: &HashSet<String>) -> bool {
    let is_used = |name: &String| !name.is_empty() && used.contains(name);
    if !is_own(node) {
        return false;
    }
    match node.op_type.as_str() {
        "Identity" => true,
        "Dropout" => {
            // Before, it was an attribute or implied; inference never trains.
            let may_train = opset >= OPSET_OF_DROPOUT_INPUTS
                && node.input.get(2).is_some_and(|name| !name.is_empty());
            !may_train && !node.output.iter().skip(1).any(is_used)
        }
        _ => false,
    }
}

/// Renames inputs, also in inner graphs, which see the names of outer graphs.
fn rename(node: &mut NodeProto, renamed: &HashMap<String, String>) {
    for input in &mut node.input {
        if let Some(name) = renamed.get(input) {
            input.clone_from(name);
        }
    }
    let attributes = node.attribute.iter_mut();
    for graph in attributes.flat_map(|it| it.g.iter_mut().chain(&mut it.graphs)) {
        for node in &mut graph.node {
            rename(node, renamed);
        }
        for output in &mut graph.output {
            if let Some(name) = renamed.get(&output.name) {
                output.name.clone_from(name);
            }
        }
    }
}

/// Removes nodes and weights that no output needs. Returns their number.
pub(crate) fn remove_unused(graph: &mut GraphProto) -> usize {
    let before = graph.node.len() + graph.initializer.len();
    let mut needed: HashSet<String> = graph.output.iter().map(|it| it.name.clone()).collect();
    let mut kept: Vec<NodeProto> = Vec::new();
    // In topological order, each node follows those whose outputs it uses.
    for node in std::mem::take(&mut graph.node).into_iter().rev() {
        if node.output.iter().any(|name| needed.contains(name)) {
            need(&node, &mut needed);
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    // Older files also list weights as inputs, and an input without its weight would be required.
    let dropped = |name: &str| !needed.contains(name);
    let weights: HashSet<String> = graph.initializer.iter().map(|it| it.name.clone()).collect();
    graph
        .input
        .retain(|input| !(weights.contains(&input.name) && dropped(&input.name)));
    graph.initializer.retain(|weight| !dropped(&weight.name));
    before - graph.node.len() - graph.initializer.len()
}

/// Collects the inputs of a node and of its inner graphs.
fn need(node: &NodeProto, needed: &mut HashSet<String>) {
    needed.extend(node.input.iter().cloned());
    for graph in inner_graphs(node) {
        needed.extend(graph.output.iter().map(|it| it.name.clone()));
        for node in &graph.node {
            need(node, needed);
        }
    }
}
