//! `[output]`, `[folders]` and `[network]`: access of components beyond the host's own interfaces.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::Glob;
use hotshoe_trust::{Access, Allowed, Folder, HostPort, is_folder};
use serde::{Deserialize, Serialize};

use super::{Config, default_allow};
use crate::MESSAGE_OVERHEAD;
use crate::error::ConfigError;

/// `[output]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct OutputConfig {
    /// Globs of the topics under which policies may send messages of their own. Default: all, `["*"]`.
    pub topics: Vec<String>,
}

/// `[folders."/PATH"]`: a folder that components may get at that guest path. It requires `wasi` in `allow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FolderConfig {
    /// The folder. It must exist when a release that asks for it is loaded.
    pub path: PathBuf,
    /// Whether components may write there. The size is not limited: use a separate file system or a quota to limit it. Default: false.
    #[serde(default)]
    pub write: bool,
}

/// `[network]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NetworkConfig {
    /// Hosts that components may connect to, as `api.example.org:443`. It requires `wasi-sockets` or `wasi-http` in `allow`. Default: none.
    pub hosts: BTreeSet<HostPort>,
    /// A PEM file of certificates that components' HTTPS trusts in addition to the web's, such as those of a site's own authority. Default:
    /// none.
    pub ca: Option<PathBuf>,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            topics: vec!["*".to_owned()],
        }
    }
}

/// What components are allowed without a configuration.
pub fn default_allowed() -> Allowed {
    Allowed {
        grants: default_allow(),
        ..Allowed::default()
    }
}

/// Resolves relative paths against `folder`.
pub(super) fn resolve(config: &mut Config, folder: &Path) {
    let paths = config.folders.values_mut().map(|mapped| &mut mapped.path);
    for path in paths.chain(&mut config.network.ca) {
        *path = folder.join(&path);
    }
}

/// Refuses values that are not valid.
pub(super) fn check(config: &Config) -> Result<(), ConfigError> {
    for glob in &config.output.topics {
        Glob::new(glob).map_err(|error| ConfigError::Glob {
            key: "output.topics",
            glob: glob.clone(),
            reason: error.kind().to_string(),
        })?;
    }
    let bad = config.folders.keys().find(|path| !is_folder(path));
    bad.map_or(Ok(()), |path| {
        Err(ConfigError::FolderPath { path: path.clone() })
    })
}

impl Config {
    /// What components are allowed on this device.
    pub fn allowed(&self) -> Allowed {
        let folder = |(path, folder): (&String, &FolderConfig)| {
            let access = if folder.write {
                Access::Write
            } else {
                Access::Read
            };
            let path_here = folder.path.clone();
            (
                path.clone(),
                Folder {
                    path: path_here,
                    access,
                },
            )
        };
        Allowed {
            grants: self.allow.clone(),
            limits: self.limits.clone(),
            topics: self.output.topics.clone(),
            message_bytes: self
                .zenoh
                .max_message_bytes
                .saturating_sub(MESSAGE_OVERHEAD),
            folders: self.folders.iter().map(folder).collect(),
            hosts: self.network.hosts.clone(),
            secrets: self.secrets.allow.clone(),
            ca: self.network.ca.clone(),
            privacy: self.privacy.clone(),
            data: self.data_contract.clone(),
        }
    }
}
