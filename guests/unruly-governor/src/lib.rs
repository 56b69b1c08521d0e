//! A governor that does what its setting `do` says, for tests of the host: `trap`, `loop`, `error`, `unsigned` (a mode that no release has), `unknown-output`,
//! `over-range` (an output at 2), `no-reason`, `flap` (the full mode and the last one in turn), `past` (a rest that has ended), or `nothing`, the default.
#![allow(clippy::panic, reason = "one of the things that it is to do")]

use std::cell::Cell;
use std::hint::black_box;

use hotshoe_sdk::governor::{self, DeviceState, Drive, Governor, ModeChoice, Plan, Rest};
use hotshoe_sdk::{Error, Result, config};

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

struct Unruly;

impl Governor for Unruly {
    fn govern(state: DeviceState) -> Result<Plan> {
        let calls = CALLS.get() + 1;
        CALLS.set(calls);
        let plan = governor::nothing();
        let wish = config::get("do").unwrap_or_default();
        Ok(match wish.as_str() {
            "trap" => panic!("a governor that panics"),
            "loop" => loop {
                black_box(calls);
            },
            "error" => return Err(Error::internal("a governor that gives up")),
            "unsigned" => Plan {
                mode: Some(mode("turbo")),
                ..plan
            },
            "unknown-output" => drive("siren", 1.0, "a test"),
            "over-range" => drive(first(&state), 2.0, "a test"),
            "no-reason" => drive(first(&state), 1.0, ""),
            "flap" => {
                let wanted = if calls % 2 == 1 {
                    state.modes.last()
                } else {
                    state.modes.first()
                };
                Plan {
                    mode: wanted.map(|wanted| mode(&wanted.name)),
                    ..plan
                }
            }
            "past" => Plan {
                rest_until: Some(Rest {
                    until_us: state.now_us,
                    reason: "a test".to_owned(),
                }),
                ..plan
            },
            _ => plan,
        })
    }
}

fn mode(name: &str) -> ModeChoice {
    ModeChoice {
        name: name.to_owned(),
        reason: "a test".to_owned(),
    }
}

fn first(state: &DeviceState) -> &str {
    state.outputs.first().map_or("none", String::as_str)
}

fn drive(name: &str, value_ratio: f64, reason: &str) -> Plan {
    Plan {
        outputs: vec![Drive {
            name: name.to_owned(),
            value_ratio,
            reason: reason.to_owned(),
        }],
        ..governor::nothing()
    }
}

hotshoe_sdk::governor!(Unruly);
