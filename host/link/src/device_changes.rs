//! Which devices of a site appear, disappear, or say that a release has moved on.

use zenoh::pubsub::Subscriber;
use zenoh::sample::SampleKind;

use super::client::Client;
use super::outgoing;
use super::{LinkError, root};

/// What happened to a device. Nothing of it is proven: it is a reason to ask the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChange {
    /// Its liveliness token is there.
    Appeared,
    /// Its liveliness token is gone.
    Gone,
    /// It published a deploy event.
    Event,
}

/// A subscription to the changes of a site's devices, until it is dropped.
#[derive(Debug)]
pub struct DeviceChanges {
    _subscribers: [Subscriber<()>; 2],
}

impl Client {
    /// Follows the devices of a site, those that are there already included. `each` gets the name in the key, which any session can choose; it
    /// is called on Zenoh's threads and must not block.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn follow_devices(
        &self,
        site: &str,
        each: impl Fn(&str, DeviceChange) + Clone + Send + Sync + 'static,
    ) -> Result<DeviceChanges, LinkError> {
        let (on_token, on_event) = (each.clone(), each);
        let tokens = format!("{}/alive", root(site, "*"));
        let tokens = outgoing::follow_tokens(&self.session, &tokens, move |sample| {
            let change = match sample.kind() {
                SampleKind::Put => DeviceChange::Appeared,
                SampleKind::Delete => DeviceChange::Gone,
            };
            if let Some(device) = device_of(sample.key_expr().as_str()) {
                on_token(device, change);
            }
        })?;
        let events = format!("{}/event", root(site, "*"));
        let events = outgoing::subscribe(&self.session, &events, move |sample| {
            if let Some(device) = device_of(sample.key_expr().as_str()) {
                on_event(device, DeviceChange::Event);
            }
        })?;
        Ok(DeviceChanges {
            _subscribers: [tokens, events],
        })
    }
}

/// The device in `hotshoe/<site>/<device>/...`.
fn device_of(key: &str) -> Option<&str> {
    key.split('/').nth(2)
}
