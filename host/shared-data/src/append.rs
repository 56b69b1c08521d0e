//! A list that only grows, within limits.
//!
//! The items are in the order of their keys. A list that drops its oldest items notes the newest one that it dropped, and from then on takes
//! no item up to there: without that, a list that drops a large item could take a smaller and older one that another replica, with both,
//! drops. So the result does not depend on the order of merges, also where the replicas have different limits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::HybridTime;
use crate::definition::{Definition, MAX_ITEMS, MAX_VALUE_BYTES};
use crate::entry::{Entry, EntryKey};

/// The state of an `append` value.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AppendList {
    /// The newest item that was dropped. All items are after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dropped_to: Option<EntryKey>,
    /// Oldest first.
    items: Vec<Entry>,
}

impl AppendList {
    /// The items, oldest first.
    pub fn items(&self) -> &[Entry] {
        &self.items
    }

    /// Whether older items were dropped.
    pub const fn has_dropped(&self) -> bool {
        self.dropped_to.is_some()
    }

    pub(crate) fn push(&mut self, entry: Entry, limits: &Definition) {
        let one = Self {
            dropped_to: None,
            items: vec![entry],
        };
        self.merge(one, limits);
    }

    pub(crate) fn merge(&mut self, other: Self, limits: &Definition) {
        let own = std::mem::take(self);
        let dropped_to = own.dropped_to.max(other.dropped_to);
        let all = own.items.into_iter().chain(other.items);
        let all: BTreeMap<EntryKey, Entry> = all
            .map(|item| (item.key(), item))
            .filter(|(key, _)| Some(key) > dropped_to.as_ref())
            .collect();
        self.dropped_to = dropped_to;
        let (mut items, mut bytes) = (0, 0);
        for (key, item) in all.into_iter().rev() {
            items += 1;
            bytes += item.value.bytes();
            if items > limits.max_items || bytes > u64::from(limits.max_bytes) {
                self.dropped_to = Some(key);
                break;
            }
            self.items.push(item);
        }
        self.items.reverse();
    }

    /// Whether it is a state that replicas can have, within the largest limits.
    pub(crate) fn is_valid(&self) -> bool {
        let keys: Vec<EntryKey> = self.items.iter().map(Entry::key).collect();
        let bytes: u64 = self.items.iter().map(|item| item.value.bytes()).sum();
        keys.is_sorted_by(|one, other| one < other)
            && keys
                .first()
                .is_none_or(|key| Some(key) > self.dropped_to.as_ref())
            && keys.len() <= MAX_ITEMS as usize
            && bytes <= u64::from(MAX_VALUE_BYTES)
    }

    /// The latest time in it.
    pub(crate) fn latest(&self) -> Option<HybridTime> {
        let dropped = self.dropped_to.as_ref().map(|key| key.at);
        self.items.last().map(|item| item.at).max(dropped)
    }

    /// Removes the items beyond `horizon`, and returns them.
    pub(crate) fn take_ahead(&mut self, horizon: HybridTime) -> Vec<Entry> {
        self.dropped_to = self.dropped_to.take().filter(|key| key.at <= horizon);
        let at = self.items.partition_point(|item| item.at <= horizon);
        self.items.split_off(at)
    }
}
