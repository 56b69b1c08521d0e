//! What the operator of a device allows components.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use globset::Glob;

use crate::{
    access::{Access, HostPort},
    capability_error::CapabilityError,
    component_limits::LimitBounds,
    data_bounds::DataBounds,
    privacy::Privacy,
    release::{Component, Grant},
};

/// What the operator of a device allows any component. A release that grants more is refused before any of it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowed {
    /// Interfaces of the host. Default: none.
    pub grants: BTreeSet<Grant>,
    /// Globs of the topics under which policies may send messages. Default: `*`.
    pub topics: Vec<String>,
    /// The largest message that a policy may send, in bytes. Default: 8 MiB less 16 KiB.
    pub message_bytes: usize,
    /// Folders by their guest paths. Default: none.
    pub folders: BTreeMap<String, Folder>,
    /// Hosts that components may connect to. Default: none.
    pub hosts: BTreeSet<HostPort>,
    /// The names of secrets that components may read. Default: none.
    pub secrets: BTreeSet<String>,
    /// A PEM file of certificates that HTTPS trusts in addition to the web's. Default: none.
    pub ca: Option<PathBuf>,
    /// Upper bounds of the limits of a component. Default: those of its release.
    pub limits: LimitBounds,
    /// What is burned into the pixels of samples, besides what their release says. Default: nothing.
    pub privacy: Privacy,
    /// Bounds of the data contract of a release. Default: none.
    pub data: DataBounds,
}

/// A folder of the device that components may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// The path on the device.
    pub path: PathBuf,
    /// The most access that a component gets.
    pub access: Access,
}

impl Default for Allowed {
    fn default() -> Self {
        Self {
            grants: BTreeSet::new(),
            topics: vec!["*".to_owned()],
            message_bytes: (8 << 20) - (16 << 10),
            folders: BTreeMap::new(),
            hosts: BTreeSet::new(),
            secrets: BTreeSet::new(),
            ca: None,
            limits: LimitBounds::default(),
            privacy: Privacy::default(),
            data: DataBounds::default(),
        }
    }
}

impl Allowed {
    /// Refuses a component whose release grants more than this.
    ///
    /// # Errors
    /// [`CapabilityError`] has the line that is missing in hotshoe.toml.
    pub fn check(&self, name: &str, spec: &Component) -> Result<(), CapabilityError> {
        let component = || name.to_owned();
        if let Some(grant) = spec.grants.difference(&self.grants).next() {
            return Err(CapabilityError::NotAllowed {
                component: component(),
                grant: *grant,
                line: list_line("allow", self.grants.union(&spec.grants)),
            });
        }
        if let Some(topic) = spec.topics.iter().find(|topic| !self.topic(topic)) {
            return Err(CapabilityError::TopicNotAllowed {
                component: component(),
                topic: topic.clone(),
                line: list_line("topics", self.topics.iter().chain([topic])),
            });
        }
        if let Some(host) = spec.hosts.difference(&self.hosts).next() {
            return Err(CapabilityError::HostNotAllowed {
                component: component(),
                host: host.clone(),
                line: list_line("hosts", self.hosts.union(&spec.hosts)),
            });
        }
        if let Some(secret) = spec.secrets.difference(&self.secrets).next() {
            return Err(CapabilityError::SecretNotAllowed {
                component: component(),
                secret: secret.clone(),
                line: list_line("allow", self.secrets.union(&spec.secrets)),
            });
        }
        if let Some((limit, asked, most)) = self.limits.exceeded(&spec.limits) {
            return Err(CapabilityError::LimitTooHigh {
                component: component(),
                limit,
                asked,
                most,
            });
        }
        for (path, access) in &spec.folders {
            let Some(folder) = self.folders.get(path) else {
                return Err(CapabilityError::FolderNotMapped {
                    component: component(),
                    path: path.clone(),
                    access: *access,
                });
            };
            if *access > folder.access {
                return Err(CapabilityError::FolderReadOnly {
                    component: component(),
                    path: path.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether policies may send messages under this topic. An invalid pattern allows nothing.
    pub fn topic(&self, topic: &str) -> bool {
        let fits =
            |glob: &String| Glob::new(glob).is_ok_and(|g| g.compile_matcher().is_match(topic));
        self.topics.iter().any(fits)
    }
}

/// A line of TOML: `key = ["item", ...]`.
pub(crate) fn list_line(key: &str, items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let items: Vec<String> = items.map(|item| format!("\"{item}\"")).collect();
    format!("{key} = [{}]", items.join(", "))
}
