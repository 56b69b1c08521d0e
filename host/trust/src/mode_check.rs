//! The checks of the modes of a release.

use std::collections::BTreeMap;

use crate::{
    limits::ReleaseLimits,
    mode::Mode,
    release::{Release, StageFailure, Step},
    release_error::ReleaseError,
    rules::{check_name, within},
};

impl Release {
    /// The name of the full mode; none where the release has no modes.
    pub fn full_mode(&self) -> Option<&str> {
        let full = self.modes.iter().find(|(_, mode)| mode.level == 0);
        full.map(|(name, _)| name.as_str())
    }

    /// Checks the modes: names, levels, rates, and that what they name exists.
    pub(crate) fn check_modes(&self) -> Result<(), ReleaseError> {
        if self.modes.is_empty() {
            return Ok(());
        }
        let count = self.modes.len() as u64;
        within("the number of modes", count, 1, ReleaseLimits::MODES)?;
        let mut levels = BTreeMap::new();
        for (name, mode) in &self.modes {
            check_name("mode", name)?;
            if let Some(other) = levels.insert(mode.level, name) {
                let level = mode.level;
                return refuse(
                    name,
                    format!("`{other}` has level {level}, too; give each mode a level of its own"),
                );
            }
            self.check_mode(name, mode)?;
        }
        match levels.first_key_value() {
            Some((0, _)) => Ok(()),
            _ => Err(ReleaseError::NoFullMode),
        }
    }

    fn check_mode(&self, name: &str, mode: &Mode) -> Result<(), ReleaseError> {
        let takes_away =
            !mode.rate.is_full() || !mode.variants.is_empty() || !mode.rests.is_empty();
        if mode.level == 0 && takes_away {
            return refuse(
                name,
                "level 0 is the full mode, which has no `rate`, `variants` or `rests`; give it another level",
            );
        }
        if let Some((key, value, least, most)) = mode.rate.out_of_range() {
            return Err(ReleaseError::Range {
                what: format!("`rate.{key}` of mode `{name}`"),
                value,
                least,
                most,
            });
        }
        for (model, variant) in &mode.variants {
            let Some(found) = self.models.get(model) else {
                return Err(ReleaseError::Missing {
                    user: format!("mode `{name}`"),
                    what: "model",
                    name: model.clone(),
                });
            };
            let known: Vec<&str> = found.variants.iter().map(|it| it.name.as_str()).collect();
            if !known.contains(&variant.as_str()) {
                let known = known.join(", ");
                return refuse(
                    name,
                    format!("model `{model}` has no variant `{variant}`; it has {known}"),
                );
            }
        }
        let mut resting = mode.rests.components.iter();
        resting.try_for_each(|component| self.check_rests(name, component))
    }

    /// A release already says of a step that fails open that samples go on without it.
    fn check_rests(&self, mode: &str, resting: &String) -> Result<(), ReleaseError> {
        if !self.components.contains_key(resting) {
            return Err(ReleaseError::Missing {
                user: format!("mode `{mode}`"),
                what: "component",
                name: resting.clone(),
            });
        }
        let mut steps = self.pipeline.iter().filter(|step| match step {
            Step::Infer { .. } => false,
            Step::Filter { component }
            | Step::Preprocess { component }
            | Step::Postprocess { component }
            | Step::Stage { component }
            | Step::Policy { component, .. } => component == resting,
        });
        let is_open = |step: &Step| {
            matches!(
                step,
                Step::Policy {
                    on_failure: StageFailure::FailOpen,
                    ..
                }
            )
        };
        let first = steps.next();
        if first.is_some_and(is_open) && steps.all(is_open) {
            return Ok(());
        }
        refuse(
            mode,
            format!(
                "component `{resting}` may not rest: only a policy whose steps have `on-failure = \"fail-open\"` may"
            ),
        )
    }
}

fn refuse(mode: &str, problem: impl Into<String>) -> Result<(), ReleaseError> {
    Err(ReleaseError::Mode {
        mode: mode.to_owned(),
        problem: problem.into(),
    })
}
