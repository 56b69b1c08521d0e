//! The page of the site, where `[page]` is configured.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use hotshoe_delivery::registry::{Registry, RegistryConfig};
use hotshoe_link::device_list::DeviceList;
use hotshoe_page::{SiteBound, SiteRenewal, SiteServer, SiteSource};

/// How long open requests have to end.
const DEADLINE: Duration = Duration::from_secs(2);

/// A bound port, and the keys of the devices.
pub(super) struct BoundPage {
    bound: SiteBound,
    list: Option<DeviceList>,
}

impl BoundPage {
    /// Reads the keys, and binds the port. `None` without `[page]`.
    pub(super) fn bind(config: &RegistryConfig) -> anyhow::Result<Option<Self>> {
        let Some(page) = &config.page else {
            return Ok(None);
        };
        let list = list(config)?;
        let bound = SiteBound::bind(page).context("cannot serve the page")?;
        Ok(Some(Self { bound, list }))
    }

    /// Serves the devices that the registry's session sees.
    pub(super) fn serve(
        self,
        config: &RegistryConfig,
        registry: &Registry,
    ) -> anyhow::Result<SiteServer> {
        let rollouts = registry.rollouts();
        let source = SiteSource {
            site: registry.site_session().clone(),
            registry: config.name.clone(),
            list: self.list,
            rollouts: Box::new(move || serde_json::to_value(rollouts()).unwrap_or_default()),
            supervisor: registry.parts().clone(),
        };
        self.bound.serve(source).context("cannot serve the page")
    }
}

/// Reads what a new configuration changes.
pub(super) fn renew(
    server: Option<&SiteServer>,
    config: &RegistryConfig,
) -> anyhow::Result<Option<SiteRenewal>> {
    let Some((server, page)) = server.zip(config.page.as_ref()) else {
        return Ok(None);
    };
    let renewal = server.renew(page, list(config)?);
    Ok(Some(renewal.context("cannot serve the page")?))
}

/// Ends the page.
pub(super) fn end(server: SiteServer) {
    if !server.join(DEADLINE) {
        tracing::warn!("requests of the page were aborted");
    }
}

fn list(config: &RegistryConfig) -> anyhow::Result<Option<DeviceList>> {
    let keys: Option<&Path> = config.device_keys.as_deref();
    Ok(keys.map(DeviceList::load).transpose()?)
}
