//! Whether tract takes a file to mean what it says.
//!
//! tract finds an operator by its name alone, whatever domain it is of and whatever function the file has of that name; it
//! wires tensors by the last of their names; and it passes over what it does not know. Such a file runs, and gives something
//! else. [`framework`] and [`partial_framework`] are the only ways to tract for whole files, so that nothing is loaded, looked
//! into or simplified by it that it would misread.

use std::collections::{BTreeSet, HashSet};

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::attributes;
use crate::LoadError;
use crate::inspect::{
    OWN_DOMAIN as OWN, calls_function, domain, inner_graphs, node_name, operator,
};

/// ONNX's operators for classic machine learning.
const LEARNING: &str = "ai.onnx.ml";
/// ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";

/// The newest version of each operator set that tract was tried with (`tests/conformance.rs`, and for the last two the schemas).
const NEWEST_SETS: [(&str, i64); 3] = [(OWN, 25), (LEARNING, 5), (MICROSOFT, 1)];
/// The newest version of the file format that tract was tried with.
const NEWEST_FORMAT: i64 = 13;

/// Operators of tract that are those of other domains than ONNX's own.
const OF_OTHERS: &[(&str, &[&str])] = &[
    ("ArrayFeatureExtractor", &[LEARNING]),
    ("BiasGelu", &[MICROSOFT]),
    ("CategoryMapper", &[LEARNING]),
    ("DequantizeLinear", &[OWN, MICROSOFT]),
    ("FastGelu", &[MICROSOFT]),
    ("GatherBlockQuantized", &[MICROSOFT]),
    ("Gelu", &[OWN, MICROSOFT]),
    ("GroupQueryAttention", &[MICROSOFT]),
    ("LinearClassifier", &[LEARNING]),
    ("LinearRegressor", &[LEARNING]),
    ("MatMulNBits", &[MICROSOFT]),
    ("MultiHeadAttention", &[MICROSOFT]),
    ("Normalizer", &[LEARNING]),
    ("QuantizeLinear", &[OWN, MICROSOFT]),
    ("QuickGelu", &[MICROSOFT]),
    ("RotaryEmbedding", &[OWN, MICROSOFT]),
    ("SkipLayerNormalization", &[MICROSOFT]),
    ("SkipSimplifiedLayerNormalization", &[MICROSOFT]),
    ("TreeEnsembleClassifier", &[LEARNING]),
];

/// Why tract is not given a file.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    /// The first node that is to blame, if one is.
    pub(crate) node: Option<&'a NodeProto>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    /// Operators that it does not have, those of other domains with these.
    Operators(BTreeSet<String>),
    /// What it would take for something else.
    Misread(String),
}

impl Refusal<'_> {
    /// For people, about the node if there is one.
    pub(crate) fn reason(&self) -> String {
        match &self.problem {
            Problem::Operators(_) => "tract does not have this operator".to_owned(),
            Problem::Misread(reason) => reason.clone(),
        }
    }
}

impl From<Refusal<'_>> for LoadError {
    fn from(refusal: Refusal<'_>) -> Self {
        match refusal.problem {
            Problem::Operators(operators) => Self::Operators {
                operators: operators.into_iter().collect(),
            },
            Problem::Misread(problem) => Self::Misread {
                place: refusal.node.map_or_else(
                    || "the model".to_owned(),
                    |node| format!("{} \"{}\"", operator(node), node_name(node)),
                ),
                problem,
            },
        }
    }
}

/// tract, for a file that it reads as it is meant.
pub(crate) fn framework<'a>(
    model: &'a ModelProto,
    graph: &'a GraphProto,
) -> Result<Onnx, Refusal<'a>> {
    let framework = bare();
    let (mut missing, mut first) = (BTreeSet::new(), None);
    every_node(graph, &mut |node| {
        if !is_had(&framework, model, node) {
            missing.insert(operator(node));
            first.get_or_insert(node);
        }
    });
    if !missing.is_empty() {
        return Err(Refusal {
            node: first,
            problem: Problem::Operators(missing),
        });
    }
    let opset = checked(model, graph)?;
    let mut misread = None;
    every_node(graph, &mut |node| {
        if misread.is_none() {
            misread = attributes::misread(node, opset).map(|reason| (node, reason));
        }
    });
    match misread {
        None => Ok(framework),
        Some((node, reason)) => Err(Refusal {
            node: Some(node),
            problem: Problem::Misread(reason),
        }),
    }
}

/// tract, to infer what it can of a file: operators that it does not have, or would misread, are unknown to it.
pub(crate) fn partial_framework<'a>(
    model: &'a ModelProto,
    graph: &'a GraphProto,
) -> Result<Onnx, Refusal<'a>> {
    let opset = checked(model, graph)?;
    let mut framework = bare();
    every_node(graph, &mut |node| {
        if !is_had(&framework, model, node) || attributes::misread(node, opset).is_some() {
            framework.op_register.0.remove(&node.op_type);
        }
    });
    Ok(framework)
}

fn bare() -> Onnx {
    // Shapes noted between the layers are those of one export; in tract they follow from the inputs.
    tract_onnx::onnx().with_ignore_value_info(true)
}

/// The version of ONNX's own operators, if versions and names are ones that tract takes as they are meant.
fn checked<'a>(model: &'a ModelProto, graph: &'a GraphProto) -> Result<i64, Refusal<'a>> {
    let refuse = |(node, reason): Fault<'a>| Refusal {
        node,
        problem: Problem::Misread(reason),
    };
    let mut own = false;
    every_node(graph, &mut |node| own |= domain(&node.domain) == OWN);
    let opset = opset(model, own).map_err(|reason| refuse((None, reason)))?;
    names(graph, &mut Vec::new()).map_err(refuse)?;
    Ok(opset)
}

/// Whether a node's operator is the one that tract has of that name.
fn is_had(framework: &Onnx, model: &ModelProto, node: &NodeProto) -> bool {
    framework.op_register.0.contains_key(&node.op_type)
        && domains(&node.op_type).contains(&domain(&node.domain))
        && !calls_function(model, node)
}

/// The domains whose operator of this name is the one that tract has.
fn domains(operator: &str) -> &'static [&'static str] {
    let other = OF_OTHERS.iter().find(|(name, _)| *name == operator);
    other.map_or(&[OWN], |(_, domains)| domains)
}

/// Each node, and those of the graphs inside it.
fn every_node<'a>(graph: &'a GraphProto, look: &mut impl FnMut(&'a NodeProto)) {
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        for node in &graph.node {
            look(node);
            graphs.extend(inner_graphs(node));
        }
    }
}

/// The version of ONNX's own operators that the file asks for; `own` says whether it needs them.
fn opset(model: &ModelProto, own: bool) -> Result<i64, String> {
    if model.ir_version > NEWEST_FORMAT {
        let version = model.ir_version;
        return Err(format!(
            "it is of version {version} of the file format, and tract knows those up to {NEWEST_FORMAT}"
        ));
    }
    let mut asked: Vec<(&str, i64)> = Vec::new();
    for import in &model.opset_import {
        let (name, version) = (domain(&import.domain), import.version);
        if asked
            .iter()
            .any(|&(known, other)| known == name && other != version)
        {
            return Err(format!(
                "it asks for two versions of the operators of {name}"
            ));
        }
        asked.push((name, version));
        let newest = NEWEST_SETS.iter().find(|(known, _)| *known == name);
        if let Some((_, newest)) = newest
            && !(1..=*newest).contains(&version)
        {
            return Err(format!(
                "it asks for version {version} of the operators of {name}, and tract knows those up to {newest}"
            ));
        }
    }
    match asked.iter().find(|(name, _)| *name == OWN) {
        Some(&(_, version)) => Ok(version),
        None if own => Err(format!(
            "it does not say which version of the operators of {OWN} it means"
        )),
        None => Ok(0),
    }
}

/// A fault, and the node that has it.
type Fault<'a> = (Option<&'a NodeProto>, String);

/// Whether each name stands for one tensor. `outer` has the names of the graphs around this one, which it sees.
fn names<'a>(graph: &'a GraphProto, outer: &mut Vec<HashSet<&'a str>>) -> Result<(), Fault<'a>> {
    let twice = |what: &str, name: &str| Err((None, format!("it has two {what} \"{name}\"")));
    if !graph.sparse_initializer.is_empty() {
        return Err((
            None,
            "it has sparse weights, which tract leaves out".to_owned(),
        ));
    }
    let mut own: HashSet<&str> = HashSet::new();
    for input in &graph.input {
        if !own.insert(&input.name) {
            return twice("inputs", &input.name);
        }
    }
    let mut weights: HashSet<&str> = HashSet::new();
    for weight in &graph.initializer {
        if !weights.insert(&weight.name) {
            return twice("weights", &weight.name);
        }
    }
    own.extend(weights);
    for node in &graph.node {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            let is_outer = outer.iter().any(|names| names.contains(name.as_str()));
            if is_outer || !own.insert(name) {
                let reason = format!("its output is called \"{name}\", as another tensor is");
                return Err((Some(node), reason));
            }
        }
    }
    outer.push(own);
    let mut inner = graph.node.iter().flat_map(inner_graphs);
    let found = inner.try_for_each(|inner| names(inner, outer));
    outer.pop();
    found
}
