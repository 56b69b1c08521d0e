//! What the operator of a door decides.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::tls::TlsFiles;

/// What a front is told. All of it may change while it serves; see [`crate::Front::renew`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The certificates. Default: no TLS.
    pub tls: Option<TlsFiles>,
    /// A file with the token that each request has to show. Default: none is asked for.
    pub token_file: Option<PathBuf>,
    /// Whether it may listen beyond loopback although anybody there could ask, or read the token. Default: false.
    pub insecure: bool,
    /// What other ends may use up.
    pub limits: Limits,
}

/// What other ends may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most connections at once. For a new one the idle one that has waited longest is ended, first among those that have asked
    /// nothing yet; where all are busy, the new one waits. Default: 64.
    pub connections: usize,
    /// Most connections at once from one address, or from one IPv6 network of 64 bits. A further one is refused with status 503.
    /// Programs on this machine share one address, so this does not hold for them. Default: 16.
    pub connections_per_address: usize,
    /// How long a new connection may take to the head of a request whose sender may ask; the TLS handshake is a part of it.
    /// Default: 10 s.
    pub first_request: Duration,
    /// How long a connection may be without a request. The head of a further request is to arrive in this time. Default: 60 s.
    pub idle: Duration,
    /// How long nothing of a request's body may arrive, and how long the other end may take nothing of an answer. Default: 30 s.
    pub stall: Duration,
    /// How long an HTTP/2 connection may take to say that it still lives, when it is asked every [`Limits::stall`].
    /// Default: 10 s.
    pub pong: Duration,
    /// Most requests at once on one HTTP/2 connection. Default: 8.
    pub streams: u32,
    /// The largest head of a request, in bytes; at least 8 KiB. Over HTTP/1.1 it has at most 100 fields as well. Default: 16 KiB.
    pub head_bytes: u32,
    /// Most HTTP/2 requests that were taken back while they waited, before the connection ends. Default: 20.
    pub pending_resets: usize,
    /// How much of the bodies of one HTTP/2 connection is on its way at once, in bytes. Default: 64 KiB.
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

/// Why a door must not listen where it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposure {
    /// A token is asked for, but it travels in the clear.
    ReadableToken,
    /// Callers need neither a token nor a certificate.
    Anybody,
}

/// The loopback rule: beyond loopback, callers prove who they are and nobody on the way can read it, unless the operator says
/// otherwise.
pub fn exposure(listen: SocketAddr, options: &Options) -> Option<Exposure> {
    if is_loopback(listen) || options.insecure {
        return None;
    }
    let certified = options.tls.as_ref().is_some_and(|t| t.client_ca.is_some());
    match (&options.token_file, &options.tls) {
        _ if certified => None,
        (Some(_), Some(_)) => None,
        (Some(_), None) => Some(Exposure::ReadableToken),
        (None, _) => Some(Exposure::Anybody),
    }
}

pub(crate) fn is_loopback(listen: SocketAddr) -> bool {
    listen.ip().to_canonical().is_loopback()
}
