//! Batches in, acknowledgements out.

use std::collections::{BTreeMap, BTreeSet};

use hotshoe_link::DeviceMessage;
use hotshoe_link::device_list::{DeviceList, Unproven};
use hotshoe_outbox::Ranges;
use hotshoe_protocol::outbox::{AcknowledgedRanges, Acknowledgement, Batch};
use hotshoe_trust::{KeyError, SigningKey};

use crate::batch::{BatchError, ReceivedBatch};
use crate::store::{Outcome, Store, StoreError};

/// Most outboxes whose sessions are remembered.
const MAX_INSTANCES: usize = 65_536;
/// Most earlier sessions of an outbox that are remembered.
const MAX_SESSIONS: usize = 64;

/// Why a batch is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The device did not sign it.
    #[error("the batch of device `{device}` cannot be verified: {why}")]
    Unproven {
        /// The device that it names.
        device: String,
        /// Why not.
        why: Unproven,
    },
    /// It is not valid.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// It cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The acknowledgement cannot be signed.
    #[error("cannot sign the acknowledgement")]
    Key(#[from] KeyError),
}

impl ReceiveError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unproven { why, .. } => why.name(),
            Self::Batch(error) => error.name(),
            Self::Store(error) => error.name(),
            Self::Key(_) => "cannot_sign",
        }
    }
}

/// A batch that was stored.
#[derive(Debug)]
pub struct Received {
    /// The device.
    pub device: String,
    /// Records that wait behind it.
    pub left: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// Another device runs at the same time with a copy of this outbox.
    pub is_cloned: bool,
    /// The acknowledgement, on the wire.
    pub acknowledgement: Vec<u8>,
}

/// Receives the batches of a site's devices.
#[derive(Debug)]
pub struct Receiver {
    store: Store,
    list: Option<DeviceList>,
    key: Option<SigningKey>,
    sessions: BTreeMap<String, Sessions>,
}

/// The runs of daemons that sent with one outbox.
#[derive(Debug, Default)]
struct Sessions {
    current: String,
    /// Those that another one followed.
    earlier: BTreeSet<String>,
}

impl Sessions {
    /// Takes the session of a batch. True if another one followed it already: both run.
    fn take(&mut self, session: &str) -> bool {
        if self.current == session {
            return false;
        }
        let is_back = self.earlier.contains(session);
        let before = std::mem::replace(&mut self.current, session.to_owned());
        if !before.is_empty() && self.earlier.len() < MAX_SESSIONS {
            self.earlier.insert(before);
        }
        is_back
    }
}

impl Receiver {
    /// A receiver for `store`. With a list, only batches that their device signed are taken; with a key, acknowledgements are signed.
    pub const fn new(store: Store, list: Option<DeviceList>, key: Option<SigningKey>) -> Self {
        Self {
            store,
            list,
            key,
            sessions: BTreeMap::new(),
        }
    }

    /// Stores a batch durably, then acknowledges it.
    ///
    /// # Errors
    /// [`ReceiveError`]. After [`StoreError`] the store must be opened again.
    pub fn receive(&mut self, message: &DeviceMessage<Batch>) -> Result<Received, ReceiveError> {
        match message.check(self.list.as_ref()) {
            Ok(()) | Err(Unproven::NoList) => {}
            Err(why) => {
                let device = message.device.clone();
                return Err(ReceiveError::Unproven { device, why });
            }
        }
        let batch = ReceivedBatch::try_from(&message.value)?;
        let outcome = self.store.put(&batch)?;
        let acknowledgement = Acknowledgement {
            site: batch.site.clone(),
            device: batch.device.clone(),
            instance: message.value.instance.clone(),
            batch: message.digest().hex(),
            acknowledged: acknowledged(&batch),
        };
        Ok(Received {
            acknowledgement: acknowledgement.to_bytes(self.key.as_ref())?,
            is_cloned: self.note_session(&batch),
            device: batch.device,
            left: batch.left,
            outcome,
        })
    }

    fn note_session(&mut self, batch: &ReceivedBatch) -> bool {
        if !self.sessions.contains_key(&batch.instance) && self.sessions.len() >= MAX_INSTANCES {
            return false;
        }
        let sessions = self.sessions.entry(batch.instance.clone()).or_default();
        sessions.take(&batch.session)
    }
}

/// The ranges of a batch, by source.
fn acknowledged(batch: &ReceivedBatch) -> Vec<AcknowledgedRanges> {
    let mut by_source: BTreeMap<&str, Ranges> = BTreeMap::new();
    for item in &batch.items {
        let (source, from, to) = item.range();
        by_source.entry(source).or_default().insert(from, to);
    }
    let ranges = by_source.into_iter().map(|(source, ranges)| {
        let ranges = ranges.iter().collect();
        let source = source.to_owned();
        AcknowledgedRanges { source, ranges }
    });
    ranges.collect()
}

#[cfg(test)]
mod tests {
    use super::Sessions;

    #[test]
    fn a_session_that_comes_back_after_another_one_is_a_clone() {
        let mut sessions = Sessions::default();
        let taken = ["a", "a", "b", "b", "a", "b"].map(|session| sessions.take(session));
        assert_eq!(taken, [false, false, false, false, true, true]);
    }
}
