//! The options of a front.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hotshoe_sealing::NamedSecret;

use crate::tls::TlsFiles;

/// The options of a front. All can change while it serves; see [`crate::Front::renew`].
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The certificates. Default: no TLS.
    pub tls: Option<TlsFiles>,
    /// A file with the token that each request must have. Default: none is required.
    pub token_file: Option<PathBuf>,
    /// The secret that is this token, without a file. Default: none.
    pub token_secret: Option<NamedSecret>,
    /// Whether it may listen on a network address although anyone there could send requests, or read the token. Default: false.
    pub insecure: bool,
    /// The limits of clients.
    pub limits: Limits,
}

/// The limits of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most concurrent connections. A new one closes the one that is idle longest, first among those without a request so far; if all
    /// are busy, the new one waits. Default: 64.
    pub connections: usize,
    /// The most concurrent connections from one address, or from one IPv6 /64 network. Another one is refused with status 503. Does not
    /// apply to programs on this machine, which share one address. Default: 16.
    pub connections_per_address: usize,
    /// The time until a new connection must have sent the head of an allowed request, including the TLS handshake. Default: 10 s.
    pub first_request: Duration,
    /// The time that a connection may be idle, until the head of its next request has arrived. Default: 60 s.
    pub idle: Duration,
    /// The time that a request body may stall, and that a client may not read an answer. Default: 30 s.
    pub stall: Duration,
    /// The timeout of an HTTP/2 ping, which is sent every [`Limits::stall`]. Default: 10 s.
    pub pong: Duration,
    /// The most concurrent requests on one HTTP/2 connection. Default: 8.
    pub streams: u32,
    /// The maximum size of a request's head, in bytes; at least 8 KiB. Over HTTP/1.1 also at most 100 fields. Default: 16 KiB.
    pub head_bytes: u32,
    /// The most HTTP/2 requests that a client may reset while they wait, before the connection ends. Default: 20.
    pub pending_resets: usize,
    /// The window of an HTTP/2 connection and of its streams, in bytes. Default: 64 KiB.
    pub window_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            connections_per_address: 16,
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            pong: Duration::from_secs(10),
            streams: 8,
            head_bytes: 16 << 10,
            pending_resets: 20,
            window_bytes: 64 << 10,
        }
    }
}

/// Why a front must not listen on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// A token is required, but is sent unencrypted.
    ReadableToken,
    /// Clients need neither a token nor a certificate.
    Anybody,
}

impl Options {
    /// Whether each request must have a token.
    pub(crate) const fn has_token(&self) -> bool {
        self.token_file.is_some() || self.token_secret.is_some()
    }
}

/// The loopback rule: on network addresses, clients must authenticate over an encrypted connection, unless the operator sets `insecure`.
/// `has_token` says whether there is a token, also where `options` has none yet.
pub fn exposure(listen: SocketAddr, has_token: bool, options: &Options) -> Option<Exposure> {
    if is_loopback(listen) || options.insecure {
        return None;
    }
    let certified = options.tls.as_ref().is_some_and(|t| t.client_ca.is_some());
    match (has_token, &options.tls) {
        _ if certified => None,
        (true, Some(_)) => None,
        (true, None) => Some(Exposure::ReadableToken),
        (false, _) => Some(Exposure::Anybody),
    }
}

pub(crate) fn is_loopback(listen: SocketAddr) -> bool {
    listen.ip().to_canonical().is_loopback()
}
