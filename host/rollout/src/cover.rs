//! The choice of the devices of stage 0: each hardware class and each site has one before any gets its second without need.

use std::collections::BTreeMap;

use crate::{
    plan::{DeviceId, MAX_FIRST},
    share::scaled,
};

/// A device that can be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The device.
    pub device: DeviceId,
    /// Its hardware class.
    pub class: String,
}

/// At most `most` of the candidates, for stage 0: while a class or a site has no device yet, the next covers one.
pub fn first_devices(candidates: &[Candidate], most: usize, seed: u64) -> Vec<DeviceId> {
    let mut groups: BTreeMap<(&str, &str), Vec<(u64, &DeviceId)>> = BTreeMap::new();
    for Candidate { device, class } in candidates {
        let drawn = scaled(seed, b"first", device, u64::MAX);
        let group = groups
            .entry((class.as_str(), device.site.as_str()))
            .or_default();
        group.push((drawn, device));
    }
    for group in groups.values_mut() {
        // The last is taken first.
        group.sort_by(|one, other| other.cmp(one));
    }
    let mut classes: BTreeMap<&str, u32> = BTreeMap::new();
    let mut sites: BTreeMap<&str, u32> = BTreeMap::new();
    let mut chosen = Vec::new();
    while chosen.len() < most.min(MAX_FIRST) {
        let count = |map: &BTreeMap<&str, u32>, key: &str| map.get(key).copied().unwrap_or(0);
        let next = groups
            .iter()
            .filter_map(|(group, devices)| Some((group, devices.last()?)))
            .min_by_key(|((class, site), (drawn, _))| {
                let (class, site) = (count(&classes, class), count(&sites, site));
                (class.min(site), class.max(site), *drawn)
            })
            .map(|(group, _)| *group);
        let Some((class, site)) = next else { break };
        let taken = groups.get_mut(&(class, site)).and_then(Vec::pop);
        chosen.extend(taken.map(|(_, device)| device.clone()));
        *classes.entry(class).or_default() += 1;
        *sites.entry(site).or_default() += 1;
    }
    chosen
}
