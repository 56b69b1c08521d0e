//! The WASI configuration of one component, shared by all of its instances.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use hotshoe_trust::{Access, Allowed, Component, Grant, HostPort};
use tokio_rustls::rustls::ClientConfig;
use wasmtime_wasi::FsPerms;

use super::tls;
use crate::prepare_error::PrepareError;

/// The WASI configuration of a component.
#[derive(Default)]
pub(crate) struct WasiConfig {
    /// Whether it has the grant `wasi`.
    pub(crate) granted: bool,
    pub(super) folders: Vec<Folder>,
    /// Hosts that it may connect to.
    pub(super) hosts: BTreeSet<HostPort>,
    pub(super) sockets: bool,
    /// TLS configuration of HTTPS; `None` without the grant.
    pub(super) https: Option<Arc<ClientConfig>>,
}

/// A folder of the device that a component gets.
pub(super) struct Folder {
    pub(super) host_path: PathBuf,
    pub(super) guest_path: String,
    pub(super) permissions: FsPerms,
}

impl WasiConfig {
    /// The configuration of the component `name`. The caller has checked that the device allows it.
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
