//! Row independence: whether each row of a model's outputs depends on the same row of its inputs alone, and there are as many rows.
//!
//! One batch with the same results as separate runs is no proof: a detector whose pictures have one detection each has one row per
//! picture, until a picture has two. So independence is derived from the graph, operator by operator, for all backends. A model with
//! an unknown operator is not batched.

mod facts;
mod layers;
mod moves;
mod rules;
mod sizes;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, ValueInfoProto};

use self::facts::{Dependence, Fact, Size};
use self::rules::{Input, Unknown};
use crate::onnx::{calls_function, inner_graphs, node_name, operator};

/// The facts of each tensor by name; the error is the reason if nothing is known.
type Tensors<'a> = HashMap<&'a str, Result<Fact, String>>;

/// Why the rows of a model may not be independent; `None` if they are.
pub(super) fn check_rows(model: &ModelProto, graph: &GraphProto) -> Option<String> {
    let mut tensors = Tensors::new();
    let weights = graph.initializer.iter().map(|it| it.name.as_str());
    let weights: Vec<&str> = weights.collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !weights.contains(&input.name.as_str()));
    let first_names: Vec<&str> = inputs
        .clone()
        .filter_map(|input| symbol(dimensions(input).first().copied()?))
        .collect();
    for input in inputs {
        let dimensions = dimensions(input);
        // A dimension that equals the number of rows would change in a batch.
        let mut others = dimensions.iter().skip(1).copied().filter_map(symbol);
        if let Some(name) = others.find(|it| first_names.contains(it)) {
            return Some(format!(
                "its input \"{}\" has as many columns as rows: \"{name}\"",
                input.name
            ));
        }
        tensors.insert(&input.name, Ok(rows_of(&dimensions)));
    }
    let walk = Walk {
        model,
        opset: crate::fold::own_opset(model),
    };
    walk.graph(graph, &mut tensors);
    graph.output.iter().find_map(|output| {
        let name = &output.name;
        match tensors.get(name.as_str()) {
            Some(Ok(fact)) if fact.dependence == Dependence::Rows(0) => None,
            Some(Ok(Fact {
                dependence: Dependence::Rows(axis),
                ..
            })) => Some(format!(
                "the rows of its output \"{name}\" are along axis {axis} instead of 0"
            )),
            Some(Ok(_)) | None => Some(format!(
                "its output \"{name}\" does not have a row for each of the input's"
            )),
            Some(Err(reason)) => Some(format!(
                "it is not known whether its output \"{name}\" has a row for each of the input's, from that row alone: {reason}"
            )),
        }
    })
}

fn dimensions(value: &ValueInfoProto) -> Vec<Option<&Dimension>> {
    let kind = value.r#type.as_ref().and_then(|it| it.value.as_ref());
    let Some(Value::TensorType(tensor)) = kind else {
        return Vec::new();
    };
    let all = tensor.shape.iter().flat_map(|shape| &shape.dim);
    all.map(|dimension| dimension.value.as_ref()).collect()
}

/// The name of an open dimension; some exporters write `?` for every unknown one.
fn symbol(dimension: Option<&Dimension>) -> Option<&str> {
    match dimension {
        Some(Dimension::DimParam(name)) if name.starts_with(char::is_alphabetic) => Some(name),
        _ => None,
    }
}

fn rows_of(dimensions: &[Option<&Dimension>]) -> Fact {
    let rest = dimensions.iter().skip(1).map(|dimension| match dimension {
        Some(Dimension::DimValue(size)) if *size > 0 => Size::Is(*size),
        _ => Size::Fixed,
    });
    Fact::rows(0, std::iter::once(Size::Batch).chain(rest).collect())
}

struct Walk<'a> {
    model: &'a ModelProto,
    opset: i64,
}

impl<'a> Walk<'a> {
    /// Adds the facts of the tensors of a graph.
    fn graph(&self, graph: &'a GraphProto, tensors: &mut Tensors<'a>) {
        for weight in &graph.initializer {
            tensors.insert(&weight.name, Ok(Fact::of(weight)));
        }
        for weight in &graph.sparse_initializer {
            if let Some(values) = &weight.values {
                tensors.insert(&values.name, Ok(Fact::constant(None)));
            }
        }
        for node in &graph.node {
            let found = self.node(node, tensors);
            for (at, name) in node.output.iter().enumerate() {
                let fact = found.clone().and_then(|facts| {
                    let fact = facts.get(at).cloned();
                    fact.ok_or_else(|| unknown(node))
                });
                tensors.insert(name, fact);
            }
        }
    }

    /// The facts of a node's outputs.
    fn node(&self, node: &'a NodeProto, tensors: &Tensors<'a>) -> Result<Vec<Fact>, String> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match tensors.get(name.as_str()) {
                _ if name.is_empty() => None,
                Some(fact) => Some(fact.as_ref().map_err(String::clone)?),
                None => return Err(format!("nothing makes \"{name}\"")),
            });
        }
        if calls_function(self.model, node) {
            return Err(unknown(node));
        }
        if node.op_type == "If" {
            return self.branches(node, &inputs, tensors);
        }
        rules::apply(node, &inputs, self.opset).map_err(|Unknown| unknown(node))
    }

    /// Both branches must have the same facts about rows.
    fn branches(
        &self,
        node: &'a NodeProto,
        inputs: &[Input<'_>],
        tensors: &Tensors<'a>,
    ) -> Result<Vec<Fact>, String> {
        let constant = |fact: &Fact| fact.dependence == Dependence::Constant;
        if !inputs.first().copied().flatten().is_some_and(constant) {
            return Err(unknown(node));
        }
        let mut common: Option<Vec<Fact>> = None;
        for branch in inner_graphs(node) {
            let mut inside = tensors.clone();
            self.graph(branch, &mut inside);
            let outputs = branch.output.iter().map(|output| {
                let fact = inside.get(output.name.as_str());
                fact.cloned().unwrap_or_else(|| Err(unknown(node)))
            });
            let outputs = outputs.collect::<Result<Vec<Fact>, String>>()?;
            common = Some(match common {
                None => outputs,
                Some(others) => {
                    let pairs = others.into_iter().zip(outputs);
                    let alike = pairs.map(|(one, other)| one.either(&other));
                    let alike: Option<Vec<Fact>> = alike.collect();
                    alike.ok_or_else(|| unknown(node))?
                }
            });
        }
        common.ok_or_else(|| unknown(node))
    }
}

fn unknown(node: &NodeProto) -> String {
    format!(
        "{} \"{}\" may mix rows, or make more or fewer",
        operator(node),
        node_name(node)
    )
}
