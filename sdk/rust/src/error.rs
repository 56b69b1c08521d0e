//! One error for all components: a code that the host counts, and a sentence for people.

use std::any::Any;
use std::fmt;

use crate::types::{Error as WitError, ErrorCode};

/// What a component's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure, which costs only this sample.
///
/// `?` converts any [`std::error::Error`]: an error of the host keeps its code, and others become `internal`. (So this type cannot be a
/// [`std::error::Error`] itself.)
pub struct Error(WitError);

impl Error {
    /// An error with a code of your choice.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(WitError {
            code,
            message: message.into(),
        })
    }

    /// The sample or an argument is malformed.
    pub fn invalid_input(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidInput, message.to_string())
    }

    /// Well-formed, but not supported.
    pub fn unsupported(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Unsupported, message.to_string())
    }

    /// A defect of the component, the model or the host: `text.parse().map_err(Error::internal)?`.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(ErrorCode::Internal, message.to_string())
    }

    /// The kind of failure.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// One sentence for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The error as the host takes it.
    pub fn into_wit(self) -> WitError {
        self.0
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.code, self.0.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl<E: std::error::Error + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        if let Some(host) = (&error as &dyn Any).downcast_ref::<WitError>() {
            return Self(host.clone());
        }
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::internal(message)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests"
    )]
    use super::*;

    fn parse(text: &str) -> Result<i32> {
        Ok(text.parse()?)
    }

    fn host() -> Result<()> {
        Err(WitError {
            code: ErrorCode::Denied,
            message: "no".into(),
        })?
    }

    #[test]
    fn question_mark_takes_any_error_and_keeps_the_hosts_code() {
        assert!(matches!(
            parse("x").unwrap_err().code(),
            ErrorCode::Internal
        ));
        let error = host().unwrap_err();
        assert!(matches!(error.code(), ErrorCode::Denied));
        assert_eq!(error.message(), "no");
    }
}
