//! `[oip]`: the server of the Open Inference Protocol.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hotshoe_http::Options;
use hotshoe_sealing::NamedSecret;
use serde::{Deserialize, Serialize};

use super::check_range;
use super::front::{self, FrontKeys, FrontTls};
use crate::error::ConfigError;

/// Largest configurable body of one request, in MiB.
pub const MAX_BODY_MIB: u64 = 1 << 10;
/// Largest configurable number of concurrent requests.
pub const MAX_REQUESTS: usize = 1 << 10;

/// `[oip]`: HTTP with JSON and gRPC on one port. Without this section nothing listens. Addresses beyond loopback are refused
/// unless clients authenticate: with a token, which needs TLS, or with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OipConfig {
    /// Where it listens. Default: `127.0.0.1:8000`.
    pub listen: SocketAddr,
    /// A file with the token that each request must have, as `authorization: Bearer TOKEN`. Default: no token.
    pub token_file: Option<PathBuf>,
    /// The name of the secret that is the token, if there is no `token-file`. Default: none.
    pub token_secret: Option<String>,
    /// The certificates. Default: no TLS.
    pub tls: Option<FrontTls>,
    /// Allows addresses beyond loopback without authentication, so that anybody can run the device's models. Default: false.
    pub insecure: bool,
    /// Most concurrent connections; a new one replaces the longest idle one, or waits if none is idle. Default: 256.
    pub max_connections: usize,
    /// Most concurrent connections from one address, or from one IPv6 /64 network; those of this machine do not count. Default: 64.
    pub max_connections_per_address: usize,
    /// The largest body of a request, in MiB. `intake.max-sample-bytes` also applies to samples. Default: 64.
    pub max_body_mib: u64,
    /// Most concurrent inference requests; further ones are refused, so that memory is bounded. Default: 16.
    pub max_requests: usize,
    /// Timeout of one request, from its head to its response, in milliseconds. A request may ask for less. Default: 30000.
    pub timeout_ms: u64,
    /// The release's models that may be called. Default: all.
    pub models: Option<Vec<String>>,
    /// Whether the pipeline may be called, as a model of the release's name, unless one of its models has this name too.
    /// Default: true.
    pub pipeline: bool,
}

impl Default for OipConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            token_file: None,
            token_secret: None,
            tls: None,
            insecure: false,
            max_connections: 256,
            max_connections_per_address: 64,
            max_body_mib: 64,
            max_requests: 16,
            timeout_ms: 30_000,
            models: None,
            pipeline: true,
        }
    }
}

impl OipConfig {
    /// `timeout-ms` as a duration.
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// `max-body-mib` in bytes.
    pub fn max_body_bytes(&self) -> usize {
        usize::try_from(self.max_body_mib << 20).unwrap_or(usize::MAX)
    }

    /// The options of the HTTP front, with the secret that `token-secret` names.
    pub fn front(&self, token_secret: Option<NamedSecret>) -> Options {
        self.keys().options(token_secret)
    }

    fn keys(&self) -> FrontKeys<'_> {
        FrontKeys {
            door: "oip",
            listen: self.listen,
            token_file: self.token_file.as_deref(),
            token_secret: self.token_secret.as_ref(),
            tls: self.tls.as_ref(),
            insecure: self.insecure,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            anybody: "anybody could run the device's models",
        }
    }

    /// Resolves relative paths against `folder`.
    pub fn resolve(&mut self, folder: &Path) {
        front::resolve(&mut self.tls, &mut self.token_file, folder);
    }

    /// Refuses values that are not valid or not safe.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_range("oip.max-body-mib", self.max_body_mib, 1, MAX_BODY_MIB)?;
        check_range(
            "oip.max-requests",
            self.max_requests as u64,
            1,
            MAX_REQUESTS as u64,
        )?;
        check_range("oip.timeout-ms", self.timeout_ms, 1, 3_600_000)?;
        self.keys().check()
    }
}
