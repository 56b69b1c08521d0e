//! `[page]`: the page that shows what the device does, or in `registry.toml` what the devices of the site do.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hotshoe_http::{Limits, Options};
use hotshoe_sealing::NamedSecret;
use serde::{Deserialize, Serialize};

use super::front::{self, FrontKeys, FrontTls};
use crate::error::ConfigError;

/// `[page]`. Without this section nothing listens. Addresses beyond loopback are refused unless clients authenticate: with a token, which
/// needs TLS, or with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PageConfig {
    /// Address of the page. Default: `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// A file with the token that the page asks its user for. Rolling back and activating a release need one. Default: no token.
    pub token_file: Option<PathBuf>,
    /// The name of the secret that is the token, if there is no `token-file`. Default: none.
    pub token_secret: Option<String>,
    /// The certificates. Default: no TLS.
    pub tls: Option<FrontTls>,
    /// Allows addresses beyond loopback without authentication, so that anybody can see what the device does. Default: false.
    pub insecure: bool,
    /// Whether the page shows the pictures of samples, if `record.allow`, the release's `data-contract.record` and the class of recordings
    /// allow samples too. Default: false.
    pub pictures: bool,
    /// Most concurrent connections; a new one replaces the longest idle one. Default: 64.
    pub max_connections: usize,
    /// Most concurrent connections from one address, or from one IPv6 /64 network; those of this machine do not count. Default: 16.
    pub max_connections_per_address: usize,
}

impl Default for PageConfig {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            token_file: None,
            token_secret: None,
            tls: None,
            insecure: false,
            pictures: false,
            max_connections: limits.connections,
            max_connections_per_address: limits.connections_per_address,
        }
    }
}

impl PageConfig {
    /// The options of the HTTP front, with the secret that `token-secret` names.
    pub fn front(&self, token_secret: Option<NamedSecret>) -> Options {
        self.keys().options(token_secret)
    }

    /// Whether requests need a token.
    pub const fn has_token(&self) -> bool {
        self.token_file.is_some() || self.token_secret.is_some()
    }

    fn keys(&self) -> FrontKeys<'_> {
        FrontKeys {
            door: "page",
            listen: self.listen,
            token_file: self.token_file.as_deref(),
            token_secret: self.token_secret.as_ref(),
            tls: self.tls.as_ref(),
            insecure: self.insecure,
            max_connections: self.max_connections,
            max_connections_per_address: self.max_connections_per_address,
            anybody: "anybody could see what the device does",
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

    /// Refuses unsafe configurations of a registry's page.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn check_site(&self) -> Result<(), ConfigError> {
        if self.pictures {
            return Err(ConfigError::SitePictures);
        }
        if self.token_secret.is_some() {
            return Err(ConfigError::SiteSecret);
        }
        self.check()
    }

    /// What of `new` takes effect without a restart: token, certificates and limits.
    #[must_use]
    pub fn renewed(&self, new: Self) -> Self {
        Self {
            token_file: new.token_file,
            token_secret: new.token_secret,
            tls: new.tls,
            max_connections: new.max_connections,
            max_connections_per_address: new.max_connections_per_address,
            ..self.clone()
        }
    }
}
