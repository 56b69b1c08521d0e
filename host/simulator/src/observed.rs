//! What can be seen of a simulation.

use hotshoe_rollout::{Command, DeviceId};
use hotshoe_store::{Cause, Phase};

use crate::device::SimulatedDevice;
use crate::figures::Figures;
use crate::world::World;

impl World {
    /// The reversal of the rollout.
    pub fn reversal(&self) -> Command {
        let plan = self.begun.plan();
        Command::Reverse {
            release: plan.release,
            previous: plan.previous,
            cause: Cause::new("ordered", "by an operator"),
        }
    }

    /// The time of the simulation, in milliseconds.
    pub const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What was counted.
    pub const fn figures(&self) -> Figures {
        self.figures
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = &SimulatedDevice> {
        self.sites.iter().flat_map(|site| &site.devices)
    }

    /// Devices that are on.
    pub fn reachable(&self) -> usize {
        let now_ms = self.now_ms;
        self.devices().filter(|it| !it.is_off(now_ms)).count()
    }

    /// One device that is on of each of the first sites, as a deployer chooses them for the first stage.
    pub(crate) fn first_on(&self, sites: usize) -> Vec<DeviceId> {
        let on = |it: &&SimulatedDevice| !it.is_off(self.now_ms);
        let first = self.sites.iter().filter_map(|site| {
            let device = site.devices.iter().find(on)?;
            Some(DeviceId::of(&device.identity))
        });
        first.take(sites).collect()
    }

    /// Devices that ever began.
    pub fn touched(&self) -> usize {
        self.devices().filter(|device| device.is_touched).count()
    }

    /// Devices with a wrong clock.
    pub fn wrong_clocks(&self) -> usize {
        let is_wrong = |device: &&SimulatedDevice| device.clock_ahead_s != 0;
        self.devices().filter(is_wrong).count()
    }

    /// Devices whose release is in this phase.
    pub fn in_phase(&self, phase: Phase) -> usize {
        let plan = self.begun.plan();
        self.devices()
            .filter(|device| device.progress(plan).0 == phase)
            .count()
    }

    /// When each device that went back had done so, in milliseconds of the simulation, in order.
    pub fn went_back_ms(&self) -> Vec<u64> {
        let mut times: Vec<u64> = self.devices().filter_map(|it| it.went_back_ms).collect();
        times.sort_unstable();
        times
    }
}
