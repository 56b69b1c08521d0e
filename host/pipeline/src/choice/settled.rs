//! After the choice: unloading the other backends, and fallback to the other backend if the chosen one fails.

use std::sync::Arc;

use hotshoe_infer::{BackendSwitch, Model, ReadModel, SwitchReason};
use hotshoe_trust::Blob;

use super::{BackendDecision, Backends};
use crate::{Pipeline, Reason};

/// A serving model whose backends disagree, without a self-test that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// Its name in the release.
    pub model: String,
    /// The name of the variant.
    pub variant: String,
    /// The output in which they differ, and how.
    pub difference: String,
}

impl Pipeline {
    /// Unloads the backends that were not chosen.
    pub fn settle(&self) {
        for (_, model) in self.models.values().flat_map(|named| named.variants()) {
            model.settle(model.backend());
        }
    }

    /// As [`Self::settle`], but if the chosen backend of a model fails, the other one is loaded from the bytes of `read`, and serves if
    /// it succeeds. This does not apply if its outputs are known to differ. A backend that is still to be measured stays loaded until
    /// [`Self::race_backends`] ends.
    pub fn settle_with_standbys(
        &self,
        read: impl Fn(&Blob) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) {
        let read = Arc::new(read);
        let reasons = self.reasons().clone();
        for (name, named) in &self.models {
            let spec = self.release.models.get(name);
            for (variant, model) in named.variants() {
                let known = reasons.get(&(name.clone(), variant.to_owned()));
                let mut variants = spec.iter().flat_map(|spec| &spec.variants);
                match variants.find(|it| it.name == variant) {
                    Some(spec) if known.is_none_or(|reason| reason.alike) => {
                        let (read, blob) = (Arc::clone(&read), spec.blob);
                        let read: ReadModel = Arc::new(move || read(&blob));
                        if self.is_racing(name, variant) {
                            model.begin_race(read);
                        } else {
                            model.settle_with_standby(model.backend(), read);
                        }
                    }
                    _ => model.settle(model.backend()),
                }
            }
        }
    }

    /// A model whose backends disagree, if there is one.
    pub fn undecided(&self) -> Option<Undecided> {
        let reasons = self.reasons();
        let mut all = reasons.iter().filter(|(_, reason)| reason.undecided);
        all.next().map(|((model, variant), reason)| Undecided {
            model: model.clone(),
            variant: variant.clone(),
            difference: reason.text.clone(),
        })
    }

    /// Whether a failed backend was replaced since the choice, or [`Self::race_backends`] has chosen one, and this is not remembered yet.
    pub fn has_switched(&self) -> bool {
        self.has_ended_races() || !self.switched().is_empty()
    }

    /// Remembers the replacements, so that the next start does not choose a failed backend, and what [`Self::race_backends`] has chosen.
    pub fn remember_switches(&self, backends: &mut Backends) {
        self.remember_races(backends);
        for (name, variant, model, switch) in self.switched() {
            let chosen = BackendDecision {
                // The other one has never been known to differ, and stood in.
                alike: switch.reason == SwitchReason::WorksAgain,
                ..BackendDecision::new(switch.to, switch_text(&switch))
            };
            backends.remember(model.served_digest(), self.threads(&name), &chosen);
            let reason = Reason {
                text: chosen.reason,
                alike: chosen.alike,
                undecided: false,
            };
            self.reasons().insert((name, variant), reason);
        }
    }

    fn switched(&self) -> Vec<(String, String, &Arc<Model>, BackendSwitch)> {
        let reasons = self.reasons();
        let mut found = Vec::new();
        for (name, named) in &self.models {
            for (variant, model) in named.variants() {
                let Some(switch) = model.switched() else {
                    continue;
                };
                // The plan that avoids a backend is made again at each start.
                if switch.reason == SwitchReason::Avoided {
                    continue;
                }
                let switch = self.texts.switch(name, switch);
                let which = (name.clone(), variant.to_owned());
                let known = reasons.get(&which);
                if known.is_none_or(|reason| reason.text != switch_text(&switch)) {
                    found.push((which.0, which.1, model, switch));
                }
            }
        }
        found
    }
}

/// Text of a switch for the status.
pub(crate) fn switch_text(switch: &BackendSwitch) -> String {
    match &switch.reason {
        SwitchReason::Failed(cause) => format!("{} failed: {cause}", switch.from),
        SwitchReason::Avoided => format!("{} is avoided for now", switch.from),
        SwitchReason::WorksAgain => format!("{} works again", switch.to),
    }
}
