//! `[output]`, `[folders]` and `[network]`: what components may reach beyond the host's own interfaces.

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

/// `[folders."/PATH"]`, a folder that components may have under that path. It takes `wasi` in `allow`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FolderConfig {
    /// The folder. It must exist when a release that asks for it is loaded.
    pub path: PathBuf,
    /// Whether components may write there. What they write has no limit but the disk's: a file system of its own, or a quota, gives it
    /// one. Default: false.
    #[serde(default)]
    pub write: bool,
}

/// `[network]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NetworkConfig {
    /// What components may connect to, as `api.example.org:443`. It takes `wasi-sockets` or `wasi-http` in `allow`. Default: nothing.
    pub hosts: BTreeSet<HostPort>,
    /// A file with certificates (PEM) that components' HTTPS trusts besides those of the web: a site's own authority. Default: none.
    pub ca: Option<PathBuf>,
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self {
            topics: vec!["*".to_owned()],
        }
    }
}

/// What components may have where there is no configuration.
pub fn default_allowed() -> Allowed {
    Allowed {
        grants: default_allow(),
        ..Allowed::default()
    }
}

/// Takes relative paths from `folder`.
pub(super) fn resolve(config: &mut Config, folder: &Path) {
    let paths = config.folders.values_mut().map(|mapped| &mut mapped.path);
    for path in paths.chain(&mut config.network.ca) {
        *path = folder.join(&path);
    }
}

/// Refuses what cannot work.
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
    /// What components may have on this device.
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
            ca: self.network.ca.clone(),
        }
    }
}
