//! Strict TOML for configuration files: an unknown key is refused, with its line and the most similar known key.
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
        /// Its line.
        line: usize,
        /// What was written.
        found: String,
        /// The most similar known one.
        nearest: Option<String>,
        /// All known ones.
        known: Vec<String>,
    },
    /// Not TOML, or a value of the wrong type, or a missing key.
    #[error("line {line}: {message}")]
    Invalid {
        /// The line of the error; 1 if the error concerns the whole text.
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
                message: described(text, error.message()),
            },
        }
    })
}

/// The error in one line. For an empty file it says so, because the parser only names the first missing key.
fn described(text: &str, message: &str) -> String {
    let message = message.trim().replace('\n', "; ");
    if text.trim().is_empty() {
        format!("the file is empty: {message}")
    } else {
        message
    }
}

/// The line, from 1, that holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}
