//! The heads of the devices' audit logs, under the key `audit` of each device.

use hotshoe_audit::HeldHead;
use zenoh::pubsub::Subscriber;

use super::outgoing::{self, JSON, Outgoing, QosClass};
use super::{Link, LinkError, Site};

/// The part of a device's keys.
const AUDIT: &str = "audit";
/// Largest head, in bytes: 16 KiB. It has about 1 KiB.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// A subscription to the heads of all devices of a site.
#[derive(Debug)]
pub struct HeadSubscription {
    _subscriber: Subscriber<()>,
}

impl Link {
    /// Publishes the head of the device's audit log to the current subscribers.
    ///
    /// # Errors
    /// [`LinkError::TooLong`] and [`LinkError::Full`].
    pub fn publish_head(&self, head: &HeldHead) -> Result<(), LinkError> {
        let key = format!("{}/{AUDIT}", self.root);
        let body = serde_json::to_vec(head).unwrap_or_default();
        let message = Outgoing::new(&key, body, JSON)?;
        self.site.send_queue.put(message, QosClass::DataLow)
    }
}

impl Site {
    /// Subscribes to the heads of all devices. One that names another site or device than its key is ignored. `each` is called on Zenoh's
    /// threads and must not block; it checks the signature.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn follow_heads(
        &self,
        each: impl Fn(HeldHead) + Send + Sync + 'static,
    ) -> Result<HeadSubscription, LinkError> {
        let key = self.key(&format!("*/{AUDIT}"));
        let site = self.name().to_owned();
        let subscriber = outgoing::subscribe(&self.session, &key, move |sample| {
            if sample.payload().len() > MAX_HEAD_BYTES {
                return;
            }
            let device = sample.key_expr().as_str().rsplit('/').nth(1);
            let Ok(held) = serde_json::from_slice::<HeldHead>(&sample.payload().to_bytes()) else {
                return;
            };
            if held.head.site == site && Some(held.head.device.as_str()) == device {
                each(held);
            }
        })?;
        Ok(HeadSubscription {
            _subscriber: subscriber,
        })
    }
}
