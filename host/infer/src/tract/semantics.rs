//! Checks that tract reads a file as the ONNX specification defines it.
//!
//! tract finds an operator by its name alone, and ignores its domain and functions of the file with that name; if tensors share a name,
//! it uses the last one; and it ignores what it does not know. Such a file runs with wrong results. [`framework`] and
//! [`partial_framework`] are the only access to tract for whole files, so that tract never loads, inspects or simplifies a file that it
//! would misread.

use std::collections::{BTreeSet, HashSet};

use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};

use super::attributes;
use crate::LoadError;
use crate::onnx::{OWN_DOMAIN as OWN, calls_function, domain, inner_graphs, node_name, operator};

/// ONNX's operators for classic machine learning.
const LEARNING: &str = "ai.onnx.ml";
/// ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";

/// The newest version of each operator set that tract was tested with (`tests/conformance.rs`, and for the last two the schemas).
const NEWEST_SETS: [(&str, i64); 3] = [(OWN, 25), (LEARNING, 5), (MICROSOFT, 1)];
/// The newest version of the file format that tract was tested with.
const NEWEST_FORMAT: i64 = 13;

/// Operators of tract that belong to other domains than ONNX's own.
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

/// Why a file is not passed to tract.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    /// The first affected node, if there is one.
    pub(crate) node: Option<&'a NodeProto>,
    problem: Problem,
}

#[derive(Debug)]
enum Problem {
    /// Unsupported operators, with their domain unless it is ONNX's own.
    Operators(BTreeSet<String>),
    /// A misreading.
    Misread(String),
}

impl Refusal<'_> {
    /// The reason, about the node if there is one.
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

/// tract, for a file that it reads correctly.
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

/// tract for inference of shapes: operators that it does not have, or would misread, are unknown.
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
    // Shapes of intermediate tensors are those of the export; tract infers them from the inputs.
    tract_onnx::onnx().with_ignore_value_info(true)
}

/// The version of ONNX's own operators, if tract reads the versions and names correctly.
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

/// Whether a node's operator is the one that tract has under that name.
fn is_had(framework: &Onnx, model: &ModelProto, node: &NodeProto) -> bool {
    framework.op_register.0.contains_key(&node.op_type)
        && domains(&node.op_type).contains(&domain(&node.domain))
        && !calls_function(model, node)
}

/// The domains of tract's operator of this name.
fn domains(operator: &str) -> &'static [&'static str] {
    let other = OF_OTHERS.iter().find(|(name, _)| *name == operator);
    other.map_or(&[OWN], |(_, domains)| domains)
}

/// Calls `look` for each node, including inner graphs.
fn every_node<'a>(graph: &'a GraphProto, look: &mut impl FnMut(&'a NodeProto)) {
    let mut graphs = vec![graph];
    while let Some(graph) = graphs.pop() {
        for node in &graph.node {
            look(node);
            graphs.extend(inner_graphs(node));
        }
    }
}

/// The version of ONNX's own operators in the file; `own` is whether it uses them.
fn opset(model: &ModelProto, own: bool) -> Result<i64, String> {
    if model.ir_version > NEWEST_FORMAT {
        let version = model.ir_version;
        return Err(format!(
            "it has version {version} of the file format; tract supports up to {NEWEST_FORMAT}"
        ));
    }
    let mut asked: Vec<(&str, i64)> = Vec::new();
    for import in &model.opset_import {
        let (name, version) = (domain(&import.domain), import.version);
        if asked
            .iter()
            .any(|&(known, other)| known == name && other != version)
        {
            return Err(format!("it uses two versions of the operators of {name}"));
        }
        asked.push((name, version));
        let newest = NEWEST_SETS.iter().find(|(known, _)| *known == name);
        if let Some((_, newest)) = newest
            && !(1..=*newest).contains(&version)
        {
            return Err(format!(
                "it uses version {version} of the operators of {name}; tract supports up to {newest}"
            ));
        }
    }
    match asked.iter().find(|(name, _)| *name == OWN) {
        Some(&(_, version)) => Ok(version),
        None if own => Err(format!(
            "it does not state the version of the operators of {OWN}"
        )),
        None => Ok(0),
    }
}

/// A problem with its node.
type Fault<'a> = (Option<&'a NodeProto>, String);

/// Checks that tensor names are unique. `outer` has the names of the enclosing graphs, which are visible.
fn names<'a>(graph: &'a GraphProto, outer: &mut Vec<HashSet<&'a str>>) -> Result<(), Fault<'a>> {
    let twice = |what: &str, name: &str| Err((None, format!("it has two {what} \"{name}\"")));
    if !graph.sparse_initializer.is_empty() {
        return Err((
            None,
            "it has sparse weights, which tract ignores".to_owned(),
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
                let reason = format!("its output \"{name}\" has the name of another tensor");
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
