//! Errors in the JSON of one part of a message, each with a stable name.

use crate::strict_json::JsonError;

/// Why the JSON of a part was refused. `part` is the part's name, such as `manifest`, `config`, `envelope` or `statement`.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// More bytes than allowed.
    #[error("the {part} is too large")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// How large it is.
        #[source]
        source: JsonError,
    },
    /// A key, or a value of a fixed set, that this host does not know.
    #[error("the {part} has fields that this host does not know")]
    UnknownKey {
        /// Which part.
        part: &'static str,
        /// Which key, where, and the nearest known one.
        #[source]
        source: JsonError,
    },
    /// A duplicate key in one object.
    #[error("the {part} is ambiguous")]
    DuplicateKey {
        /// Which part.
        part: &'static str,
        /// Which key, and where.
        #[source]
        source: JsonError,
    },
    /// Not the JSON expected.
    #[error("the {part} cannot be read")]
    Malformed {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        source: JsonError,
    },
}

impl PartError {
    /// Classifies an error in the JSON of `part`.
    pub const fn of(part: &'static str, source: JsonError) -> Self {
        match source {
            JsonError::Unknown { .. } => Self::UnknownKey { part, source },
            JsonError::DuplicateKey { .. } => Self::DuplicateKey { part, source },
            JsonError::TooLarge { .. } => Self::TooLarge { part, source },
            JsonError::TooDeep { .. } | JsonError::Invalid(_) => Self::Malformed { part, source },
        }
    }

    /// A stable snake_case name of the reason.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::UnknownKey { .. } => "unknown_key",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::Malformed { .. } => "malformed",
        }
    }
}
