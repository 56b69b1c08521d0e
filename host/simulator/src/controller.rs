//! A simulated controller: all that it knows, and the step of `rollout`.

use hotshoe_rollout::{Action, Fleet, Rollout, step};
use hotshoe_trust::Time;

#[derive(Debug)]
pub(crate) struct SimulatedController {
    pub rollout: Rollout,
    pub fleet: Fleet,
}

impl SimulatedController {
    /// What it does at `now`.
    pub(crate) fn step(&self, now: Time) -> Action {
        step(
            self.rollout.plan(),
            self.rollout.control(),
            &self.fleet,
            now,
        )
    }
}
