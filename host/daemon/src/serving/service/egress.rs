//! What leaves the device, by the contract of the release that made it.

use hotshoe_base::Clock;
use hotshoe_egress::{Classifier, HashKeys, Refused};
use hotshoe_protocol::event::{EventCause, KnownKind, Subject};
use hotshoe_trust::{DataBounds, SigningKey};
use uuid::Uuid;

use super::Service;
use crate::serving::ServingRelease;

/// The keys of hashed fields. They are made of the device's own key; without one, they last until the daemon ends.
pub(super) fn hash_keys(bounds: &DataBounds, key: Option<&SigningKey>, clock: &Clock) -> HashKeys {
    let secret = match key.and_then(|key| key.to_pem(None).ok()) {
        Some(pem) => HashKeys::secret_of(pem.as_bytes()),
        None => {
            let random = [Uuid::new_v4(), Uuid::new_v4()].map(Uuid::into_bytes);
            HashKeys::secret_of(random.as_flattened())
        }
    };
    HashKeys::new(secret, bounds.hash_period_s(), clock.clone())
}

impl Service {
    /// The classifier for what a release made, or for what the host says without one.
    pub(super) fn classifier<'a>(&'a self, served: Option<&'a ServingRelease>) -> &'a Classifier {
        match served {
            Some(served) => served.classifier(&self.hash_keys),
            None => &self.without_release,
        }
    }

    /// Counts an output that stays on the device. The first one of each class and output is an event. Log lines, metrics and texts of errors
    /// are counted where they are dropped, and are no events: nothing was sent.
    pub(super) fn kept_back(&self, refused: &Refused) {
        if !self.kept_back.count(refused.class(), refused.output()) {
            return;
        }
        let cause = EventCause::new(refused.name(), refused.to_string());
        let details = [
            ("class", refused.class().into()),
            ("output", refused.output().into()),
        ];
        let events = self.published_status.events();
        events.record(
            KnownKind::EgressRefused,
            Subject::Device,
            Some(cause),
            &details,
        );
    }
}
