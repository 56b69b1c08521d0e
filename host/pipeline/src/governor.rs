use hotshoe_engine::{DeviceState, Failure, Instance, Plan};
use hotshoe_trust::World;

use super::Pipeline;
use super::texts::Texts;

/// The governor of a release, with an instance of its own, which is replaced after a failure that leaves it in an unknown state.
pub struct Governor {
    instance: Instance,
    texts: Texts,
}

impl Governor {
    /// The component's name in the release.
    pub fn name(&self) -> &str {
        self.instance.name()
    }

    /// The plan for this state, within the deadline of the component. Its reasons, and the message of a failure, go to status, events, log
    /// and answers: those that may not leave the device are replaced.
    ///
    /// # Errors
    /// As [`Instance::govern`]. The next call has a new instance where it needs one.
    pub fn govern(&mut self, state: &DeviceState) -> Result<Plan, Failure> {
        let made = self.instance.govern(state);
        let name = self.instance.name();
        made.map(|plan| self.texts.plan(name, plan))
            .map_err(|failure| self.texts.failure(name, failure))
    }
}

impl Pipeline {
    /// Its governor, if the release has one. Each call returns another instance.
    pub fn governor(&self) -> Option<Governor> {
        let mut components = self.release.components.iter();
        let (name, _) = components.find(|(_, spec)| spec.world == World::Governor)?;
        let component = self.components.get(name)?;
        Some(Governor {
            instance: Instance::new(component.clone()),
            texts: self.texts.clone(),
        })
    }
}
