//! Lets the blurred picture and the number of faces leave the device, each under its topic, and nothing else.

use hotshoe_sdk::prelude::*;
use privacy_camera::{CONTENT_TYPE, Packet};

struct PrivacyPolicy;

impl Policy for PrivacyPolicy {
    fn decide(insight: Insight, _: DeviceContext) -> Result<Vec<Action>> {
        let packet = match insight {
            Insight::Custom(custom) if custom.content_type == CONTENT_TYPE => {
                Packet::parse(&custom.payload)?
            }
            _ => {
                return Err(Error::unsupported(format_args!(
                    "this policy takes {CONTENT_TYPE}, and the insight is of another kind"
                )));
            }
        };
        let send = |topic: &str, content_type: &str, payload| {
            Action::Send(Message {
                topic: topic.into(),
                content_type: content_type.into(),
                payload,
            })
        };
        let count = packet.faces.to_string().into_bytes();
        Ok(vec![
            Action::Drop("the picture and the count leave by topics of their own".into()),
            send("picture", "image/jpeg", packet.picture),
            send("count", "text/plain", count),
        ])
    }
}

hotshoe_sdk::policy!(PrivacyPolicy);
