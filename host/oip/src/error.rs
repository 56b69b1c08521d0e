//! What can be wrong with a request, and how the protocol says it: `{"error": ".."}` with an HTTP status, or a gRPC status.

use axum::http::StatusCode;
use hotshoe_daemon::CallError;
use hotshoe_daemon::answer::Ending;
use hotshoe_http::Refusal;
use hotshoe_infer::{ErrorKind, RunError, TensorError};
use tonic::Code;

use crate::datatype;
use crate::request::{MAX_ENTRIES, MAX_RANK};
use crate::wire::WireError;

/// Why no tensor became of an input, or none can be given for an output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TensorFault {
    #[error("the datatype {0:?} is not handled; use {known}", known = datatype::KNOWN)]
    Datatype(String),
    #[error("a model takes no BYTES; a pipeline does")]
    Sample,
    #[error("its shape has more than {MAX_RANK} dimensions")]
    Rank,
    #[error("a size of its shape is {size}; sizes are 0 or more")]
    Negative { size: i64 },
    #[error("no tensor of shape {shape:?} fits into memory")]
    Overflow { shape: Vec<usize> },
    #[error("a BYTES tensor has shape [1] here: one sample; this one has {shape:?}")]
    NotSingle { shape: Vec<usize> },
    #[error(
        "its raw bytes are to be the length of the one element, in 4 bytes, and the element; after these 4 bytes come {found}"
    )]
    Prefix { found: usize },
    #[error("element {position} is no {datatype}")]
    Element {
        position: usize,
        datatype: &'static str,
    },
    #[error("its shape {shape:?} has {want} elements, but there are {got}")]
    Count {
        shape: Vec<usize>,
        want: usize,
        got: String,
    },
    #[error("its `data` cannot be read")]
    Json(#[source] serde_json::Error),
    #[error("it has no `data`, and no `binary_data_size` in its parameters")]
    NoData,
    #[error("it has elements twice: give them once")]
    Twice,
    #[error("its `binary_data_size` is no number of bytes")]
    BinarySize,
    #[error(
        "its `binary_data_size` of {size} goes beyond the end of the body, where {left} bytes are left"
    )]
    Beyond { size: u64, left: usize },
    #[error("FP16 has no form in JSON; send and ask for it as binary data")]
    Half,
    #[error("FP16 has no list among the contents; send it as raw contents")]
    HalfContents,
    #[error("its contents are in the list of another datatype")]
    OtherContents,
    #[error("element {position} is {value}, which JSON cannot say; ask for binary data")]
    NotFinite { position: usize, value: f64 },
    #[error("{0} is not supported here")]
    Unsupported(&'static str),
}

/// Why a request gets no answer but an error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the request is not the JSON of an inference request")]
    Json(#[source] serde_json::Error),
    #[error(
        "`Inference-Header-Content-Length` is to be the length of the JSON at the start of the body, which has {body} bytes"
    )]
    HeaderLength { body: usize },
    #[error("{left} bytes at the end of the body belong to no input")]
    Rest { left: usize },
    #[error("the request's JSON has more than {MAX_ENTRIES} members")]
    Members,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("there are {raw} raw contents for {inputs} inputs; give one for each, or none")]
    RawCount { raw: usize, inputs: usize },
    #[error("input \"{name}\": the tensor is not usable")]
    Input {
        name: String,
        #[source]
        source: TensorFault,
    },
    #[error("input \"{name}\": the tensor is not usable")]
    Tensor {
        name: String,
        #[source]
        source: TensorError,
    },
    #[error("output \"{name}\" cannot be given")]
    Output {
        name: String,
        #[source]
        source: TensorFault,
    },
    #[error("the parameter `{0}` has a value that it does not take")]
    Parameter(String),
    #[error("{0} are not supported here")]
    Unsupported(&'static str),
    #[error("there is no output \"{name}\"; there are {known}")]
    UnknownOutput { name: String, known: String },
    #[error("the pipeline takes one input, \"sample\", of BYTES and shape [1]")]
    NoSample,
    #[error("there is no model \"{name}\" to be called; there are {known}")]
    UnknownModel { name: String, known: String },
    #[error("\"{name}\" has no version \"{version}\"; version \"{serving}\" serves")]
    UnknownVersion {
        name: String,
        version: String,
        serving: String,
    },
    #[error("no release serves on this device yet; publish one to it")]
    NoRelease,
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the request took longer than it may")]
    Deadline,
    #[error("the request's body did not arrive in time")]
    Slow,
    #[error("the request's body broke off")]
    Broken,
    #[error(
        "the request's body has more than {limit} bytes; raise `oip.max-body-mib` if the device has the memory"
    )]
    TooLarge { limit: usize },
    #[error("{limit} requests are being answered already; ask again, or raise `oip.max-requests`")]
    Busy { limit: usize },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("compressed bodies are not handled; send it as it is")]
    Compressed,
    #[error("there is nothing at {0}")]
    NoPath(String),
    #[error("{0} is asked for with another method")]
    Method(String),
    #[error("the server failed on this request; please report it")]
    Panicked,
}

/// Who has to act, and so the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Invalid,
    NotFound,
    Unauthenticated,
    Forbidden,
    Method,
    Slow,
    TooLarge,
    MediaType,
    Internal,
    Busy,
    Unavailable,
    Deadline,
}

impl Kind {
    pub(crate) const fn http(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    pub(crate) const fn grpc(self) -> Code {
        match self {
            Self::Invalid | Self::MediaType => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::Method => Code::Unimplemented,
            Self::Slow | Self::Deadline => Code::DeadlineExceeded,
            Self::TooLarge | Self::Busy => Code::ResourceExhausted,
            Self::Internal => Code::Internal,
            Self::Unavailable => Code::Unavailable,
        }
    }
}

impl RequestError {
    /// Who has to act.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Run(RunError::Busy { .. }) => Kind::Busy,
            Self::Run(error) => run_kind(error.kind()),
            Self::Tensor { source, .. } => run_kind(source.kind()),
            Self::Call(error) => call_kind(error),
            Self::UnknownModel { .. } | Self::UnknownVersion { .. } | Self::NoPath(_) => {
                Kind::NotFound
            }
            Self::NoRelease => Kind::Unavailable,
            Self::Deadline => Kind::Deadline,
            Self::Slow => Kind::Slow,
            Self::Wire(WireError::Malformed) => Kind::Invalid,
            Self::TooLarge { .. } | Self::Members | Self::Wire(_) => Kind::TooLarge,
            Self::Busy { .. } => Kind::Busy,
            Self::Refused(Refusal::Unauthenticated) => Kind::Unauthenticated,
            Self::Refused(Refusal::Foreign | Refusal::WebPage) => Kind::Forbidden,
            Self::Compressed => Kind::MediaType,
            Self::Method(_) => Kind::Method,
            Self::Panicked => Kind::Internal,
            _ => Kind::Invalid,
        }
    }
}

const fn run_kind(kind: ErrorKind) -> Kind {
    match kind {
        ErrorKind::InvalidInput
        | ErrorKind::Unsupported
        | ErrorKind::NotFound
        | ErrorKind::LimitExceeded => Kind::Invalid,
        ErrorKind::DeadlineExceeded => Kind::Deadline,
        ErrorKind::Internal => Kind::Internal,
    }
}

/// The faults are the stable names under which samples are counted.
fn call_kind(error: &CallError) -> Kind {
    let CallError::Ended { ending, fault, .. } = error else {
        return match error {
            CallError::Deadline => Kind::Deadline,
            _ => Kind::Internal,
        };
    };
    if *ending == Ending::Drop {
        return match fault.as_str() {
            "queue_full_oldest" | "queue_full_newest" | "block_timeout" => Kind::Busy,
            _ => Kind::Unavailable,
        };
    }
    match fault.as_str() {
        "sample_too_large" => Kind::TooLarge,
        "invalid_sample_id" | "invalid_input" | "unsupported" | "not_found" => Kind::Invalid,
        "deadline" => Kind::Deadline,
        _ => Kind::Internal,
    }
}
