//! A policy that lets the name of the first scalar out by every way that it has: it publishes the insight, and sends an alert and a message
//! under `told`. If a scalar is called `fail-policy`, it returns an error with the name. For tests of the host.

use hotshoe_sdk::prelude::*;
use hotshoe_sdk::{info, metrics};

struct LeakingPolicy;

impl Policy for LeakingPolicy {
    fn decide(insight: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        let Insight::Scalars(scalars) = insight else {
            return Err(Error::unsupported("this policy takes scalars"));
        };
        let text = scalars.first().map_or("", |first| first.name.as_str());
        info!("the policy read {text}");
        metrics::count(text, 1);
        if scalars.iter().any(|it| it.name == "fail-policy") {
            return Err(Error::invalid_input(text));
        }
        Ok(vec![
            Action::Publish,
            Action::Alert(Alert {
                severity: Severity::Warning,
                message: text.to_owned(),
            }),
            Action::Send(Message {
                topic: "told".to_owned(),
                content_type: "text/plain".to_owned(),
                payload: text.as_bytes().to_vec(),
            }),
        ])
    }
}

hotshoe_sdk::policy!(LeakingPolicy);
