//! What `[drift]` of a release may say.

use std::collections::BTreeMap;

use crate::{
    drift::{Drift, DriftAction},
    limits::ReleaseLimits,
    mode::Mode,
    release_error::ReleaseError,
    rules::within,
};

impl Drift {
    /// Refuses a baseline of another size, numbers that are out of range, and modes that are not there.
    pub(crate) fn check(&self, modes: &BTreeMap<String, Mode>) -> Result<(), ReleaseError> {
        let size = self.baseline.size;
        let what = "size of `baseline` of [drift]";
        within(what, size, 1, ReleaseLimits::BASELINE_BYTES)?;
        let whole = |it: u32| f64::from(it);
        let window = whole(ReleaseLimits::DRIFT_WINDOW);
        let week = whole(ReleaseLimits::DRIFT_WINDOW_SECONDS);
        for (key, value, least, most) in [
            ("every", whole(self.every), 1.0, whole(ReleaseLimits::EVERY)),
            ("at-least", whole(self.at_least), 20.0, window),
            ("window", whole(self.window), whole(self.at_least), window),
            ("window-seconds", whole(self.window_seconds), 1.0, week),
            ("windows", whole(self.windows), 1.0, 100.0),
            ("psi", self.psi, 0.0, 100.0),
            ("ks", self.ks, 0.0, 1.0),
            ("embedding", self.embedding, 0.0, 1_000.0),
            ("change", self.change, 1.0, 1_000.0),
            ("p-value", self.p_value, 1e-12, 0.1),
        ] {
            if !(least..=most).contains(&value) {
                return Err(ReleaseError::Range {
                    what: format!("`{key}` of [drift]"),
                    value,
                    least,
                    most,
                });
            }
        }
        let named = self.mode.as_deref();
        let problem = match (self.action, named) {
            (DriftAction::Mode, None) => {
                Some("`action = \"mode\"` needs the name of a `mode`".to_owned())
            }
            (DriftAction::Mode, Some(mode)) if !modes.contains_key(mode) => Some(format!(
                "the release has no mode `{mode}`; write one of [modes]"
            )),
            (DriftAction::Alert | DriftAction::Previous, Some(_)) => {
                Some("`mode` is only valid with `action = \"mode\"`; remove it".to_owned())
            }
            _ => None,
        };
        problem.map_or(Ok(()), |problem| Err(ReleaseError::Drift { problem }))
    }
}
