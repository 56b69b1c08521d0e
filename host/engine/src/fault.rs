use std::fmt;

use serde::Serialize;

/// The kind of error that a component returns: `error-code` of `hotshoe:pipeline/types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The sample or an argument is malformed.
    InvalidInput,
    /// Well-formed, but not supported.
    Unsupported,
    /// No model, data file or entry has that name for this component.
    NotFound,
    /// The release or the device does not grant this operation.
    Denied,
    /// A limit of the release or of the device was reached.
    LimitExceeded,
    /// A defect of the component, the model or the host.
    Internal,
}

/// Why a sample has no result. Each has a stable name for counters. All but [`Fault::Skipped`] are failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The component trapped: `unreachable`, an access out of bounds, a broken call.
    Trap,
    /// The component ran past its `deadline-ms`.
    Deadline,
    /// The component asked for more linear memory than its `memory-mib`, or held more of the host's than its `tensor-mib`.
    Memory,
    /// The component asked for more elements of tables than its `table-elements`.
    Table,
    /// The component held more handles of the host than its `handles`.
    Handles,
    /// The component returned more than its `output-kib`.
    Output,
    /// The component used up its `fuel`.
    Fuel,
    /// The component could not be instantiated.
    Instantiation,
    /// The component trapped too often in a row, and is paused.
    BackingOff,
    /// A tensor had a name, element type or shape that the model does not take.
    Tensor,
    /// The model failed on tensors that fit it.
    Model,
    /// A policy wanted to send a message under a topic that the release does not list.
    Denied,
    /// The component left the sample out, which is no failure.
    Skipped,
    /// A governor's plan breaks a bound of its interface.
    InvalidPlan,
    /// A governor's plan names a mode that the release does not sign.
    UnsignedMode,
    /// Masks apply to the sample, and it could not be decoded to burn them in.
    PrivacyUndecodable,
    /// The component returned an error.
    Guest(ErrorCode),
}

impl Fault {
    /// The stable name, in snake case: a counter's label and a JSON value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Table => "table",
            Self::Handles => "handles",
            Self::Output => "output",
            Self::Fuel => "fuel",
            Self::Instantiation => "instantiation",
            Self::BackingOff => "backing_off",
            Self::Tensor => "tensor",
            Self::Model => "model",
            Self::Skipped => "skipped",
            Self::InvalidPlan => "invalid_plan",
            Self::UnsignedMode => "unsigned_mode",
            Self::PrivacyUndecodable => "privacy_undecodable",
            Self::Guest(ErrorCode::InvalidInput) => "invalid_input",
            Self::Guest(ErrorCode::Unsupported) => "unsupported",
            Self::Guest(ErrorCode::NotFound) => "not_found",
            Self::Denied | Self::Guest(ErrorCode::Denied) => "denied",
            Self::Guest(ErrorCode::LimitExceeded) => "limit_exceeded",
            Self::Guest(ErrorCode::Internal) => "internal",
        }
    }

    /// Whether the instance is in an unknown state afterwards, and must be replaced.
    pub const fn ends_instance(self) -> bool {
        !matches!(
            self,
            Self::Guest(_)
                | Self::Tensor
                | Self::Model
                | Self::Denied
                | Self::Skipped
                | Self::InvalidPlan
                | Self::UnsignedMode
                | Self::PrivacyUndecodable
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Fault {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The failure of one sample, or why a component left it out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({fault})")]
pub struct Failure {
    /// What kind of failure it was.
    pub fault: Fault,
    /// A message of one sentence.
    pub message: String,
}

impl Failure {
    /// A failure of this kind, with the message of an error and its causes.
    pub fn of(fault: Fault, error: &dyn std::error::Error) -> Self {
        Self::new(fault, hotshoe_base::chain(error))
    }

    /// A failure of this kind, with a message.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self {
            fault,
            message: message.into(),
        }
    }
}
