//! Errors of the front.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use hotshoe_sealing::SecretError;

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
    /// The secret that is the token cannot be read.
    #[error("cannot read the secret {name:?} of `{section}.token-secret`")]
    TokenSecret {
        /// The section.
        section: &'static str,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// The secret that is the token is too short or not printable.
    #[error(
        "the secret {0:?} is a token, and must be one line of {LEAST_TOKEN_BYTES} or more visible ASCII characters; `openssl rand -hex 32` generates one"
    )]
    TokenSecretForm(String),
    /// The secrets of the device cannot be opened.
    #[error(transparent)]
    Secrets(#[from] SecretError),
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
            Self::TokenForm(_) | Self::TokenSecretForm(_) => "invalid_token",
            Self::TokenSecret { source, .. } | Self::Secrets(source) => source.name(),
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
