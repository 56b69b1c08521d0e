//! A simulated site: its registry and its devices.

use hotshoe_rollout::{Rollout, SiteDevices};

use crate::device::SimulatedDevice;

/// The name of the registry of each site.
pub(crate) const REGISTRY: &str = "registry";

#[derive(Debug)]
pub(crate) struct SimulatedSite {
    pub name: String,
    pub rollout: Rollout,
    pub counted: SiteDevices,
    pub devices: Vec<SimulatedDevice>,
    /// The time in which it is cut off from the controllers, in milliseconds.
    pub dark_ms: Option<(u64, u64)>,
}

impl SimulatedSite {
    /// When a message between the site and a controller may pass, from `now_ms` on.
    pub(crate) fn reachable_ms(&self, now_ms: u64) -> u64 {
        match self.dark_ms {
            Some((begins, ends)) if (begins..ends).contains(&now_ms) => ends,
            _ => now_ms,
        }
    }
}
