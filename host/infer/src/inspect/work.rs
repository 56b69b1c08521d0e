//! Multiply-adds of one run, from the shapes of the operators that dominate the cost.

use std::collections::BTreeMap;

use serde::Serialize;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::InputShapes;
use super::shapes::{Facts, ResolvedShapes};
use crate::onnx::{inner_graphs, is_own, node_name, operator};

/// The multiply-adds of one run: convolutions, matrix products and recurrent layers. Other operators are not counted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Work {
    /// Total; `None` if the shapes of inputs are unknown, or nothing could be counted.
    pub multiply_adds: Option<u64>,
    /// By operator.
    pub by_operator: BTreeMap<String, u64>,
    /// The shapes of the inputs that this applies to.
    pub shapes: InputShapes,
    /// Inputs whose open outermost dimension was assumed to be 1.
    pub assumed: Vec<String>,
    /// Inputs whose shape must be set.
    pub open: Vec<String>,
    /// Nodes that could not be counted, because their shapes are unknown or they are in a branch or loop: `Conv "name"`.
    pub not_counted: Vec<String>,
}

pub(super) fn estimate(model: &ModelProto, graph: &GraphProto, resolved: &ResolvedShapes) -> Work {
    let mut work = Work {
        shapes: resolved.shapes.clone(),
        assumed: resolved.assumed.clone(),
        open: resolved.open.clone(),
        ..Work::default()
    };
    if !resolved.open.is_empty() {
        return work;
    }
    let facts = Facts::infer(model, graph, &resolved.shapes);
    let mut total = 0_u64;
    for node in &graph.node {
        if let Some(rule) = rule(node) {
            match multiply_adds(rule, node, &facts) {
                Some(count) => {
                    let sum = work.by_operator.entry(operator(node)).or_default();
                    *sum = sum.saturating_add(count);
                    total = total.saturating_add(count);
                }
                None => work.not_counted.push(title(node)),
            }
        }
        let mut inside: Vec<&GraphProto> = inner_graphs(node).collect();
        while let Some(graph) = inside.pop() {
            let counted = graph.node.iter().filter(|node| rule(node).is_some());
            work.not_counted.extend(counted.map(title));
            inside.extend(graph.node.iter().flat_map(inner_graphs));
        }
    }
    let is_known = !work.by_operator.is_empty() || work.not_counted.is_empty();
    work.multiply_adds = is_known.then_some(total);
    work
}

fn title(node: &NodeProto) -> String {
    format!("{} \"{}\"", operator(node), node_name(node))
}

/// How to compute the multiply-adds of an operator from shapes.
#[derive(Clone, Copy)]
enum Rule {
    /// Per output element, one for each element of one filter; the index of the input with the filters.
    PerOutput(usize),
    /// Per input element, one for each element of one filter.
    PerInput,
    /// Per output element, one for each element of a row of this input.
    Product(usize),
    /// As `Product(0)`, but the input may be transposed (`transA`).
    Gemm,
    /// Per step of each sequence, one for each element of the two weights.
    Recurrent,
}

fn rule(node: &NodeProto) -> Option<Rule> {
    // An operator of another domain may have the same name.
    if !is_own(node) && node.domain != "com.microsoft" {
        return None;
    }
    Some(match node.op_type.as_str() {
        "Conv" | "ConvInteger" | "FusedConv" => Rule::PerOutput(1),
        // Input, its scale and zero point, then the filters.
        "QLinearConv" => Rule::PerOutput(3),
        "ConvTranspose" => Rule::PerInput,
        "MatMul"
        | "MatMulInteger"
        | "QLinearMatMul"
        | "FusedMatMul"
        | "DynamicQuantizeMatMul"
        | "MatMulIntegerToFloat" => Rule::Product(0),
        "Gemm" | "FusedGemm" => Rule::Gemm,
        "LSTM" | "GRU" | "RNN" | "DynamicQuantizeLSTM" => Rule::Recurrent,
        _ => return None,
    })
}

fn multiply_adds(rule: Rule, node: &NodeProto, facts: &Facts) -> Option<u64> {
    let input = |position: usize| facts.shape(node.input.get(position)?);
    let output = || facts.shape(node.output.iter().find(|name| !name.is_empty())?);
    let rest = |shape: Vec<usize>| Some(product(shape.get(1..)?));
    Some(match rule {
        Rule::PerOutput(filters) => product(&output()?).saturating_mul(rest(input(filters)?)?),
        Rule::PerInput => product(&input(0)?).saturating_mul(rest(input(1)?)?),
        Rule::Product(rows) => product(&output()?).saturating_mul(*input(rows)?.last()? as u64),
        Rule::Gemm => {
            let is_turned = node
                .attribute
                .iter()
                .any(|it| it.name == "transA" && it.i != 0);
            let row = *input(0)?.get(usize::from(!is_turned))?;
            product(&output()?).saturating_mul(row as u64)
        }
        Rule::Recurrent => {
            // The sequence's two outer dimensions are steps and batch, in either order.
            let steps = product(input(0)?.get(..2)?);
            let weights = product(&input(1)?).saturating_add(product(&input(2)?));
            steps.saturating_mul(weights)
        }
    })
}

fn product(sizes: &[usize]) -> u64 {
    sizes
        .iter()
        .fold(1, |product, &size| product.saturating_mul(size as u64))
}
