use std::fmt;
use std::time::Duration;

use hotshoe_trust::Digest;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

/// The most characters of a registry's own words in an error.
const REASON_CHARS: usize = 300;

/// Errors of requests to a registry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// The registry cannot be reached, or the connection broke.
    #[error("the connection failed")]
    Connection(#[source] reqwest::Error),
    /// No byte moved for too long.
    #[error("no byte was sent or received for {seconds} s")]
    Silent {
        /// How long, in seconds.
        seconds: u64,
    },
    /// The certificate authorities cannot be used.
    #[error("the certificate authorities cannot be used")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// The registry refused the request.
    #[error("the registry answered {status}{reason}")]
    Status {
        /// The status.
        status: StatusCode,
        /// The registry's own words.
        reason: Reason,
        /// How long the registry asks to wait.
        retry_after: Option<Duration>,
    },
    /// The token service refused the credentials.
    #[error("the token service answered {status}{reason}; check the credentials")]
    TokenRefused {
        /// The status.
        status: StatusCode,
        /// Its own words.
        reason: Reason,
    },
    /// The registry has TLS, and its token service does not.
    #[error(
        "the registry names the token service {0}, which does not use https; no credentials were sent"
    )]
    PlainToken(String),
    /// The token service's response has no token.
    #[error("the response of the token service cannot be read: {0}")]
    BadToken(String),
    /// A redirect or an upload without a usable address.
    #[error("the registry answered {status} without a usable Location")]
    NoLocation {
        /// The status.
        status: StatusCode,
    },
    /// Too many redirects.
    #[error("more than {limit} redirects")]
    Redirects {
        /// The limit.
        limit: usize,
    },
    /// A body is larger than its limit.
    #[error("the response has more than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// A body ended before its last byte.
    #[error("the response ended after {found} of {expected} bytes")]
    Truncated {
        /// The size in bytes.
        expected: u64,
        /// The number of received bytes.
        found: u64,
    },
    /// The bytes of a resumed download do not fit together.
    #[error("the resumed blob has another digest")]
    BadResume,
    /// The bytes do not match the requested digest.
    #[error("the received bytes have the digest {found}")]
    Mismatch {
        /// The digest of the bytes.
        found: Digest,
    },
    /// A local file cannot be read or written.
    #[error("cannot read or write the blob's file")]
    File(#[source] std::io::Error),
    /// The address of a request is not valid.
    #[error("{0} is not a valid URL")]
    Url(String),
    /// The request is not tried again.
    #[error("{why}")]
    GaveUp {
        /// Why.
        why: String,
        /// The error of the last attempt.
        #[source]
        source: Box<TransferError>,
    },
}

impl From<reqwest::Error> for TransferError {
    /// Leaves the URL out: its query may be a signature or the state of an upload.
    fn from(error: reqwest::Error) -> Self {
        Self::Connection(error.without_url())
    }
}

impl TransferError {
    /// The stable name, in snake case.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { status, reason, .. } => {
                if *status == StatusCode::NOT_FOUND
                    || reason.has(&["MANIFEST_UNKNOWN", "NAME_UNKNOWN", "NOT_FOUND"])
                {
                    "not_found"
                } else if *status == StatusCode::UNAUTHORIZED
                    || reason.has(&["UNAUTHORIZED", "DENIED"])
                {
                    "unauthorized"
                } else {
                    "registry"
                }
            }
            Self::TokenRefused { .. } => "unauthorized",
            Self::TooLarge { .. } => "too_large",
            Self::Mismatch { .. } => "damaged_blob",
            Self::File(_) => "io",
            Self::GaveUp { source, .. } => source.name(),
            _ => "registry",
        }
    }

    /// The status with which the registry refused the request.
    pub(crate) const fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether no connection was made.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self, Self::Connection(error) if error.is_connect())
    }

    /// The error of a refused request.
    pub(super) fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let retry_after = headers
            .get(RETRY_AFTER)
            .and_then(|value| super::retry::delay(value.to_str().ok()?));
        Self::Status {
            status,
            reason: Reason::read(body),
            retry_after,
        }
    }
}

/// The reason with which a registry refuses a request: that of the OCI distribution specification's error envelope, or plain text.
#[derive(Debug, Default)]
pub(crate) struct Reason {
    codes: Vec<String>,
    text: String,
}

#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    message: Option<String>,
}

impl Reason {
    pub(super) fn read(body: &[u8]) -> Self {
        match serde_json::from_slice::<Envelope>(body) {
            Ok(envelope) => {
                let words = envelope.errors.iter().map(|entry| match &entry.message {
                    Some(message) if !message.is_empty() => message.as_str(),
                    _ => entry.code.as_str(),
                });
                Self {
                    text: words.collect::<Vec<_>>().join("; "),
                    codes: envelope.errors.into_iter().map(|it| it.code).collect(),
                }
            }
            Err(_) => Self {
                codes: Vec::new(),
                text: String::from_utf8_lossy(body).trim().to_owned(),
            },
        }
    }

    fn has(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            return Ok(());
        }
        let short: String = self.text.chars().take(REASON_CHARS).collect();
        write!(f, ": {short}")
    }
}
