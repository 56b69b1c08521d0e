//! What a release and the device give one component of WASI: the same for all of its instances.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use hotshoe_trust::{Access, Allowed, Component, Grant, HostPort};
use tokio_rustls::rustls::ClientConfig;
use wasmtime_wasi::FsPerms;

use super::tls;
use crate::prepare_error::PrepareError;

/// What a component has of WASI.
#[derive(Default)]
pub(crate) struct WasiConfig {
    /// Any of it.
    pub(crate) granted: bool,
    pub(super) folders: Vec<Folder>,
    /// What it may connect to.
    pub(super) hosts: BTreeSet<HostPort>,
    pub(super) sockets: bool,
    /// How HTTPS knows servers; none without the grant.
    pub(super) https: Option<Arc<ClientConfig>>,
}

/// A folder of the device, as a component has it.
pub(super) struct Folder {
    /// Where it is on the device.
    pub(super) host_path: PathBuf,
    /// Where the component sees it.
    pub(super) guest_path: String,
    pub(super) permissions: FsPerms,
}

impl WasiConfig {
    /// What `name` has, if all of it is there. What the device allows was checked before.
    pub(crate) fn new(
        name: &str,
        spec: &Component,
        allowed: &Allowed,
    ) -> Result<Self, PrepareError> {
        let has = |grant| spec.grants.contains(&grant);
        let mut folders = Vec::new();
        for (guest_path, access) in &spec.folders {
            let Some(mapped) = allowed.folders.get(guest_path) else {
                continue;
            };
            let listed = std::fs::read_dir(&mapped.path);
            listed.map_err(|source| PrepareError::Folder {
                component: name.to_owned(),
                path: guest_path.clone(),
                folder: mapped.path.clone(),
                source,
            })?;
            folders.push(Folder {
                host_path: mapped.path.clone(),
                guest_path: guest_path.clone(),
                permissions: match access {
                    Access::Read => FsPerms::ReadOnly,
                    Access::Write => FsPerms::ReadWrite,
                },
            });
        }
        let https = has(Grant::WasiHttp)
            .then(|| tls::client(allowed.ca.as_deref()))
            .transpose()?;
        Ok(Self {
            granted: has(Grant::Wasi),
            folders,
            hosts: spec.hosts.clone(),
            sockets: has(Grant::WasiSockets),
            https,
        })
    }
}
