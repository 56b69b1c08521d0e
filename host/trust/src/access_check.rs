//! Checks of the access that a component of a release states.

use crate::{
    access::{is_folder, is_topic},
    limits::ReleaseLimits,
    release::{Component, Grant, World},
    release_error::ReleaseError,
    rules::{require_grants, within},
};

/// Checks the folders, hosts, topics, shared values and secrets that a component of a release states.
pub(crate) fn check_access(name: &str, component: &Component) -> Result<(), ReleaseError> {
    let has = |grant| component.grants.contains(&grant);
    let reaches = has(Grant::WasiSockets) || has(Grant::WasiHttp);
    let needs = [
        (
            component.folders.is_empty() || has(Grant::Wasi),
            "folders",
            "`wasi`",
        ),
        (
            component.shared_data.is_empty() || has(Grant::Config),
            "shared-data",
            "`config`",
        ),
        (
            component.secrets.is_empty() || has(Grant::Config),
            "secrets",
            "`config`",
        ),
        (
            component.hosts.is_empty() || reaches,
            "hosts",
            "`wasi-sockets` or `wasi-http`",
        ),
        (
            !reaches || has(Grant::Wasi),
            "`wasi-sockets` or `wasi-http` in `grants`",
            "`wasi`",
        ),
    ];
    require_grants(name, needs)?;
    if !component.topics.is_empty() && component.world != World::Policy {
        return Err(ReleaseError::NoPolicy {
            component: name.to_owned(),
        });
    }
    for (what, count, most) in [
        ("folders", component.folders.len(), ReleaseLimits::FOLDERS),
        ("hosts", component.hosts.len(), ReleaseLimits::HOSTS),
        ("topics", component.topics.len(), ReleaseLimits::TOPICS),
        (
            "shared values",
            component.shared_data.len(),
            ReleaseLimits::SHARED_DATA,
        ),
        ("secrets", component.secrets.len(), ReleaseLimits::SECRETS),
    ] {
        let what = format!("the number of {what} of component `{name}`");
        within(&what, count as u64, 0, most)?;
    }
    if let Some(path) = component.folders.keys().find(|path| !is_folder(path)) {
        return Err(ReleaseError::Folder {
            component: name.to_owned(),
            path: path.chars().take(80).collect(),
        });
    }
    if let Some(topic) = component.topics.iter().find(|topic| !is_topic(topic)) {
        return Err(ReleaseError::Topic {
            component: name.to_owned(),
            topic: topic.chars().take(80).collect(),
        });
    }
    Ok(())
}
