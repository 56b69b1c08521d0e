//! Errors of the front.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::options::Exposure;
use crate::tls::TlsError;

/// The minimum length of a token, in bytes.
pub(crate) const LEAST_TOKEN_BYTES: usize = 16;
/// The maximum size of a token file, in bytes.
pub(crate) const MAX_TOKEN_FILE: u64 = 4 << 10;

/// Why a front cannot start, or its options cannot be applied. `section` is its section in the configuration.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The token cannot be read.
    #[error("cannot read the token {path}; correct `{section}.token-file`")]
    Token {
        /// The section.
        section: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The token is too short, too long or not printable.
    #[error(
        "the token in {0} must be one line of {LEAST_TOKEN_BYTES} to {MAX_TOKEN_FILE} visible ASCII characters; `openssl rand -hex 32` generates one"
    )]
    TokenForm(PathBuf),
    /// The certificates cannot be used.
    #[error("cannot use the certificates of `[{section}.tls]`")]
    Tls {
        /// The section.
        section: &'static str,
        /// Why.
        #[source]
        source: TlsError,
    },
    /// Anyone on the network could use it.
    #[error(
        "`{section}.listen = {listen}` is not a loopback address, and {}: add `[{section}.tls]` with `client-ca` or with `{section}.token-file`, \
         or listen on 127.0.0.1",
        exposure.problem()
    )]
    Exposed {
        /// The section.
        section: &'static str,
        /// The address.
        listen: SocketAddr,
        /// What an attacker could do.
        exposure: Exposure,
    },
    /// The port cannot be bound.
    #[error("cannot listen on {listen}; choose another `{section}.listen`")]
    Listen {
        /// The section.
        section: &'static str,
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl FrontError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Token { .. } => "unreadable_token",
            Self::TokenForm(_) => "invalid_token",
            Self::Tls { .. } => "invalid_certificates",
            Self::Exposed { .. } => "open_door",
            Self::Listen { .. } => "cannot_listen",
        }
    }
}

impl Exposure {
    /// The problem, as a part of a sentence.
    const fn problem(self) -> &'static str {
        match self {
            Self::ReadableToken => "without TLS anyone on the network can read the token",
            Self::Anybody => "anyone on the network could use it",
        }
    }
}
