//! `[zenoh]`: how a device, a registry or a publisher reaches others, and how they know each other.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MAX_MESSAGE_BYTES, check_range};
use crate::error::ConfigError;

/// The least that `max-message-bytes` may be: the config of a release fits in, in bytes.
pub const LEAST_MESSAGE_BYTES: usize = 1 << 20;

/// Most sessions that may be configured.
pub const MAX_SESSIONS: usize = 1 << 14;
/// What a message holds besides its payload (key, media type, id), at most, in bytes.
pub const MESSAGE_OVERHEAD: usize = 16 << 10;
/// Of so many sessions, one more may be about to open.
pub(crate) const PENDING_SHARE: usize = 10;

/// However few sessions there may be, so many more may be about to open.
pub(crate) const LEAST_PENDING: usize = 2;

/// `[zenoh]`. A peer keeps trying to reach `connect` in the background, so that a device without a network starts and serves all
/// the same. Multicast scouting, gossip and autoconnect are off unless `scouting` is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ZenohConfig {
    /// What the session is to others. Default: `peer`.
    pub mode: ZenohMode,
    /// Endpoints to connect to, such as `tcp/192.0.2.1:7447` or `tls/site.example:7447`. Default: none.
    pub connect: Vec<String>,
    /// Endpoints to listen on, such as `tcp/127.0.0.1:7447`; port 0 takes a free one. Default: none.
    pub listen: Vec<String>,
    /// A prefix of all keys, which keeps deployments on one network apart. Default: none.
    pub namespace: Option<String>,
    /// Finds other peers by multicast and gossip, and connects to them. Default: false.
    pub scouting: bool,
    /// The largest message that is received, in bytes. Zenoh ignores a larger one without a word, so whoever sends samples
    /// must know it. `intake.max-sample-bytes` lies below it. Default: 8 MiB (Zenoh's own is 1 GiB).
    pub max_message_bytes: usize,
    /// Sessions with others at once, those that others open and those that this end opens; a further one is refused. Default: 1000
    /// (Zenoh's own).
    pub max_sessions: usize,
    /// The certificates for `tls/` endpoints. Default: none.
    pub tls: Option<TlsConfig>,
    /// A file with Zenoh's `access_control` settings, as `hotshoe zenoh-acl` writes them. It matters where messages arrive: at a
    /// router, a registry, a device that listens. Default: none.
    pub access_control: Option<PathBuf>,
    /// Lets anybody in who reaches an endpoint: allows endpoints beyond this machine without TLS, listeners that ask for no
    /// certificate, and scouting among strangers. Default: false.
    pub insecure: bool,
}

/// What a Zenoh session is to others. A router passes messages on between clients, and between clients and peers, but not from peer
/// to peer: those are to be connected directly. So devices are peers, which start without a network, and what deployers run behind
/// a router is a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ZenohMode {
    /// It talks to those that it connects to or that connect to it, and starts without any of them.
    #[default]
    Peer,
    /// It talks to the whole network through one router or peer, and does not start without it.
    Client,
    /// It passes messages on between all that connect to it.
    Router,
}

/// `[zenoh.tls]`: PEM files, relative to the folder of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TlsConfig {
    /// The certificate authority of this site. Without one, those of the web are trusted. Default: none.
    pub ca: Option<PathBuf>,
    /// This end's own certificate: a listener needs one, and mutual TLS does. Default: none.
    pub certificate: Option<PathBuf>,
    /// Its private key. Default: none.
    pub key: Option<PathBuf>,
    /// Whoever connects must show a certificate of `ca`, and this end shows its own. Default: whether there is a certificate.
    pub mutual: Option<bool>,
    /// Whether the name in a listener's certificate must be the one that was connected to. Default: true.
    pub verify_name: bool,
}

impl ZenohMode {
    /// Zenoh's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Client => "client",
            Self::Router => "router",
        }
    }
}

impl TlsConfig {
    /// Whether both ends show certificates.
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
    /// How another program on the same machine reaches the daemon that has this configuration: it connects to
    /// where the daemon listens, or else to where the daemon connects, and listens nowhere.
    pub fn client(&self) -> Self {
        let connect = if self.listen.is_empty() {
            self.connect.clone()
        } else {
            // Those that the daemon connects to may be away.
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

    /// Connections that have not become sessions yet; a further one is closed, and each has ten seconds.
    pub fn accept_pending(&self) -> usize {
        (self.max_sessions / PENDING_SHARE).max(LEAST_PENDING)
    }

    /// Takes relative paths from `folder`.
    pub fn resolve(&mut self, folder: &Path) {
        let tls = self
            .tls
            .iter_mut()
            .flat_map(|tls| [&mut tls.ca, &mut tls.certificate, &mut tls.key]);
        for path in tls.chain([&mut self.access_control]).flatten() {
            *path = folder.join(&path);
        }
    }

    /// Refuses what cannot work.
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

/// An endpoint that listens on every address is reached by loopback.
fn to_loopback(endpoint: &str) -> String {
    endpoint
        .replacen("/0.0.0.0:", "/127.0.0.1:", 1)
        .replacen("/[::]:", "/[::1]:", 1)
}
