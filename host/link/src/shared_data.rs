//! The site's side of the shared data of a device: when the device can be reached, and when it changes a value.

use std::sync::Arc;

use zenoh::pubsub::Subscriber;
use zenoh::sample::SampleKind;

use super::client::Client;
use super::device::SHARED_DATA;
use super::{LinkError, outgoing, root};

/// Follows the shared data of a device until it is dropped.
#[derive(Debug)]
pub struct SharedDataWatch {
    _subscribers: [Subscriber<()>; 2],
}

impl Client {
    /// Calls `changed` each time the device can be reached, for the first time or again, and for each change of a shared value that it publishes,
    /// on Zenoh's threads. It must not block.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn follow_shared_data(
        &self,
        site: &str,
        device: &str,
        changed: impl Fn() + Send + Sync + 'static,
    ) -> Result<SharedDataWatch, LinkError> {
        let root = root(site, device);
        let changed = Arc::new(changed);
        let appeared = Arc::clone(&changed);
        let published = outgoing::subscribe(
            &self.session,
            &format!("{root}/{SHARED_DATA}/*"),
            move |_| {
                changed();
            },
        )?;
        let alive =
            outgoing::follow_tokens(&self.session, &format!("{root}/alive"), move |token| {
                if token.kind() == SampleKind::Put {
                    appeared();
                }
            })?;
        Ok(SharedDataWatch {
            _subscribers: [published, alive],
        })
    }
}
