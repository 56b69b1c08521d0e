//! Why a sensor has no value.

use serde::Serialize;

/// Why a sensor has no value although it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Reading it takes longer than the time limit. Nothing of the sensor is read again before that read ends.
    TimedOut,
    /// It was left out, because too many others hang.
    NotRead,
    /// The system does not permit it.
    Denied,
    /// The system returns an error.
    Failed,
    /// It has more than [`MAX_FILE_BYTES`](crate::MAX_FILE_BYTES).
    TooLarge,
    /// What it says has another format, or is out of range.
    Invalid,
}

impl FaultKind {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::NotRead => "not_read",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
        }
    }
}
