//! Decides from the text that was read, by the rules in the release's data file `rules`.

use common::label;
use hotshoe_sdk::prelude::*;

struct PolicyLabel;

impl Policy for PolicyLabel {
    fn decide(insight: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        label::judge(&label::lines(insight)?)
    }
}

hotshoe_sdk::policy!(PolicyLabel);
