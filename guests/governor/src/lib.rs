//! The governor that ships: heat, charge, latency and backends against thresholds. `governor.json` beside this crate has its defaults.

mod memory;
mod rules;
mod thresholds;
mod wishes;

use std::cell::RefCell;

use hotshoe_sdk::Result;
use hotshoe_sdk::governor::{DeviceState, Governor, Plan};

use self::memory::Memory;
use self::thresholds::Thresholds;

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

struct Shipped;

impl Governor for Shipped {
    fn govern(state: DeviceState) -> Result<Plan> {
        let thresholds = Thresholds::read()?;
        Ok(MEMORY.with_borrow_mut(|memory| rules::plan(&state, &thresholds, memory)))
    }
}

hotshoe_sdk::governor!(Shipped);
