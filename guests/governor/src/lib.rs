//! The governor that ships: heat, battery and latency against thresholds. `governor.json` beside this crate has its defaults.

mod rules;
mod thresholds;

use std::cell::Cell;

use hotshoe_sdk::Result;
use hotshoe_sdk::governor::{DeviceState, Governor, Plan};

use self::thresholds::Thresholds;

thread_local! {
    /// The level that the latency asked for. A new instance begins at 0, and derives it again.
    static LATENCY_LEVEL: Cell<u32> = const { Cell::new(0) };
}

struct Shipped;

impl Governor for Shipped {
    fn govern(state: DeviceState) -> Result<Plan> {
        let thresholds = Thresholds::read()?;
        let mut level = LATENCY_LEVEL.get();
        let plan = rules::plan(&state, &thresholds, &mut level);
        LATENCY_LEVEL.set(level);
        Ok(plan)
    }
}

hotshoe_sdk::governor!(Shipped);
