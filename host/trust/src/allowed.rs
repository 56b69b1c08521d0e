//! What the device's operator lets components have.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use globset::Glob;

use crate::{
    capability_error::CapabilityError,
    component_limits::LimitBounds,
    access::{Access, HostPort},
    release::{Component, Grant},
};

/// What the device's operator lets any component have. A release that grants more is refused before anything of it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    /// Interfaces of the host. Default: none.
    pub grants: BTreeSet<Grant>,
    /// Globs of the topics under which policies may send messages. Default: `*`.
    pub topics: Vec<String>,
    /// The largest message that a policy may send, in bytes. Default: 8 MiB less 16 KiB.
    pub message_bytes: usize,
    /// Folders, by the paths under which components see them. Default: none.
    pub folders: BTreeMap<String, Folder>,
    /// What components may connect to. Default: nothing.
    pub hosts: BTreeSet<HostPort>,
    /// A file with certificates (PEM) that HTTPS trusts besides those of the web. Default: none.
    pub ca: Option<PathBuf>,
    /// The most that a component may use up. Default: whatever its release says.
    pub limits: LimitBounds,
}

/// A folder of the device that components may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    /// The most that a component may do there.
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
            ca: None,
            limits: LimitBounds::default(),
        }
    }
}

impl Allowed {
    /// Refuses a component that its release gives more than this.
    ///
    /// # Errors
    /// [`CapabilityError`] says what is missing in hotshoe.toml.
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

    /// Whether messages may go out under this topic. A pattern that is no glob allows nothing.
    pub fn topic(&self, topic: &str) -> bool {
        let fits =
            |glob: &String| Glob::new(glob).is_ok_and(|g| g.compile_matcher().is_match(topic));
        self.topics.iter().any(fits)
    }
}

/// A line of TOML with a list of texts.
pub(crate) fn list_line(key: &str, items: impl Iterator<Item = impl std::fmt::Display>) -> String {
    let items: Vec<String> = items.map(|item| format!("\"{item}\"")).collect();
    format!("{key} = [{}]", items.join(", "))
}
