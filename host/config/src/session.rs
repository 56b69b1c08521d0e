//! `[zenoh]`: the Zenoh session of a device, a registry or a publisher.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MAX_MESSAGE_BYTES, check_range};
use crate::error::ConfigError;

/// Smallest `max-message-bytes`: the config of a release fits.
pub const LEAST_MESSAGE_BYTES: usize = 1 << 20;

/// Largest configurable number of sessions.
pub const MAX_SESSIONS: usize = 1 << 14;
/// Largest overhead of a message (key, media type, id) in addition to its payload, in bytes.
pub const MESSAGE_OVERHEAD: usize = 16 << 10;
/// Sessions per pending connection.
pub(crate) const PENDING_SHARE: usize = 10;

/// Least number of pending connections.
pub(crate) const LEAST_PENDING: usize = 2;

/// `[zenoh]`. A peer connects to `connect` in the background, so that a device without a network starts and serves. Multicast scouting, gossip and autoconnect are off unless `scouting` is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ZenohConfig {
    /// The mode of the session. Default: `peer`.
    pub mode: ZenohMode,
    /// Endpoints to connect to, such as `tcp/192.0.2.1:7447` or `tls/site.example:7447`. Default: none.
    pub connect: Vec<String>,
    /// Endpoints to listen on, such as `tcp/127.0.0.1:7447`; port 0 takes a free one. Default: none.
    pub listen: Vec<String>,
    /// A prefix of all keys, to separate deployments on one network. Default: none.
    pub namespace: Option<String>,
    /// Finds other peers by multicast and gossip, and connects to them. Default: false.
    pub scouting: bool,
    /// The largest message that is received, in bytes. Zenoh silently drops larger ones, so senders of samples must know the limit.
    /// `intake.max-sample-bytes` must be below it. Default: 8 MiB (Zenoh's own is 1 GiB).
    pub max_message_bytes: usize,
    /// Most concurrent sessions, incoming and outgoing; further ones are refused. Default: 1000 (Zenoh's own).
    pub max_sessions: usize,
    /// The certificates for `tls/` endpoints. Default: none.
    pub tls: Option<TlsConfig>,
    /// A file with Zenoh's `access_control` settings, as `hotshoe zenoh-acl` writes them. It applies where messages arrive: at a
    /// router, a registry, a device that listens. Default: none.
    pub access_control: Option<PathBuf>,
    /// Allows unauthenticated access: endpoints beyond this machine without TLS, listeners that do not require a certificate, and
    /// scouting without mutual TLS. Default: false.
    pub insecure: bool,
}

/// The mode of a Zenoh session. A router forwards messages between clients, and between clients and peers, but not between peers, which
/// need direct connections. So devices are peers, which start without a network, and programs of deployers behind a router are clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[derive(strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum ZenohMode {
    /// Communicates over its direct connections, and starts without any.
    #[default]
    Peer,
    /// Communicates with the whole network through one router or peer, and does not start without it.
    Client,
    /// Forwards messages between all sessions that connect to it.
    Router,
}

/// `[zenoh.tls]`: PEM files, relative to the folder of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TlsConfig {
    /// The certificate authority of this site. Without one, the public authorities are trusted. Default: none.
    pub ca: Option<PathBuf>,
    /// The session's own certificate, which listeners and mutual TLS need. Default: none.
    pub certificate: Option<PathBuf>,
    /// Its private key. Default: none.
    pub key: Option<PathBuf>,
    /// Mutual TLS: the remote end must present a certificate of `ca`, and this end presents its own. Default: whether there is a certificate.
    pub mutual: Option<bool>,
    /// Whether the name in a listener's certificate must match the endpoint. Default: true.
    pub verify_name: bool,
}

impl ZenohMode {
    /// Its name in Zenoh.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl TlsConfig {
    /// Whether both ends present certificates.
    pub fn is_mutual(&self) -> bool {
        self.mutual.unwrap_or(self.certificate.is_some())
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            ca: None,
            certificate: None,
            key: None,
            mutual: None,
            verify_name: true,
        }
    }
}

impl Default for ZenohConfig {
    fn default() -> Self {
        Self {
            mode: ZenohMode::Peer,
            connect: Vec::new(),
            listen: Vec::new(),
            namespace: None,
            scouting: false,
            max_message_bytes: 8 << 20,
            max_sessions: 1_000,
            tls: None,
            access_control: None,
            insecure: false,
        }
    }
}

impl ZenohConfig {
    /// The configuration for another program on the same machine: it connects to the daemon's `listen` endpoints, or to its `connect`
    /// endpoints if there are none, and does not listen.
    pub fn client(&self) -> Self {
        let connect = if self.listen.is_empty() {
            self.connect.clone()
        } else {
            // The endpoints that the daemon connects to may be unreachable.
            self.listen.iter().map(|e| to_loopback(e)).collect()
        };
        Self {
            mode: ZenohMode::Peer,
            connect,
            listen: Vec::new(),
            access_control: None,
            ..self.clone()
        }
    }

    /// Most pending connections, which are not sessions yet; further ones are closed, and each times out after ten seconds.
    pub fn accept_pending(&self) -> usize {
        (self.max_sessions / PENDING_SHARE).max(LEAST_PENDING)
    }

    /// Resolves relative paths against `folder`.
    pub fn resolve(&mut self, folder: &Path) {
        let tls = self
            .tls
            .iter_mut()
            .flat_map(|tls| [&mut tls.ca, &mut tls.certificate, &mut tls.key]);
        for path in tls.chain([&mut self.access_control]).flatten() {
            *path = folder.join(&path);
        }
    }

    /// Refuses values that are not valid.
    ///
    /// # Errors
    /// [`ConfigError`], which names the key.
    pub fn check(&self) -> Result<(), ConfigError> {
        check_range(
            "zenoh.max-message-bytes",
            self.max_message_bytes as u64,
            LEAST_MESSAGE_BYTES as u64,
            MAX_MESSAGE_BYTES as u64,
        )?;
        check_range(
            "zenoh.max-sessions",
            self.max_sessions as u64,
            1,
            MAX_SESSIONS as u64,
        )?;
        let Some(tls) = &self.tls else {
            return Ok(());
        };
        let needs = |key, needed| Err(ConfigError::Needs { key, needed });
        match (&tls.certificate, &tls.key) {
            (Some(_), None) => needs("zenoh.tls.certificate", "zenoh.tls.key"),
            (None, Some(_)) => needs("zenoh.tls.key", "zenoh.tls.certificate"),
            (None, None) if tls.is_mutual() => needs("zenoh.tls.mutual", "zenoh.tls.certificate"),
            _ if tls.is_mutual() && tls.ca.is_none() => needs("zenoh.tls.mutual", "zenoh.tls.ca"),
            _ => Ok(()),
        }
    }
}

/// Replaces a wildcard address of an endpoint with loopback.
fn to_loopback(endpoint: &str) -> String {
    endpoint
        .replacen("/0.0.0.0:", "/127.0.0.1:", 1)
        .replacen("/[::]:", "/[::1]:", 1)
}
