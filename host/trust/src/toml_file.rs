//! TOML that people write: an unknown key is refused, with its line and the nearest known key.
//!
//! Shared by `release.toml`, `trust.toml` and `hotshoe.toml`. The types parsed must derive
//! `Deserialize` with `deny_unknown_fields`, and must not use `flatten` or `untagged`, which lose lines.

use serde::de::DeserializeOwned;

use crate::nearest::{Unknown, suggestion};

/// Why a TOML text was refused. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TomlError {
    /// A key, or one of a fixed set of values, that the schema does not know.
    #[error("line {line}: unknown {kind} `{found}`; {}", suggestion(nearest.as_deref(), known))]
    Unknown {
        /// `key` or `value`.
        kind: &'static str,
        /// The line it stands in.
        line: usize,
        /// What was written.
        found: String,
        /// The known one that is likest to it.
        nearest: Option<String>,
        /// All that are known there.
        known: Vec<String>,
    },
    /// Not TOML, or a value of the wrong type, or a missing key.
    #[error("line {line}: {message}")]
    Invalid {
        /// The line of the error; 1 where the text as a whole is at fault.
        line: usize,
        /// What is wrong.
        message: String,
    },
}

impl TomlError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_key",
            Self::Invalid { .. } => "invalid_toml",
        }
    }
}

/// Parses `text` as a `T`.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, TomlError> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        match Unknown::from_serde(error.message()) {
            Some(unknown) => TomlError::Unknown {
                kind: unknown.kind,
                line,
                nearest: unknown.nearest().map(str::to_owned),
                found: unknown.found,
                known: unknown.known,
            },
            None => TomlError::Invalid {
                line,
                message: error.message().trim().replace('\n', "; "),
            },
        }
    })
}

/// The line, from 1, that holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}
