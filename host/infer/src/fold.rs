//! Simplifying an ONNX file without changing its results: fixing input shapes, constant folding, and removing operators without effect.
//! The result is an ONNX file for any backend.

mod graph;

use std::collections::HashSet;

use prost::Message;
use serde::Serialize;
use thiserror::Error;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, ModelProto, TensorShapeProto, ValueInfoProto};

use crate::inspect::{
    self, Facts, InputShapes, InspectError, check_shapes, inputs, resolve, to_proto, totals,
};

pub(crate) use graph::remove_unused;

/// The first version of the file format in which weights need not be inputs as well (ONNX `IR.md`, version 4).
const IR_OF_FREE_WEIGHTS: i64 = 4;

/// Why a file cannot be simplified.
#[derive(Debug, Error)]
pub enum FoldError {
    /// The file cannot be read, or a shape does not fit it.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// It uses features of the format that would be lost.
    #[error("the model {what}, which this command cannot write again; {remedy}")]
    Unwritable {
        /// The feature.
        what: &'static str,
        /// What to do.
        remedy: &'static str,
    },
}

impl FoldError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inspect(error) => error.name(),
            Self::Unwritable { .. } => "unwritable_model",
        }
    }
}

/// The result of simplifying a file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Folded {
    /// The new file.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    /// Inputs whose shape was fixed.
    pub fixed: InputShapes,
    /// Nodes before, with those of graphs inside it (branches, loops).
    pub nodes_before: usize,
    /// Nodes after.
    pub nodes_after: usize,
    /// Folded nodes, whose outputs became constants.
    pub computed: usize,
    /// `Constant` nodes that became weights.
    pub moved: usize,
    /// Removed nodes that only pass on their input.
    pub passed_through: usize,
    /// Removed nodes and weights that were unused.
    pub unused: usize,
}

/// Simplifies a file. `shapes` fixes inputs: the result accepts only these shapes.
///
/// # Errors
/// [`FoldError`].
pub fn fold(bytes: &[u8], shapes: &InputShapes) -> Result<Folded, FoldError> {
    let mut model = inspect::open(bytes)?;
    check_writable(&model)?;
    let given = inputs(inspect::graph(&model)?);
    check_shapes(&given, shapes)?;
    let facts = Facts::infer(&model, inspect::graph(&model)?, &known(&given, shapes));
    model.ir_version = model.ir_version.max(IR_OF_FREE_WEIGHTS);
    let opset = own_opset(&model);
    let nodes_before = nodes(&model)?;
    let Some(graph) = model.graph.as_mut() else {
        return Ok(Folded::default());
    };
    let mut folded = Folded {
        fixed: shapes.clone(),
        nodes_before,
        ..Folded::default()
    };
    fix_shapes(graph, shapes, &facts);
    (folded.computed, folded.moved) = graph::compute(graph, &facts);
    folded.passed_through = graph::pass_through(graph, opset);
    folded.unused = graph::remove_unused(graph);
    folded.nodes_after = nodes(&model)?;
    folded.bytes = model.encode_to_vec();
    Ok(folded)
}

/// Number of nodes, as in an inspection.
fn nodes(model: &ModelProto) -> Result<usize, InspectError> {
    let totals = totals(model, inspect::graph(model)?);
    Ok(totals.operators.values().sum())
}

/// The shapes that apply to every run: those that the file fixes, and those in `shapes`.
fn known(given: &[inspect::Port], shapes: &InputShapes) -> InputShapes {
    let resolved = resolve(given, shapes);
    let guessed: HashSet<&String> = resolved.assumed.iter().collect();
    resolved
        .shapes
        .iter()
        .filter(|(name, _)| !guessed.contains(name))
        .map(|(name, shape)| (name.clone(), shape.clone()))
        .collect()
}

/// The version of ONNX's own operators; 0 if the file does not state it.
pub(crate) fn own_opset(model: &ModelProto) -> i64 {
    let mut imports = model.opset_import.iter();
    let own = imports.find(|import| import.domain.is_empty() || import.domain == "ai.onnx");
    own.map_or(0, |import| import.version)
}

/// The protobuf types know version 8 of the format; newer fields would be dropped silently.
fn check_writable(model: &ModelProto) -> Result<(), FoldError> {
    let refuse = |what, remedy| Err(FoldError::Unwritable { what, remedy });
    if !model.functions.is_empty() {
        return refuse(
            "has functions",
            "inline them first, with `onnx.inliner.inline_local_functions` in Python",
        );
    }
    let graph = inspect::graph(model)?;
    if !totals(model, graph).external_files.is_empty() {
        return refuse(
            "keeps weights in other files",
            "join them first, with `onnx.save(onnx.load(\"model.onnx\"), \"whole.onnx\")` in Python",
        );
    }
    let is_tensor =
        |value: &ValueInfoProto| value.r#type.as_ref().is_some_and(|it| it.value.is_some());
    if !graph.input.iter().chain(&graph.output).all(is_tensor) {
        return refuse(
            "has inputs or outputs that are not tensors",
            "export it with tensors alone",
        );
    }
    Ok(())
}

/// Writes the shapes of inputs into the file, and the inferred shapes of outputs.
fn fix_shapes(graph: &mut GraphProto, shapes: &InputShapes, facts: &Facts) {
    if shapes.is_empty() {
        return;
    }
    // Shapes of intermediate tensors are those of the old inputs, and are optional.
    graph.value_info.clear();
    for input in &mut graph.input {
        if let Some(shape) = shapes.get(&input.name) {
            state_shape(input, shape);
        }
    }
    for output in &mut graph.output {
        if let Some(shape) = facts.shape(&output.name) {
            state_shape(output, &shape);
        }
    }
}

fn state_shape(value: &mut ValueInfoProto, shape: &[usize]) {
    let kind = value.r#type.as_mut().and_then(|it| it.value.as_mut());
    if let Some(Value::TensorType(tensor)) = kind {
        let dimensions = shape.iter().map(|&size| Dimension {
            value: Some(dimension::Value::DimValue(size as i64)),
            ..Dimension::default()
        });
        tensor.shape = Some(TensorShapeProto {
            dim: dimensions.collect(),
        });
    }
}
