//! Who signed the releases in the slots, for the status.

use std::collections::BTreeMap;

use hotshoe_protocol::status::SlotsStatus;
use hotshoe_store::{Ledger, Slot, Store};
use hotshoe_trust::Digest;

use crate::deploy::loader::Loader;

/// The names of the trusted keys that signed each release in a slot. A release is verified once for each version of the trusted keys.
#[derive(Debug, Default)]
pub(super) struct SlotSigners {
    trust_version: u64,
    known: BTreeMap<Digest, Vec<String>>,
}

impl SlotSigners {
    /// Adds the signers to the slots of `ledger`. A release that the trusted keys no longer verify has none.
    pub(super) fn show(
        &mut self,
        slots: &mut SlotsStatus,
        ledger: &Ledger,
        store: &Store,
        loader: &Loader,
    ) {
        let version = loader.trust().version();
        if version != self.trust_version {
            self.trust_version = version;
            self.known.clear();
        }
        let trial = slots.trial.as_mut().map(|trial| &mut trial.slot);
        let pairs = [
            (slots.live.as_mut(), ledger.live.as_ref()),
            (slots.previous.as_mut(), ledger.previous.as_ref()),
            (slots.staged.as_mut(), ledger.staged.as_ref()),
            (trial, ledger.trial.as_ref().map(|trial| &trial.slot)),
        ];
        let signers_of = |slot: &Slot| {
            let verified = loader.verified(store, slot).ok()?;
            Some(verified.signers().to_vec())
        };
        let before = std::mem::take(&mut self.known);
        for (shown, slot) in pairs {
            let (Some(shown), Some(slot)) = (shown, slot) else {
                continue;
            };
            let known = before.get(&slot.release).cloned();
            // What cannot be verified now is tried again with the next change: a read may have failed.
            let Some(signers) = known.or_else(|| signers_of(slot)) else {
                continue;
            };
            shown.signers.clone_from(&signers);
            self.known.insert(slot.release, signers);
        }
    }
}
