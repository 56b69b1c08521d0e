//! What can go wrong with a tensor, a model file and a run.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::ElementType;

/// Who has to act on an error. But for the deadline these are cases of the component interface's `error-code`.
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
    /// The time that the caller gave is over.
    DeadlineExceeded,
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
    /// tract would run the file, and compute something else than it says.
    #[error(
        "tract would not compute what the model says, for {place}: {problem}; use ONNX Runtime, or export the model again without this"
    )]
    Misread {
        /// An operator and its node's name, or `the model`.
        place: String,
        /// What tract takes for something else.
        problem: String,
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
    /// Weights that are not in the file.
    #[error("the model's weight \"{weight}\" lies in another file; export the model into one file")]
    External {
        /// Its name.
        weight: String,
    },
    /// The system gave no threads.
    #[error("the {threads} threads of a run could not be started; give the model fewer")]
    Threads {
        /// As asked for.
        threads: usize,
        /// What the system said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no ONNX Runtime.
    #[error(
        "the model is to run on ONNX Runtime, which cannot be loaded; name its library as `library` in [inference], by --ort-library or in ORT_DYLIB_PATH, or use tract"
    )]
    NoRuntime {
        /// What was tried.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// tract does not take the graph, or not an operator's attributes.
    #[error("tract does not take the model; export it again, or use ONNX Runtime")]
    Tract {
        /// What it said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// ONNX Runtime does not take the file.
    #[error("ONNX Runtime does not take the model; export it again, or use tract")]
    Runtime {
        /// What it said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
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
        "the model's input \"{name}\" has shape {}, but the tensor {got:?}{}",
        open(want),
        if want.contains(&None) { "; an open dimension (?) is at least 1" } else { "" }
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
    /// The model's own layers do not take inputs of these shapes: the backend refused them, or the file leaves them open and
    /// no run with them has succeeded.
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
    /// The caller's time was over before there were outputs.
    #[error("the model was not done by its deadline; give it more time, or use a smaller model")]
    Deadline,
    /// Too many runs wait for their turn.
    #[error(
        "{waiting} runs of models wait for their turn already, which is the limit; send fewer at once"
    )]
    Busy {
        /// Runs.
        waiting: usize,
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
    /// Whether another backend or variant may do better with the same input. Shapes that one cannot be compiled for count: a
    /// defect of the file often shows there first, and the input was right by what the file says of itself.
    pub(crate) fn is_own_fault(&self) -> bool {
        self.kind() == ErrorKind::Internal || matches!(self, Self::Plan { .. })
    }

    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownInput { .. } => ErrorKind::NotFound,
            Self::WrongType { .. } => ErrorKind::Unsupported,
            Self::MissingInput { .. }
            | Self::RepeatedInput { .. }
            | Self::WrongShape { .. }
            | Self::Plan { .. } => ErrorKind::InvalidInput,
            Self::TooLarge { .. } | Self::Busy { .. } => ErrorKind::LimitExceeded,
            Self::Deadline => ErrorKind::DeadlineExceeded,
            Self::Failed { .. } | Self::Panicked { .. } => ErrorKind::Internal,
        }
    }
}

/// Why variants do not make one model.
#[derive(Debug, Error)]
pub enum VariantError {
    /// There are none.
    #[error("the model \"{model}\" has no variant; name at least one file")]
    None {
        /// In the release.
        model: String,
    },
    /// Two have one name.
    #[error("the model \"{model}\" has two variants \"{variant}\"; give each its own name")]
    Repeated {
        /// In the release.
        model: String,
        /// The name.
        variant: String,
    },
    /// They cannot take each other's place.
    #[error(
        "the variants \"{first}\" and \"{variant}\" of the model \"{model}\" differ: {problem}; export them alike"
    )]
    Different {
        /// In the release.
        model: String,
        /// The preferred variant.
        first: String,
        /// The other one.
        variant: String,
        /// Names, element types or ranks, the preferred variant's first.
        problem: String,
    },
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
