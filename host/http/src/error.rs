//! Why a section is not opened.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::access::{LEAST_TOKEN_BYTES, MAX_TOKEN_FILE};
use crate::options::Exposure;
use crate::tls::TlsError;

/// Why a section is not opened, or its options are not taken. `section` is its section in the configuration.
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
    /// The token can be guessed, or is none.
    #[error(
        "the token in {0} is to be one line of {LEAST_TOKEN_BYTES} to {MAX_TOKEN_FILE} visible ASCII characters; `openssl rand -hex 32` makes one"
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
    /// Strangers could use it.
    #[error(
        "`{section}.listen = {listen}` is beyond loopback, and {}: add `[{section}.tls]` with either `client-ca` in it or `{section}.token-file`, \
         or listen on 127.0.0.1",
        exposure.problem()
    )]
    Exposed {
        /// The section.
        section: &'static str,
        /// The address.
        listen: SocketAddr,
        /// What strangers could do.
        exposure: Exposure,
    },
    /// The port cannot be had.
    #[error("cannot listen at {listen}; choose another `{section}.listen`")]
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
    /// What is wrong, as a part of a sentence.
    const fn problem(self) -> &'static str {
        match self {
            Self::ReadableToken => "without TLS anybody on the way can read the token",
            Self::Anybody => "anybody who reaches it could use it",
        }
    }
}
