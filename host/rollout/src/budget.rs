//! Starts that are spread so far that downloads keep a budget.

use std::collections::BTreeMap;

use hotshoe_trust::Device;

use crate::{plan::Plan, share::place};

/// Most bytes per second that the devices of a rollout fetch together, on average over the starts of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Of all sites. `None`: no limit.
    pub fleet: Option<u64>,
    /// Of each site. `None`: no limit.
    pub site: Option<u64>,
}

/// The least `spread-s` of `plan` at which these devices keep the budget, each with a release of so many bytes.
pub fn least_spread_s<'d>(
    plan: &Plan,
    devices: impl IntoIterator<Item = &'d Device>,
    bytes: u64,
    budget: Budget,
) -> u64 {
    let mut fleet: BTreeMap<u32, u64> = BTreeMap::new();
    let mut sites: BTreeMap<(u32, &str), u64> = BTreeMap::new();
    for device in devices {
        let placement = place(plan, device);
        let Some(stage) = placement.and_then(|placement| placement.takes_at(plan)) else {
            continue;
        };
        *fleet.entry(stage).or_default() += 1;
        *sites.entry((stage, device.site.as_str())).or_default() += 1;
    }
    let seconds = |most: Option<u64>, per_second: Option<u64>| {
        let per_second = per_second?.max(1);
        Some(bytes.saturating_mul(most?).div_ceil(per_second))
    };
    let of_fleet = seconds(fleet.into_values().max(), budget.fleet);
    let of_site = seconds(sites.into_values().max(), budget.site);
    of_fleet.max(of_site).unwrap_or(0)
}
