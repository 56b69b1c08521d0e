//! A policy that counts its samples across updates, for tests of the state.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::state;

struct Counting;

impl Policy for Counting {
    fn decide(_: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        let seen = state::add("seen", 1)?;
        Ok(vec![
            Action::Alert(Alert {
                severity: Severity::Info,
                message: format!("seen {seen}"),
            }),
            Action::Publish,
        ])
    }
}

hotshoe_sdk::policy!(Counting);
