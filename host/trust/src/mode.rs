//! Modes: the signed ways to run a release with less.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    limits::ReleaseLimits,
    release::{Release, StageFailure, Step},
    release_error::ReleaseError,
    rules::{check_name, within},
};

/// A `[modes.NAME]` table: how the release runs while this mode is in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Mode {
    /// Its place in the order of modes. 0 is the full mode, which leaves nothing out; each further level runs less.
    pub level: u32,
    /// Which samples are processed. Default: all of them.
    #[serde(default, skip_serializing_if = "Rate::is_full")]
    pub rate: Rate,
    /// The variant that serves, by model. A model that is left out serves as its order of preference says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, String>,
    /// What does not run. Default: everything runs.
    #[serde(default, skip_serializing_if = "Rests::is_empty")]
    pub rests: Rests,
}

/// Which samples are processed: those that every condition lets through.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Rate {
    /// Every Nth sample. Default 1: all of them.
    #[serde(skip_serializing_if = "is_one")]
    pub every: u32,
    /// Most samples in a second. Default: any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_second: Option<f64>,
    /// Whether only samples that differ from the one before them are processed. Default: false.
    #[serde(skip_serializing_if = "is_false")]
    pub only_on_motion: bool,
}

impl Default for Rate {
    fn default() -> Self {
        Self::FULL
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_one(every: &u32) -> bool {
    *every == 1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Rate {
    /// Every sample.
    pub const FULL: Self = Self {
        every: 1,
        max_per_second: None,
        only_on_motion: false,
    };

    /// Whether every sample is processed.
    pub fn is_full(&self) -> bool {
        *self == Self::FULL
    }

    /// The rate that lets through only what both let through.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        Self {
            every: self.every.max(other.every),
            max_per_second: [self.max_per_second, other.max_per_second]
                .into_iter()
                .flatten()
                .reduce(f64::min),
            only_on_motion: self.only_on_motion || other.only_on_motion,
        }
    }

    /// The first number outside its range: its key, its value, the least and the most allowed.
    pub fn out_of_range(&self) -> Option<(&'static str, f64, f64, f64)> {
        let (least, most) = ReleaseLimits::SAMPLES_PER_SECOND;
        let every = ReleaseLimits::EVERY;
        if !(1..=every).contains(&self.every) {
            return Some(("every", self.every.into(), 1.0, every.into()));
        }
        let per_second = self.max_per_second?;
        let is_allowed = (least..=most).contains(&per_second);
        (!is_allowed).then_some(("max-per-second", per_second, least, most))
    }
}

/// What does not run in a mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Rests {
    /// Policies, all of whose steps are `fail-open`: samples go on without them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub components: BTreeSet<String>,
    /// Outputs that are not published.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub outputs: BTreeSet<RestingOutput>,
}

impl Rests {
    fn is_empty(&self) -> bool {
        self.components.is_empty() && self.outputs.is_empty()
    }
}

/// An output that a mode may leave out. Errors are always published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestingOutput {
    /// `output/insight`.
    Insight,
    /// `output/action`.
    Action,
    /// `output/custom/**`: the messages of policies.
    Custom,
}

impl fmt::Display for RestingOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Insight => "insight",
            Self::Action => "action",
            Self::Custom => "custom",
        })
    }
}

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
