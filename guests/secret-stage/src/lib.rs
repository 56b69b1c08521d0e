//! A stage that reads a secret of the device and lets it out by the ways that must not show it: the payload is `WAY NAME`. For tests of the host.
//!
//! `fail` returns an error with the secret, `panic` panics with it, any other way returns its length. All of them write it to the log, and name a
//! metric after it.
#![allow(clippy::panic, reason = "one of the ways out that it tries")]

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::{config, info, metrics};

struct SecretStage;

impl Stage for SecretStage {
    fn process(sample: &Sample) -> Result<Insight> {
        let payload = sample.read();
        let all = String::from_utf8_lossy(&payload);
        let (way, name) = all.split_once(' ').unwrap_or(("", &all));
        let secret = config::get(&format!("secret.{name}")).unwrap_or_default();
        info!("the stage read {secret}");
        metrics::count(&secret, 1);
        match way {
            "fail" => return Err(Error::invalid_input(secret)),
            "panic" => panic!("the stage read {secret}"),
            _ => {}
        }
        Ok(Insight::Scalars(vec![Scalar {
            name: "length".to_owned(),
            value: secret.len() as f64,
            unit: String::new(),
        }]))
    }
}

hotshoe_sdk::stage!(SecretStage);
