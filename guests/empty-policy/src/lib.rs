//! A policy that publishes everything: the smallest component, to measure the cost of a call.

use hotshoe_sdk::prelude::*;

struct PublishAll;

impl Policy for PublishAll {
    fn decide(_: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        Ok(vec![Action::Publish])
    }
}

hotshoe_sdk::policy!(PublishAll);
