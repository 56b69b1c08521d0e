//! What a test expects, and what a policy alone is given.

use hotshoe_engine::{Action, Insight, agreement};
use hotshoe_infer::npz;
use serde::Deserialize;
use serde_json::Value;

use super::Decision;

/// How a `.npz` begins, as any zip does; JSON never does.
const NPZ: &[u8] = b"PK";

/// What a pipeline is expected to make of a sample.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Expectation {
    /// The insight.
    pub insight: Insight,
    /// What the policies decide, in their order. None: whatever they decide.
    #[serde(default)]
    pub actions: Option<Vec<Action>>,
}

impl Expectation {
    /// Reads an insight as JSON; or `{"insight": .., "actions": [..]}`, as `hotshoe exec` prints it; or tensors as `.npz`.
    ///
    /// # Errors
    /// What is wrong with the JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.starts_with(NPZ) {
            return Ok(Self::of(Insight::Custom {
                content_type: npz::CONTENT_TYPE.to_owned(),
                payload: bytes.to_owned(),
            }));
        }
        let value: Value = serde_json::from_slice(bytes)?;
        if value.get("insight").is_some() {
            return serde_json::from_value(value);
        }
        serde_json::from_value(value).map(Self::of)
    }

    /// This insight, and whatever the policies decide.
    pub const fn of(insight: Insight) -> Self {
        Self {
            insight,
            actions: None,
        }
    }

    /// How far a decision agrees with it, 0 to 1: as the insights do, and not at all where the actions differ.
    pub fn agreement(&self, decision: &Decision) -> f64 {
        if self.decides_as(decision) {
            agreement(&decision.insight, &self.insight)
        } else {
            0.0
        }
    }

    /// Whether the actions are those expected.
    pub fn decides_as(&self, decision: &Decision) -> bool {
        let mut actions = self.actions.iter();
        actions.all(|actions| *actions == decision.actions)
    }
}
