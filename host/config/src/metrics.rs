//! `[metrics]`: the Prometheus endpoint.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hotshoe_http::{Limits, Options};
use hotshoe_sealing::NamedSecret;
use serde::{Deserialize, Serialize};

use super::front::{self, FrontKeys, FrontTls};
use crate::error::ConfigError;

/// `[metrics]`. Without this section nothing listens. Addresses beyond loopback are refused unless clients authenticate: with a
/// token, which needs TLS, or with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MetricsConfig {
    /// Address of the Prometheus endpoint. Default: `127.0.0.1:9898`.
    pub listen: SocketAddr,
    /// A file with the token that each request must have, as `authorization: Bearer TOKEN`. Default: no token.
    pub token_file: Option<PathBuf>,
    /// The name of the secret that is the token, if there is no `token-file`. Default: none.
    pub token_secret: Option<String>,
    /// The certificates. Default: no TLS.
    pub tls: Option<FrontTls>,
    /// Allows addresses beyond loopback without authentication, so that anybody can read the metrics. Default: false.
    pub insecure: bool,
    /// Most concurrent connections; a new one replaces the longest idle one. Default: 64.
    pub max_connections: usize,
    /// Most concurrent connections from one address, or from one IPv6 /64 network; those of this machine do not count. Default: 16.
    pub max_connections_per_address: usize,
}

impl Default for MetricsConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9898)),
            token_file: None,
            token_secret: None,
            tls: None,
            insecure: false,
            max_connections: limits.connections,
            max_connections_per_address: limits.connections_per_address,
        }
    }
}

impl From<SocketAddr> for MetricsConfig {
    fn from(listen: SocketAddr) -> Self {
        Self {
            listen,
            ..Self::default()
        }
    }
}

impl MetricsConfig {
    /// The options of the HTTP front, with the secret that `token-secret` names.
    pub fn front(&self, token_secret: Option<NamedSecret>) -> Options {
        self.keys().options(token_secret)
    }

    fn keys(&self) -> FrontKeys<'_> {
        FrontKeys {
            door: "metrics",
            listen: self.listen,
            token_file: self.token_file.as_deref(),
            token_secret: self.token_secret.as_ref(),
            tls: self.tls.as_ref(),
            insecure: self.insecure,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            anybody: "anybody could read what the device does",
        }
    }

    /// Resolves relative paths against `folder`.
    pub fn resolve(&mut self, folder: &Path) {
        front::resolve(&mut self.tls, &mut self.token_file, folder);
    }

    /// Refuses unsafe configurations.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.keys().check()
    }
}
