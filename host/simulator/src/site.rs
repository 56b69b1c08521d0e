//! A simulated site: its registry and its devices.

use std::collections::BTreeMap;

use hotshoe_rollout::{Control, DeviceId, Reporting, Rollout, SiteDevices, place};
use hotshoe_store::Ledger;
use hotshoe_trust::Device;

use crate::device::SimulatedDevice;
use crate::random::Random;
use crate::settings::Settings;

/// The name of the registry of each site.
pub(crate) const REGISTRY: &str = "registry";
/// Number of hardware classes.
const CLASSES: usize = 5;
/// When sites go dark, and when they are back, in milliseconds.
const DARK_MS: (u64, u64) = (600_000, 4_200_000);

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
    /// A site whose registry knows the rollout as it begins, and whose devices have this ledger.
    pub(crate) fn new(
        number: usize,
        (begun, ledger): (&Rollout, &Ledger),
        settings: &Settings,
        random: &mut Random,
    ) -> Self {
        let (name, faults) = (format!("site-{number}"), &settings.faults);
        let mut devices = Vec::new();
        for i in (number..settings.devices).step_by(settings.sites) {
            let identity = Device {
                name: format!("cam-{i}"),
                site: name.clone(),
                labels: BTreeMap::new(),
            };
            let Some(placement) = place(begun.plan(), &identity) else {
                continue;
            };
            let is_first = begun.plan().first.contains(&DeviceId::of(&identity));
            let is_off = !is_first && random.happens(faults.off_permille);
            let has_wrong_clock = !is_first && random.happens(faults.wrong_clock_permille);
            devices.push(SimulatedDevice {
                class: format!("class-{}", i % CLASSES),
                placement,
                ledger: ledger.clone(),
                working: None,
                refused: false,
                off_ms: is_off.then_some((0, u64::MAX)),
                clock_ahead_s: if has_wrong_clock {
                    faults.clock_ahead_s
                } else {
                    0
                },
                is_bad: !is_first && random.happens(faults.bad_permille),
                is_touched: false,
                went_back_ms: None,
                control: Control::default(),
                reporting: Reporting::since(1),
                step_ends_ms: None,
                wakes_ms: 0,
                cuts: 0,
                trust_version: 1,
                identity,
            });
        }
        let is_dark = random.happens(faults.dark_permille);
        Self {
            name,
            rollout: begun.clone(),
            counted: SiteDevices::since(0),
            devices,
            dark_ms: is_dark.then_some(DARK_MS),
        }
    }

    /// When a message between the site and a controller may pass, from `now_ms` on.
    pub(crate) fn reachable_ms(&self, now_ms: u64) -> u64 {
        match self.dark_ms {
            Some((begins, ends)) if (begins..ends).contains(&now_ms) => ends,
            _ => now_ms,
        }
    }
}
