//! A policy that traps on every third sample, for tests of bad releases. It counts in the state, which outlives the trap.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::state;

/// It traps whenever the count of its calls is a multiple of this.
const TRAPS_EVERY: u64 = 3;

struct Flaky;

impl Policy for Flaky {
    fn decide(_: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        if state::add("calls", 1)?.is_multiple_of(TRAPS_EVERY) {
            std::process::abort();
        }
        Ok(vec![Action::Publish])
    }
}

hotshoe_sdk::policy!(Flaky);
