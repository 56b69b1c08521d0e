//! A stage that lets the text of a sample out by every way that it has: the payload is `WAY TEXT`. For tests of the host.
//!
//! `fail` returns an error with the text, `panic` panics with it; any other way returns scalars with the names of text and way. All of them
//! write the text to the log, and name a metric after it.
#![allow(clippy::panic, reason = "one of the ways out that it tries")]

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::{info, metrics};

struct LeakingStage;

impl Stage for LeakingStage {
    fn process(sample: &Sample) -> Result<Insight> {
        let payload = sample.read();
        let all = String::from_utf8_lossy(&payload);
        let (way, text) = all.split_once(' ').unwrap_or(("", &all));
        info!("the stage read {text}");
        metrics::count(text, 1);
        match way {
            "fail" => return Err(Error::invalid_input(text)),
            "panic" => panic!("the stage read {text}"),
            _ => {}
        }
        let scalars = [text, way].map(|name| Scalar {
            name: name.to_owned(),
            value: 1.0,
            unit: String::new(),
        });
        Ok(Insight::Scalars(scalars.into()))
    }
}

hotshoe_sdk::stage!(LeakingStage);
