//! A policy that publishes everything: the least that a component can be, for measuring what a call costs.

use hotshoe_sdk::prelude::*;

struct PublishAll;

impl Policy for PublishAll {
    fn decide(_: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        Ok(vec![Action::Publish])
    }
}

hotshoe_sdk::policy!(PublishAll);
