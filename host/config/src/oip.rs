//! `[oip]`: the server of the Open Inference Protocol.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hotshoe_http::Options;
use serde::{Deserialize, Serialize};

use super::check_range;
use super::front::{self, FrontKeys, FrontTls};
use crate::error::ConfigError;

/// Most MiB that the body of one request may be configured to have.
pub const MAX_BODY_MIB: u64 = 1 << 10;
/// Most requests at once.
pub const MAX_REQUESTS: usize = 1 << 10;

/// `[oip]`: HTTP with JSON and gRPC on one port. Without this section nothing listens. Beyond loopback it is refused unless
/// callers prove who they are: by a token, which needs TLS, or by a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OipConfig {
    /// Where it listens. Default: `127.0.0.1:8000`.
    pub listen: SocketAddr,
    /// A file with the token that each request has to show, as `authorization: Bearer TOKEN`. Default: none is asked for.
    pub token_file: Option<PathBuf>,
    /// The certificates. Default: no TLS.
    pub tls: Option<FrontTls>,
    /// Whether it may listen beyond loopback although anybody there can run the device's models. Default: false.
    pub insecure: bool,
    /// Connections at once; for a new one the longest idle one is ended, and where none is idle the new one waits. Default: 256.
    pub max_connections: usize,
    /// Connections at once from one address, or from one IPv6 network of 64 bits; those of this machine are not counted. Default: 64.
    pub max_connections_per_address: usize,
    /// The largest body of a request, in MiB. `intake.max-sample-bytes` holds for samples besides. Default: 64.
    pub max_body_mib: u64,
    /// Inference requests at once; the next one is refused, so that memory is bounded. Default: 16.
    pub max_requests: usize,
    /// How long one request may take, from its head to its answer, in milliseconds. A request may ask for less. Default: 30000.
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

    /// What the front is told.
    pub fn front(&self) -> Options {
        self.keys().options()
    }

    fn keys(&self) -> FrontKeys<'_> {
        FrontKeys {
            door: "oip",
            listen: self.listen,
            token_file: self.token_file.as_deref(),
            tls: self.tls.as_ref(),
            insecure: self.insecure,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            anybody: "anybody who reaches it could run the device's models",
        }
    }

    /// Takes relative paths from `folder`.
    pub fn resolve(&mut self, folder: &Path) {
        front::resolve(&mut self.tls, &mut self.token_file, folder);
    }

    /// Refuses what cannot work or is not safe.
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
