//! The devices of one stage that are alike, in a count.

use serde::{Deserialize, Serialize};

use crate::{health::Health, state::State};

/// The devices of one stage that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cell {
    /// The stage in which they take the release.
    pub stage: u32,
    /// Their state.
    pub state: State,
    /// The stable name of the cause; empty without one.
    pub cause: String,
    /// Their hardware class.
    pub class: String,
    /// Whether they may still change within their deadline.
    pub open: bool,
    /// Number of devices.
    pub devices: u64,
    /// How the release serves on them.
    #[serde(default)]
    pub health: Health,
    /// How the previous release served on them in the same mode.
    #[serde(default)]
    pub baseline: Health,
}
