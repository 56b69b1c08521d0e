//! Errors about capabilities: imports of a component that its release does not grant, or grants that the device does not allow.

use crate::{
    access::{Access, HostPort},
    contract::{PIPELINE, WASI_NN},
    release::Grant,
};

/// Why a component does not get a capability. Each message has the line to add.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// It imports an interface whose capability the release does not grant.
    #[error(
        "component `{component}` imports `{import}`, which the release does not grant; it needs `{grant}`: write in release.toml under [components.{component}]\n\n{line}\n\n{}",
        without(*whole_world)
    )]
    NotGranted {
        /// Its name in the release.
        component: String,
        /// The interface.
        import: String,
        /// The capability that would allow it.
        grant: Grant,
        /// The line of `release.toml` with all that its imports need.
        line: String,
        /// Whether it imports every interface of its world, as some tools do, whatever it calls.
        whole_world: bool,
    },
    /// It imports an interface that this host does not serve.
    #[error(
        "component `{component}` imports `{import}`, which this host does not serve: it serves {PIPELINE}, {WASI_NN} and wasi 0.2"
    )]
    UnknownImport {
        /// Its name in the release.
        component: String,
        /// The interface.
        import: String,
    },
    /// The operator does not allow a capability that the release grants.
    #[error(
        "the release grants component `{component}` `{grant}`, but this device does not allow it; if you trust the signer with it, write in hotshoe.toml\n\n{line}\n"
    )]
    NotAllowed {
        /// Its name in the release.
        component: String,
        /// The capability.
        grant: Grant,
        /// The line of `hotshoe.toml`.
        line: String,
    },
    /// The operator does not allow a topic that the release states.
    #[error(
        "component `{component}` sends messages under the topic `{topic}`, which this device does not allow; write in hotshoe.toml\n\n[output]\n{line}\n"
    )]
    TopicNotAllowed {
        /// Its name in the release.
        component: String,
        /// The topic.
        topic: String,
        /// The line of `hotshoe.toml`.
        line: String,
    },
    /// The operator does not allow a host that the release lists.
    #[error(
        "component `{component}` wants to connect to `{host}`, which this device does not allow; if you trust the signer with it, write in hotshoe.toml\n\n[network]\n{line}\n"
    )]
    HostNotAllowed {
        /// Its name in the release.
        component: String,
        /// The host with its port.
        host: HostPort,
        /// The line of `hotshoe.toml`.
        line: String,
    },
    /// The operator does not allow a secret that the release lists.
    #[error(
        "component `{component}` wants to read the secret `{secret}`, which this device does not allow; if you trust the signer with it, write in hotshoe.toml\n\n[secrets]\n{line}\n"
    )]
    SecretNotAllowed {
        /// Its name in the release.
        component: String,
        /// The secret's name.
        secret: String,
        /// The line of `hotshoe.toml`.
        line: String,
    },
    /// The release gives the component more than the operator does.
    #[error(
        "the release gives component `{component}` the limit {limit} = {asked}, and this device allows at most {most}; lower it in release.toml, or write in hotshoe.toml\n\n[limits]\n{limit} = {asked}\n"
    )]
    LimitTooHigh {
        /// Its name in the release.
        component: String,
        /// The limit's key.
        limit: &'static str,
        /// What the release says.
        asked: u32,
        /// What the device says.
        most: u32,
    },
    /// The operator gives no folder for a path that the release lists.
    #[error(
        "component `{component}` wants the folder `{path}`, which this device does not provide; write in hotshoe.toml\n\n[folders.\"{path}\"]\npath = \"...\"{}\n",
        write_line(*access)
    )]
    FolderNotMapped {
        /// Its name in the release.
        component: String,
        /// The guest path.
        path: String,
        /// What it wants to do there.
        access: Access,
    },
    /// The operator lets components read a folder that the release wants to be written.
    #[error(
        "component `{component}` wants to write to the folder `{path}`, which is read-only on this device; if you trust the signer with it, write in hotshoe.toml under [folders.\"{path}\"]\n\nwrite = true\n"
    )]
    FolderReadOnly {
        /// Its name in the release.
        component: String,
        /// The guest path.
        path: String,
    },
}

impl CapabilityError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotGranted { .. } => "not_granted",
            Self::UnknownImport { .. } => "unknown_import",
            Self::NotAllowed { .. } => "not_allowed",
            Self::TopicNotAllowed { .. } => "topic_not_allowed",
            Self::HostNotAllowed { .. } => "host_not_allowed",
            Self::SecretNotAllowed { .. } => "secret_not_allowed",
            Self::LimitTooHigh { .. } => "limit_too_high",
            Self::FolderNotMapped { .. } => "folder_not_mapped",
            Self::FolderReadOnly { .. } => "folder_read_only",
        }
    }
}

impl CapabilityError {
    /// Whether this is the stable name of one of these errors.
    pub fn is_name(name: &str) -> bool {
        matches!(
            name,
            "not_granted"
                | "unknown_import"
                | "not_allowed"
                | "topic_not_allowed"
                | "host_not_allowed"
                | "secret_not_allowed"
                | "limit_too_high"
                | "folder_not_mapped"
                | "folder_read_only"
        )
    }
}

/// How to build a component without what its release does not grant.
const fn without(whole_world: bool) -> &'static str {
    if whole_world {
        "or build it without. Its tool imports all of its world, even what it does not call, as componentize-py, jco and componentize-js do: build it for a world of your own with only the interfaces that it calls (sdk/foreign.md)"
    } else {
        "or build it without"
    }
}

/// The line of hotshoe.toml that lets a folder be written.
const fn write_line(access: Access) -> &'static str {
    match access {
        Access::Read => "",
        Access::Write => "\nwrite = true",
    }
}
