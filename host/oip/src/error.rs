//! Errors of requests, and their form in the protocol: `{"error": "..", "name": ".."}` with an HTTP status, or a gRPC status.

use std::io;

use axum::http::StatusCode;
use hotshoe_daemon::CallError;
use hotshoe_daemon::ending::Ending;
use hotshoe_http::Refusal;
use hotshoe_infer::{ErrorKind, RunError, TensorError};
use tonic::Code;

use crate::datatype;
use crate::limits::{MAX_ENTRIES, MAX_RANK, MAX_SAMPLES};
use crate::wire::WireError;

/// Why an input is not a tensor, or an output cannot be returned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TensorFault {
    #[error("the datatype {0:?} is not supported; use {known}", known = datatype::KNOWN)]
    Datatype(String),
    #[error("a model does not accept BYTES; a pipeline does")]
    Sample,
    #[error("its shape has more than {MAX_RANK} dimensions")]
    Rank,
    #[error("its shape has the size {size}; sizes are 0 or more")]
    Negative { size: i64 },
    #[error("a tensor of shape {shape:?} does not fit into memory")]
    Overflow { shape: Vec<usize> },
    #[error(
        "a BYTES tensor must have the shape [N] or [N, 1], at least one sample; this one has {shape:?}"
    )]
    NotSingle { shape: Vec<usize> },
    #[error("it has {count} samples; send at most {MAX_SAMPLES} in one request")]
    Samples { count: usize },
    #[error(
        "its raw bytes must be {count} elements, each with its length in 4 bytes in front, little-endian; they end in element {position}"
    )]
    Prefix { count: usize, position: usize },
    #[error(
        "its raw bytes must be {count} elements, each with its length in 4 bytes in front, little-endian; {left} bytes follow the last"
    )]
    Behind { count: usize, left: usize },
    #[error("element {position} is not valid base64")]
    Base64 { position: usize },
    #[error(
        "a raw body of {bytes} bytes does not give the shape {shape:?} of {datatype} (-1 is any size); send exactly its elements, or JSON with the shape"
    )]
    RawLength {
        datatype: &'static str,
        shape: Vec<i64>,
        bytes: usize,
    },
    #[error("`classification` needs an output of numbers")]
    NoClasses,
    #[error("element {position} is not a valid {datatype}")]
    Element {
        position: usize,
        datatype: &'static str,
    },
    #[error("its shape {shape:?} needs {want} elements, but there are {got}")]
    Count {
        shape: Vec<usize>,
        want: usize,
        got: String,
    },
    #[error("its `data` cannot be read")]
    Json(#[source] serde_json::Error),
    #[error("it has no `data`, and no `binary_data_size` in its parameters")]
    NoData,
    #[error("it has its elements twice; send them once")]
    Twice,
    #[error("its `binary_data_size` is not a number of bytes")]
    BinarySize,
    #[error("its `binary_data_size` of {size} exceeds the {left} bytes left in the body")]
    Beyond { size: u64, left: usize },
    #[error("the contents have no list for FP16; send it as raw contents")]
    HalfContents,
    #[error("its contents are in the list of another datatype")]
    OtherContents,
    #[error("element {position} is {value}, which JSON cannot represent; request binary data")]
    NotFinite { position: usize, value: f64 },
    #[error("{0} is not supported; send the elements in the request")]
    Unsupported(&'static str),
}

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error(
        "the body is not the JSON of an inference request; to send an input as the body, set its media type, or `Inference-Header-Content-Length: 0`"
    )]
    Json(#[source] serde_json::Error),
    #[error(
        "`Inference-Header-Content-Length` must be the length of the JSON at the start of the body, which has {body} bytes"
    )]
    HeaderLength { body: usize },
    #[error("{left} bytes at the end of the body belong to no input")]
    Rest { left: usize },
    #[error("the request's JSON has more than {MAX_ENTRIES} members")]
    Members,
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("there are {raw} raw contents for {inputs} inputs; send one for each, or none")]
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
    #[error("output \"{name}\" cannot be returned")]
    Output {
        name: String,
        #[source]
        source: TensorFault,
    },
    #[error("the parameter `{0}` has an invalid value")]
    Parameter(String),
    #[error(
        "{0} are not supported; a model with a state keeps one for each value of the parameter `source`"
    )]
    Unsupported(&'static str),
    #[error("{what} is not implemented; {instead}")]
    NotImplemented {
        what: &'static str,
        instead: &'static str,
    },
    #[error("a raw body is one input, but the model has {inputs} inputs; send JSON")]
    RawInputs { inputs: usize },
    #[error("there is no output \"{name}\"; the outputs are {known}")]
    UnknownOutput { name: String, known: String },
    #[error("the pipeline takes one input, \"sample\", of datatype BYTES and shape [N]")]
    NoSample,
    #[error("there is no model \"{name}\"; the models are {known}")]
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
    #[error("sample {number} of {count} failed")]
    Sample {
        number: usize,
        count: usize,
        #[source]
        source: CallError,
    },
    #[error("the request exceeded its deadline")]
    Deadline,
    #[error("the request body did not arrive in time")]
    Slow,
    #[error("the request body ended early")]
    Broken,
    #[error(
        "the request body has more than {limit} bytes; raise `oip.max-body-mib` if the device has the memory"
    )]
    TooLarge { limit: usize },
    #[error(
        "the limit of {limit} concurrent requests is reached; retry, or raise `oip.max-requests`"
    )]
    Busy { limit: usize },
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("this `Content-Encoding` is not supported; send gzip, deflate, or the body as it is")]
    Compressed,
    #[error("the body is not valid {coding}")]
    Decompress {
        coding: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("the request is too large for this method: it has more than {limit} bytes")]
    TooLargeForMethod { limit: usize },
    #[error("there is no service \"{0}\"; ask for \"\" or \"inference.GRPCInferenceService\"")]
    UnknownService(String),
    #[error("there is no resource at {0}")]
    NoPath(String),
    #[error("{0} does not support this method")]
    Method(String),
    #[error("the server failed on this request; please report it")]
    Panicked,
}

/// The kind of an error, which decides the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Invalid,
    NotFound,
    Unauthenticated,
    Forbidden,
    Method,
    NotImplemented,
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
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
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
            Self::Method | Self::NotImplemented => Code::Unimplemented,
            Self::Slow | Self::Deadline => Code::DeadlineExceeded,
            Self::TooLarge | Self::Busy => Code::ResourceExhausted,
            Self::Internal => Code::Internal,
            Self::Unavailable => Code::Unavailable,
        }
    }
}

impl RequestError {
    /// The kind, which decides the status.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Run(RunError::Busy { .. }) => Kind::Busy,
            Self::Run(error) => run_kind(error.kind()),
            Self::Tensor { source, .. } => run_kind(source.kind()),
            Self::Call(error) | Self::Sample { source: error, .. } => call_kind(error),
            Self::UnknownModel { .. }
            | Self::UnknownVersion { .. }
            | Self::UnknownService(_)
            | Self::NoPath(_) => Kind::NotFound,
            Self::NoRelease => Kind::Unavailable,
            Self::Deadline => Kind::Deadline,
            Self::Slow => Kind::Slow,
            Self::Wire(WireError::Malformed) => Kind::Invalid,
            Self::TooLarge { .. }
            | Self::TooLargeForMethod { .. }
            | Self::Members
            | Self::Wire(_) => Kind::TooLarge,
            Self::Busy { .. } => Kind::Busy,
            Self::Refused(Refusal::Unauthenticated) => Kind::Unauthenticated,
            Self::Refused(Refusal::Foreign | Refusal::WebPage) => Kind::Forbidden,
            Self::Compressed => Kind::MediaType,
            Self::Method(_) => Kind::Method,
            Self::NotImplemented { .. } => Kind::NotImplemented,
            Self::Panicked => Kind::Internal,
            _ => Kind::Invalid,
        }
    }

    /// The stable name, in snake case. A failed sample has the one under which the daemon counts it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Call(CallError::Ended { fault, .. })
            | Self::Sample {
                source: CallError::Ended { fault, .. },
                ..
            } => fault,
            Self::Call(error) | Self::Sample { source: error, .. } => match error {
                CallError::Deadline => "deadline",
                _ => "abandoned",
            },
            Self::Json(_)
            | Self::HeaderLength { .. }
            | Self::Rest { .. }
            | Self::RawCount { .. }
            | Self::RawInputs { .. }
            | Self::Broken
            | Self::Decompress { .. }
            | Self::Wire(WireError::Malformed) => "invalid_request",
            Self::Members | Self::Wire(_) => "too_many_entries",
            Self::Input { .. } | Self::Tensor { .. } | Self::NoSample => "invalid_input",
            Self::Output { .. } => "invalid_output",
            Self::Parameter(_) => "invalid_parameter",
            Self::UnknownOutput { .. } => "unknown_output",
            Self::UnknownModel { .. } => "unknown_model",
            Self::UnknownVersion { .. } => "unknown_version",
            Self::UnknownService(_) => "unknown_service",
            Self::NoRelease => "no_release",
            Self::Run(RunError::Busy { .. }) | Self::Busy { .. } => "busy",
            Self::Run(error) => match error.kind() {
                ErrorKind::InvalidInput | ErrorKind::Unsupported | ErrorKind::NotFound => {
                    "invalid_input"
                }
                ErrorKind::LimitExceeded => "too_large",
                ErrorKind::DeadlineExceeded => "deadline",
                ErrorKind::Internal => "model_failed",
            },
            Self::Deadline => "deadline",
            Self::Slow => "slow_body",
            Self::TooLarge { .. } | Self::TooLargeForMethod { .. } => "too_large",
            Self::Refused(Refusal::Unauthenticated) => "unauthenticated",
            Self::Refused(Refusal::Foreign) => "foreign_host",
            Self::Refused(Refusal::WebPage) => "web_page",
            Self::Compressed => "unknown_encoding",
            Self::NoPath(_) => "unknown_path",
            Self::Method(_) => "unknown_method",
            Self::Unsupported(_) | Self::NotImplemented { .. } => "not_implemented",
            Self::Panicked => "panicked",
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

/// The kind of a pipeline's error. The faults are the stable names of the daemon's counters.
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
        "invalid_sample_id"
        | "invalid_input"
        | "unsupported"
        | "not_found"
        | "privacy_undecodable"
        // Another try with the same sample would end as this one did.
        | "skipped" => Kind::Invalid,
        "deadline" => Kind::Deadline,
        _ => Kind::Internal,
    }
}
