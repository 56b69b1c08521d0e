//! Why nothing can be sent to the collector.

use std::io;
use std::path::PathBuf;

use hotshoe_sealing::SecretError;
use reqwest::StatusCode;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A file cannot be read.
    #[error("cannot read {path}, which `{key}` names")]
    Read {
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A line of the file of headers is not a header.
    #[error("line {line} of {path} is not `name: value`, as `telemetry.headers-file` needs it")]
    Header {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The secret with the headers cannot be read.
    #[error("cannot read the secret of `telemetry.headers-secret`")]
    Secret(#[from] SecretError),
    /// The file of the authority has no usable certificate.
    #[error(
        "{path} has no usable certificate; write the authority's certificate in PEM for `telemetry.ca`"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The HTTP client cannot be set up.
    #[error("cannot set up the client of `telemetry.endpoint`")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TelemetryError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "telemetry_file",
            Self::Header { .. } => "telemetry_header",
            Self::Secret(error) => error.name(),
            Self::NoCertificate { .. } => "telemetry_no_certificate",
            Self::Client(_) => "telemetry_client",
        }
    }
}

/// Why the collector did not take a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error("the collector cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    #[error("the collector is overloaded or not ready (status {0})")]
    Busy(StatusCode),
    #[error("the collector refuses the request (status {0})")]
    Refused(StatusCode),
}

impl SendError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "collector_unreachable",
            Self::Busy(_) => "collector_busy",
            Self::Refused(_) => "collector_refused",
        }
    }

    /// Whether the same request may be taken later.
    pub(crate) const fn is_temporary(&self) -> bool {
        !matches!(self, Self::Refused(_))
    }
}
