//! What can go wrong with a tensor, a model file and a run.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::ElementType;

/// Who has to act on an error. It has the same cases as the component interface's `error-code`, but `denied`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A shape that does not fit, or a missing input.
    InvalidInput,
    /// The wrong element type.
    Unsupported,
    /// No input has that name.
    NotFound,
    /// A limit was reached.
    LimitExceeded,
    /// A defect of the model or of the backend.
    Internal,
}

/// Why there is no such tensor.
#[derive(Debug, Error)]
pub enum TensorError {
    /// The elements do not fit the shape.
    #[error("a tensor of shape {shape:?} has {want} elements, but there are {got}")]
    Count {
        /// Outermost dimension first.
        shape: Vec<usize>,
        /// The product of the shape.
        want: usize,
        /// Elements.
        got: usize,
    },
    /// The bytes do not fit the shape.
    #[error("a tensor of {element_type} and shape {shape:?} has {want} bytes, but there are {got}")]
    Bytes {
        /// Outermost dimension first.
        shape: Vec<usize>,
        /// Of the elements.
        element_type: ElementType,
        /// Bytes.
        want: usize,
        /// Bytes.
        got: usize,
    },
    /// The product of the shape is beyond any memory.
    #[error("no tensor of shape {shape:?} fits into memory")]
    Overflow {
        /// Outermost dimension first.
        shape: Vec<usize>,
    },
    /// The elements are of another type.
    #[error("the tensor's elements are {got}, not {want}; read them as {got}, or as bytes")]
    WrongType {
        /// Asked for.
        want: ElementType,
        /// The tensor's.
        got: ElementType,
    },
    /// A byte of a `bool` tensor that is neither 0 nor 1.
    #[error("byte {position} of the bool tensor is neither 0 nor 1")]
    NotBool {
        /// From 0.
        position: usize,
    },
    /// The backend refused.
    #[error("the tensor could not be made or read")]
    Backend {
        /// What it said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl TensorError {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Count { .. } | Self::Bytes { .. } | Self::NotBool { .. } => {
                ErrorKind::InvalidInput
            }
            Self::Overflow { .. } => ErrorKind::LimitExceeded,
            Self::WrongType { .. } => ErrorKind::Unsupported,
            Self::Backend { .. } => ErrorKind::Internal,
        }
    }
}

/// Why a file did not become a model.
#[derive(Debug, Error)]
pub enum LoadError {
    /// There are no bytes.
    #[error("the model has 0 bytes; put the ONNX file into the release again")]
    Empty,
    /// The file is larger than the limit.
    #[error(
        "the model has {bytes} bytes, over the limit of {limit}; raise the limit or use a smaller model"
    )]
    TooLarge {
        /// Of the file.
        bytes: usize,
        /// The highest number of bytes.
        limit: usize,
    },
    /// The file is cut off, broken, or no ONNX file.
    #[error("the model is not a whole ONNX file; export or fetch it again")]
    Malformed {
        /// What the parser met.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Operators that the backend does not have.
    #[error("the model uses operators that are not supported: {}; export it with others", operators.join(", "))]
    Operators {
        /// Sorted, each once.
        operators: Vec<String>,
    },
    /// An input or output of a kind that is not handled.
    #[error(
        "{tensor} of the model {problem}; only tensors of a known element type and rank are supported"
    )]
    Tensor {
        /// `input "x"`, for example.
        tensor: String,
        /// What is not handled.
        problem: String,
    },
    /// The backend panicked while it read the file.
    #[error("the model is broken in a way that the backend did not expect: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

/// Why a run gave no outputs.
#[derive(Debug, Error)]
pub enum RunError {
    /// No input has that name.
    #[error("the model has no input \"{name}\"; it has {}", quoted(known))]
    UnknownInput {
        /// The name given.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// An input without a tensor.
    #[error("there is no tensor for the model's input \"{name}\"")]
    MissingInput {
        /// Its name.
        name: String,
    },
    /// An input with two tensors.
    #[error("there are two tensors for the model's input \"{name}\"; give one")]
    RepeatedInput {
        /// Its name.
        name: String,
    },
    /// The wrong element type.
    #[error("the model's input \"{name}\" takes {want}, but the tensor is {got}")]
    WrongType {
        /// The input's name.
        name: String,
        /// The input's.
        want: ElementType,
        /// The tensor's.
        got: ElementType,
    },
    /// A shape that does not fit. An open dimension takes any size but 0.
    #[error(
        "the model's input \"{name}\" has shape {}, but the tensor {got:?}; an open dimension (?) is at least 1",
        open(want)
    )]
    WrongShape {
        /// The input's name.
        name: String,
        /// The input's; `None` is open.
        want: Vec<Option<usize>>,
        /// The tensor's.
        got: Vec<usize>,
    },
    /// More bytes than one tensor may have.
    #[error(
        "{what} takes {bytes} bytes, over the limit of {limit} for one tensor; make the input smaller"
    )]
    TooLarge {
        /// Which tensor.
        what: String,
        /// Bytes.
        bytes: usize,
        /// The highest number of bytes.
        limit: usize,
    },
    /// The model's own layers do not take inputs of these shapes.
    #[error(
        "the model cannot be run on inputs of shapes {shapes:?}; use others, such as multiples of 32"
    )]
    Plan {
        /// In the order of the model's inputs.
        shapes: Vec<Vec<usize>>,
        /// What the backend said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The backend failed.
    #[error("the model failed")]
    Failed {
        /// What the backend said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The backend panicked.
    #[error("the model made the backend panic: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

impl RunError {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownInput { .. } => ErrorKind::NotFound,
            Self::WrongType { .. } => ErrorKind::Unsupported,
            Self::MissingInput { .. }
            | Self::RepeatedInput { .. }
            | Self::WrongShape { .. }
            | Self::Plan { .. } => ErrorKind::InvalidInput,
            Self::TooLarge { .. } => ErrorKind::LimitExceeded,
            Self::Failed { .. } | Self::Panicked { .. } => ErrorKind::Internal,
        }
    }
}

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `[?, 3, 48, ?]`
fn open(shape: &[Option<usize>]) -> impl fmt::Display {
    let sizes = shape
        .iter()
        .map(|size| size.map_or_else(|| "?".to_owned(), |size| size.to_string()));
    format!("[{}]", sizes.collect::<Vec<_>>().join(", "))
}
