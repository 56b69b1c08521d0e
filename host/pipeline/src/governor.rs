use hotshoe_engine::{DeviceState, Failure, Instance, Plan};
use hotshoe_trust::World;

use super::Pipeline;

/// The governor of a release, with an instance of its own, which is replaced after a failure that leaves it in an unknown state.
pub struct Governor(Instance);

impl Governor {
    /// The component's name in the release.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The plan for this state, within the deadline of the component.
    ///
    /// # Errors
    /// As [`Instance::govern`]. The next call has a new instance where it needs one.
    pub fn govern(&mut self, state: &DeviceState) -> Result<Plan, Failure> {
        self.0.govern(state)
    }
}

impl Pipeline {
    /// Its governor, if the release has one. Each call returns another instance.
    pub fn governor(&self) -> Option<Governor> {
        let mut components = self.release.components.iter();
        let (name, _) = components.find(|(_, spec)| spec.world == World::Governor)?;
        let component = self.components.get(name)?;
        Some(Governor(Instance::new(component.clone())))
    }
}
