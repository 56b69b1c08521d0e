//! Inspection of an ONNX file and its requirements, without running it.

mod backends;
mod cosine;
mod file;
mod probe;
mod shapes;
mod similarity;
mod slices;
mod tensors;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use serde::Serialize;
use thiserror::Error;

pub use backends::Fit;
pub use cosine::{NEGLIGIBLE, cosine_similarity};
pub(crate) use file::{check_shapes, graph, inputs, open, totals};
pub use probe::{ProbeResult, probe};
pub(crate) use shapes::{Facts, resolve};
pub use similarity::{
    NOISE, OutputComparison, Similarity, SimilaritySums, compare_outputs, similarity,
};
pub use slices::{MAX_SLICES, SliceSums};
pub use tensors::{TensorFileError, onnx_tensor, values};
pub(crate) use tensors::{numbers, read_tensor, to_proto};
pub use work::Work;

use crate::OrtOptions;

/// Shapes of inputs by their names, outermost dimension first.
pub type InputShapes = BTreeMap<String, Vec<usize>>;

/// Why a file cannot be inspected.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The file is empty.
    #[error("the file has 0 bytes; export or fetch the model again")]
    Empty,
    /// A pointer of git LFS instead of the file.
    #[error("this is a git LFS pointer instead of the file; fetch the file with `git lfs pull`")]
    Pointer,
    /// It is truncated, damaged, or another kind of file.
    #[error("this is not a complete ONNX file; export or fetch it again")]
    Malformed {
        /// The error of the parser.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A shape for an input that the model does not have.
    #[error("the model has no input \"{name}\"; it has {}", known.join(", "))]
    UnknownInput {
        /// The unknown name.
        name: String,
        /// The known names.
        known: Vec<String>,
    },
    /// A shape that contradicts the file.
    #[error(
        "the model's input \"{name}\" has shape [{want}], so {got:?} does not fit; an open dimension is at least 1"
    )]
    Shape {
        /// The input's name.
        name: String,
        /// The shape in the file.
        want: String,
        /// The given shape.
        got: Vec<usize>,
    },
}

impl InspectError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Empty | Self::Pointer | Self::Malformed { .. } => "bad_model",
            Self::UnknownInput { .. } => "unknown_input",
            Self::Shape { .. } => "wrong_shape",
        }
    }
}

/// The contents of a model file.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The tool that wrote the file and its version, if stated.
    pub producer: String,
    /// Version of the file format.
    pub ir_version: i64,
    /// Versions of the operator sets by domain. ONNX's own is `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// Inputs that the caller has to give, in the order of the file.
    pub inputs: Vec<Port>,
    /// Outputs in the order of the file.
    pub outputs: Vec<Port>,
    /// Nodes, with those of graphs inside it (branches, loops, functions).
    pub nodes: usize,
    /// Number of uses of each operator; with its domain unless it is ONNX's own.
    pub operators: BTreeMap<String, usize>,
    /// Its weights.
    pub parameters: Parameters,
    /// Other files with weights. A release has one file per model.
    pub external_files: BTreeSet<String>,
    /// The multiply-adds of one run.
    pub work: Work,
    /// The file's own metadata.
    pub metadata: BTreeMap<String, String>,
    /// Which backends can run it.
    pub backends: Vec<Fit>,
}

/// An input or an output.
#[derive(Debug, Clone, Serialize)]
pub struct Port {
    /// The name in the file.
    pub name: String,
    /// Type of its elements, or "not a tensor".
    #[serde(rename = "type")]
    pub element_type: String,
    /// Outermost dimension first; `None` if the file does not state a shape.
    pub shape: Option<Vec<Dimension>>,
}

/// A dimension of an input or output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Dimension {
    /// It always has this size.
    Fixed(usize),
    /// Open: the caller chooses it, or it depends on the inputs. The name in the file, or `?`.
    Open(String),
}

/// The weights of a model: initialisers and constants, in all its graphs.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Parameters {
    /// Elements.
    pub count: u64,
    /// Bytes in memory.
    pub bytes: u64,
    /// The same by element type.
    pub by_type: BTreeMap<String, Amount>,
}

/// Parameters of one element type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Elements.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Inspects an ONNX file. `shapes` sets open dimensions of inputs, which is needed for the multiply-adds and to check whether a backend
/// can plan a run. `ort` locates ONNX Runtime.
///
/// # Errors
/// [`InspectError`]. A model that a backend cannot run is not an error: see [`Inspection::backends`].
pub fn inspect(
    bytes: &[u8],
    shapes: &InputShapes,
    ort: &OrtOptions,
) -> Result<Inspection, InspectError> {
    let model = open(bytes)?;
    let graph = graph(&model)?;
    let inputs = inputs(graph);
    check_shapes(&inputs, shapes)?;
    let totals = totals(&model, graph);
    let resolved = resolve(&inputs, shapes);
    let work = work::estimate(&model, graph, &resolved);
    let candidate = backends::Candidate {
        bytes,
        model: &model,
        graph,
        external_files: &totals.external_files,
        resolved: &resolved,
    };
    let backends = backends::fits(&candidate, ort);
    Ok(Inspection {
        producer: [model.producer_name.as_str(), &model.producer_version]
            .join(" ")
            .trim()
            .to_owned(),
        ir_version: model.ir_version,
        opsets: file::opsets(&model),
        inputs,
        outputs: graph.output.iter().map(file::port).collect(),
        nodes: totals.operators.values().sum(),
        operators: totals.operators,
        parameters: totals.parameters,
        external_files: totals.external_files,
        work,
        metadata: crate::describe::metadata(&model),
        backends,
    })
}

/// `1, 3, height, ?`, for messages.
pub(crate) fn shape_text(shape: &[Dimension]) -> String {
    let sizes = shape.iter().map(|dimension| match dimension {
        Dimension::Fixed(size) => size.to_string(),
        Dimension::Open(name) => name.clone(),
    });
    sizes.collect::<Vec<_>>().join(", ")
}
