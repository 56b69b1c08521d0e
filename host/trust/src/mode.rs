//! Modes: the signed ways to run a release with less.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::limits::ReleaseLimits;

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
    pub(crate) fn is_empty(&self) -> bool {
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
