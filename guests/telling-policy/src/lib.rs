//! Publishes the insight, and sends a message under the name of each of its scalars. A scalar with the name `drop` drops the insight instead.
//! For tests of the host.

use hotshoe_sdk::prelude::*;

struct TellingPolicy;

impl Policy for TellingPolicy {
    fn decide(insight: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        let Insight::Scalars(scalars) = insight else {
            return Err(Error::unsupported("this policy takes scalars"));
        };
        let mut actions = vec![Action::Publish];
        actions.extend(
            scalars
                .into_iter()
                .map(|scalar| match scalar.name.as_str() {
                    name if name.starts_with("type-") => Action::Send(Message {
                        topic: "typed".to_owned(),
                        content_type: "x".repeat(name["type-".len()..].parse().unwrap_or(0)),
                        payload: name.as_bytes().to_vec(),
                    }),
                    "drop" => Action::Drop("the sample says so".to_owned()),
                    "large" => Action::Send(Message {
                        topic: "large".to_owned(),
                        content_type: "application/octet-stream".to_owned(),
                        payload: vec![0; 9 << 20],
                    }),
                    _ => Action::Send(Message {
                        payload: format!("{} was seen", scalar.name).into_bytes(),
                        content_type: "text/plain".to_owned(),
                        topic: scalar.name,
                    }),
                }),
        );
        Ok(actions)
    }
}

hotshoe_sdk::policy!(TellingPolicy);
