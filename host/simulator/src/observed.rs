//! What can be seen of a simulation.

use hotshoe_rollout::Command;
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

    fn devices(&self) -> impl Iterator<Item = &SimulatedDevice> {
        self.sites.iter().flat_map(|site| &site.devices)
    }

    /// Devices that are on.
    pub fn reachable(&self) -> usize {
        self.devices().filter(|device| !device.is_off).count()
    }

    /// Devices that ever began.
    pub fn touched(&self) -> usize {
        self.devices().filter(|device| device.is_touched).count()
    }

    /// Devices whose release is in this phase.
    pub fn in_phase(&self, phase: Phase) -> usize {
        self.devices()
            .filter(|device| device.phase == phase)
            .count()
    }

    /// When each device that went back had done so, in milliseconds of the simulation, in order.
    pub fn went_back_ms(&self) -> Vec<u64> {
        let mut times: Vec<u64> = self.devices().filter_map(|it| it.went_back_ms).collect();
        times.sort_unstable();
        times
    }
}
