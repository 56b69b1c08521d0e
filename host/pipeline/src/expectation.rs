//! Expected results of tests, and inputs of pipelines of policies only.

use std::collections::BTreeMap;

use hotshoe_base::without_byte_order_mark;
use hotshoe_engine::{Action, Insight, agreement};
use hotshoe_infer::npz;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Decision;

/// First bytes of a `.npz`, as of any zip archive; JSON never begins with them.
const NPZ: &[u8] = b"PK";

/// The expected result of a pipeline for a sample.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Expectation {
    /// The insight.
    pub insight: Insight,
    /// The actions of the policies in order. `None`: any actions.
    #[serde(default)]
    pub actions: Option<Vec<Action>>,
}

impl Expectation {
    /// Reads an insight as JSON; or `{"insight": .., "actions": [..]}`, as `hotshoe exec` prints it; or tensors as `.npz`.
    ///
    /// # Errors
    /// The error in the JSON.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.starts_with(NPZ) {
            return Ok(Self::of(Insight::Custom {
                content_type: npz::CONTENT_TYPE.to_owned(),
                payload: bytes.to_owned(),
            }));
        }
        let text = without_byte_order_mark(bytes);
        // Whether there is a field `insight`, without a copy of the others.
        let fields: BTreeMap<String, IgnoredAny> = serde_json::from_slice(text)?;
        if fields.contains_key("insight") {
            return serde_json::from_slice(text);
        }
        serde_json::from_slice(text).map(Self::of)
    }

    /// This insight with any actions.
    pub const fn of(insight: Insight) -> Self {
        Self {
            insight,
            actions: None,
        }
    }

    /// The agreement of a decision with it, 0 to 1: that of the insights, or 0 if the actions differ.
    pub fn agreement(&self, decision: &Decision) -> f64 {
        if self.decides_as(decision) {
            agreement(&decision.insight, &self.insight)
        } else {
            0.0
        }
    }

    /// Whether the actions match.
    pub fn decides_as(&self, decision: &Decision) -> bool {
        let mut actions = self.actions.iter();
        actions.all(|actions| *actions == decision.actions)
    }
}
