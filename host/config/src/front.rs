//! The common keys of the HTTP servers, `[oip]`, `[page]` and `[metrics]`: certificates, token, connections.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hotshoe_http::{Exposure, Limits, Options, TlsFiles, exposure};
use hotshoe_sealing::NamedSecret;
use serde::{Deserialize, Serialize};

use super::check_range;
use crate::encryption::check_secret_name;
use crate::error::ConfigError;

/// Largest configurable number of concurrent connections of a server.
pub const MAX_CONNECTIONS: usize = 1 << 12;

/// `[oip.tls]`, `[page.tls]` and `[metrics.tls]`: PEM files, relative to the folder of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FrontTls {
    /// The certificate of the server, with its intermediate certificates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Clients must present a certificate of this authority. Default: not required.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}

/// The common keys of one server.
pub(super) struct FrontKeys<'a> {
    /// The section of the server.
    pub(super) door: &'static str,
    pub(super) listen: SocketAddr,
    pub(super) token_file: Option<&'a Path>,
    pub(super) token_secret: Option<&'a String>,
    pub(super) tls: Option<&'a FrontTls>,
    pub(super) insecure: bool,
    pub(super) max_connections: usize,
    pub(super) max_connections_per_address: usize,
    /// What an unauthenticated client could do, as a part of a sentence.
    pub(super) anybody: &'static str,
}

impl FrontKeys<'_> {
    /// Whether requests need a token.
    const fn has_token(&self) -> bool {
        self.token_file.is_some() || self.token_secret.is_some()
    }

    /// The options of the HTTP front, with the secret that `token-secret` names.
    pub(super) fn options(&self, token_secret: Option<NamedSecret>) -> Options {
        Options {
            tls: self.tls.map(|tls| TlsFiles {
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
                client_ca: tls.client_ca.clone(),
            }),
            token_file: self.token_file.map(Path::to_owned),
            token_secret,
            insecure: self.insecure,
            limits: Limits {
                connections: self.max_connections,
                connections_per_address: self.max_connections_per_address,
                ..Limits::default()
            },
        }
    }

    /// Refuses unsafe configurations.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let range = |key: &str, value: usize| {
            let key = format!("{}.{key}", self.door);
            check_range(key, value as u64, 1, MAX_CONNECTIONS as u64)
        };
        range("max-connections", self.max_connections)?;
        range(
            "max-connections-per-address",
            self.max_connections_per_address,
        )?;
        check_secret_name(format!("{}.token-secret", self.door), self.token_secret)?;
        let options = self.options(None);
        let problem = match exposure(self.listen, self.has_token(), &options) {
            None => return Ok(()),
            Some(Exposure::ReadableToken) => "without TLS anyone on the network can read the token",
            Some(Exposure::Anybody) => self.anybody,
        };
        Err(ConfigError::OpenDoor {
            door: self.door,
            listen: self.listen,
            problem,
        })
    }
}

/// Resolves relative paths against `folder`.
pub(super) fn resolve(tls: &mut Option<FrontTls>, token: &mut Option<PathBuf>, folder: &Path) {
    let files = tls.iter_mut().flat_map(|tls| {
        [&mut tls.certificate, &mut tls.key]
            .into_iter()
            .chain(&mut tls.client_ca)
    });
    for path in files.chain(token) {
        *path = folder.join(&path);
    }
}
