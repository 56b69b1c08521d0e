//! Errors of tensors, model files and runs.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::ElementType;

/// Kind of an error. All except the deadline are cases of `error-code` of the component interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A shape that does not fit, or a missing input.
    InvalidInput,
    /// The wrong element type.
    Unsupported,
    /// An unknown input name.
    NotFound,
    /// A limit was reached.
    LimitExceeded,
    /// The deadline passed.
    DeadlineExceeded,
    /// A defect of the model or of the backend.
    Internal,
}

/// Why a tensor cannot be created or read.
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
    /// The product of the shape overflows.
    #[error("a tensor of shape {shape:?} does not fit into memory")]
    Overflow {
        /// Outermost dimension first.
        shape: Vec<usize>,
    },
    /// The elements are of another type.
    #[error("the tensor's elements are {got}, not {want}; read them as {got}, or as bytes")]
    WrongType {
        /// The requested type.
        want: ElementType,
        /// The type of the tensor.
        got: ElementType,
    },
    /// A byte of a `bool` tensor that is neither 0 nor 1.
    #[error("byte {position} of the bool tensor is neither 0 nor 1")]
    NotBool {
        /// From 0.
        position: usize,
    },
    /// The backend failed.
    #[error("the tensor could not be created or read")]
    Backend {
        /// The error of the backend.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl TensorError {
    /// The kind of the error.
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

/// Why a model cannot be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file is empty.
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
    /// The file is truncated, damaged, or not an ONNX file.
    #[error("the model is not a complete ONNX file; export or fetch it again")]
    Malformed {
        /// The error of the parser.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Operators that the backend does not have.
    #[error("the model uses operators that are not supported: {}; export it with others", operators.join(", "))]
    Operators {
        /// Sorted, each once.
        operators: Vec<String>,
    },
    /// tract would run the file, but with other results than its operators define.
    #[error(
        "tract would compute wrong results for {place}: {problem}; use ONNX Runtime, or export the model again without this"
    )]
    Misread {
        /// An operator and its node's name, or `the model`.
        place: String,
        /// What tract would misread.
        problem: String,
    },
    /// An unsupported kind of input or output.
    #[error(
        "{tensor} of the model {problem}; only tensors of a known element type and rank are supported{way_out}"
    )]
    Tensor {
        /// `input "x"`, for example.
        tensor: String,
        /// The problem.
        problem: String,
        /// What to do, if there is more to say.
        way_out: &'static str,
    },
    /// A chosen output that the model does not have.
    #[error(
        "`outputs` names \"{name}\", but the model's outputs are {}; another tensor can be one if the file states its type",
        quoted(known)
    )]
    NoOutput {
        /// The chosen name.
        name: String,
        /// The outputs of the file.
        known: Vec<String>,
    },
    /// A pointer of git LFS instead of the file.
    #[error(
        "the model is a git LFS pointer instead of the file; fetch the file with `git lfs pull`"
    )]
    Pointer,
    /// Weights in another file.
    #[error(
        "the model's weight \"{weight}\" is in another file; pack it with `hotshoe pack`, which joins them, or export the model into one file"
    )]
    External {
        /// Its name.
        weight: String,
    },
    /// The threads of a run cannot be started.
    #[error(
        "the {threads} threads of a run could not be started; configure fewer threads for the model"
    )]
    Threads {
        /// The configured number.
        threads: usize,
        /// The error of the system.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// ONNX Runtime is not available.
    #[error(
        "the model is configured for ONNX Runtime, which cannot be loaded; fetch its library with `hotshoe runtime fetch`, set it with `library` in [inference], --ort-library or ORT_DYLIB_PATH, or use tract"
    )]
    NoRuntime {
        /// The libraries that were tried.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The library of ONNX Runtime has another digest than it must have.
    #[error(
        "{} is not loaded; get ONNX Runtime again, from its package or by `hotshoe runtime fetch`, or correct `library-digest` in [inference]",
        path.display()
    )]
    ChangedRuntime {
        /// The library.
        path: PathBuf,
        /// Its digest.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// tract does not accept the graph, or the attributes of an operator.
    #[error("tract does not accept the model; export it again, or use ONNX Runtime")]
    Tract {
        /// The error of the backend.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// ONNX Runtime does not accept the file.
    #[error("ONNX Runtime does not accept the model; export it again, or use tract")]
    Runtime {
        /// The error of the backend.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The backend panicked while it read the file.
    #[error("the model made the backend panic while loading: {message}")]
    Panicked {
        /// The panic's message.
        message: String,
    },
}

/// Why a run failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// No input has that name.
    #[error("the model has no input \"{name}\"; it has {}", quoted(known))]
    UnknownInput {
        /// The unknown name.
        name: String,
        /// The known names.
        known: Vec<String>,
    },
    /// An input without a tensor.
    #[error("the tensor for the model's input \"{name}\" is missing")]
    MissingInput {
        /// Its name.
        name: String,
    },
    /// An input with two tensors.
    #[error("there are two tensors for the model's input \"{name}\"; pass one")]
    RepeatedInput {
        /// Its name.
        name: String,
    },
    /// The wrong element type.
    #[error("the model's input \"{name}\" takes {want}, but the tensor is {got}")]
    WrongType {
        /// The input's name.
        name: String,
        /// The type of the input.
        want: ElementType,
        /// The type of the tensor.
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
        /// The shape of the input; `None` is open.
        want: Vec<Option<usize>>,
        /// The type of the tensor.
        got: Vec<usize>,
    },
    /// A value that the type of the input in the file does not have.
    #[error(
        "the model's input \"{name}\" is {element_type} in its file, which cannot represent {value}; its range is {least} to {most}"
    )]
    OutOfRange {
        /// The input's name.
        name: String,
        /// The type in the file.
        element_type: String,
        /// The first such value.
        value: f64,
        /// The lowest value.
        least: i64,
        /// The highest value.
        most: i64,
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
    /// The layers of the model do not accept inputs of these shapes: the backend refused them, or they are open in the file and no run
    /// with them has succeeded.
    #[error(
        "the model cannot be run on inputs of shapes {shapes:?}; use others, such as multiples of 32"
    )]
    Plan {
        /// In the order of the model's inputs.
        shapes: Vec<Vec<usize>>,
        /// The error of the backend.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The deadline passed before the run ended.
    #[error("the model missed its deadline; raise the deadline, or use a smaller model")]
    Deadline,
    /// The queue of runs is full.
    #[error("the queue of {waiting} model runs is full; send fewer at once")]
    Busy {
        /// Queued runs.
        waiting: usize,
    },
    /// The backend failed.
    #[error("the model failed")]
    Failed {
        /// The error of the backend.
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
    /// Whether another backend or variant may succeed with the same input. This includes shapes for which no plan can be compiled: it is
    /// often the first sign of a defect of the file, and the input matches what the file declares.
    pub(crate) fn is_own_fault(&self) -> bool {
        self.kind() == ErrorKind::Internal || matches!(self, Self::Plan { .. })
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownInput { .. } => ErrorKind::NotFound,
            Self::WrongType { .. } => ErrorKind::Unsupported,
            Self::MissingInput { .. }
            | Self::RepeatedInput { .. }
            | Self::WrongShape { .. }
            | Self::OutOfRange { .. }
            | Self::Plan { .. } => ErrorKind::InvalidInput,
            Self::TooLarge { .. } | Self::Busy { .. } => ErrorKind::LimitExceeded,
            Self::Deadline => ErrorKind::DeadlineExceeded,
            Self::Failed { .. } | Self::Panicked { .. } => ErrorKind::Internal,
        }
    }
}

/// Why variants do not form one model.
#[derive(Debug, Error)]
pub enum VariantError {
    /// No variants.
    #[error("the model \"{model}\" has no variants; list at least one file")]
    None {
        /// In the release.
        model: String,
    },
    /// Two variants with one name.
    #[error("the model \"{model}\" has two variants \"{variant}\"; give each its own name")]
    Repeated {
        /// In the release.
        model: String,
        /// The name.
        variant: String,
    },
    /// Variants with different inputs or outputs.
    #[error(
        "the variants \"{first}\" and \"{variant}\" of the model \"{model}\" differ: {problem}; export them with the same inputs and outputs"
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
