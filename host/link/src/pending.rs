//! Statements that wait to be handled, with limits per sender so that one sender cannot block the others.

use std::collections::{BTreeMap, VecDeque};

/// Most release names with waiting statements, per sender.
pub const MAX_PENDING: usize = 64;
/// Most waiting statements per name: publishers may disagree or address different devices, and the device decides which it follows.
const MAX_PER_NAME: usize = 16;
/// Most waiting bytes per sender: 8 MiB.
const MAX_SENDER_BYTES: usize = 8 << 20;
/// Most senders. A sender's id is only claimed.
const MAX_SENDERS: usize = 256;
/// Most waiting bytes of all senders: 128 MiB.
const MAX_ALL_BYTES: usize = 128 << 20;

/// A statement or trust update as it arrived, before any check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawNotice {
    /// The name of the release in the key. For a trust update, a number.
    pub name: String,
    /// The message with its signatures.
    pub bytes: Vec<u8>,
}

/// Waiting statements by sender. A publication has no sender id, so all publications count as one sender's.
#[derive(Debug, Default)]
pub(crate) struct PendingNotices {
    senders: BTreeMap<Option<u128>, Sender>,
    bytes: usize,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Sender {
    by_name: BTreeMap<String, VecDeque<Vec<u8>>>,
    bytes: usize,
}

impl PendingNotices {
    /// Adds a statement. False if it, or an older one of its name, is dropped.
    pub(crate) fn add(&mut self, sender: Option<u128>, name: String, bytes: Vec<u8>) -> bool {
        let is_new = !self.senders.contains_key(&sender);
        let has_room = (!is_new || self.senders.len() < MAX_SENDERS)
            && self.bytes.saturating_add(bytes.len()) <= MAX_ALL_BYTES;
        let kept = has_room && {
            let its = self.senders.entry(sender).or_default();
            let before = its.bytes;
            // A registry replies with signed statements first. Of publications, the newest wins.
            let kept = its.add(name, bytes, sender.is_some());
            self.bytes = self.bytes.saturating_sub(before).saturating_add(its.bytes);
            kept
        };
        self.dropped += u64::from(!kept);
        kept
    }

    /// Counts a statement that is dropped unread.
    pub(crate) fn refuse(&mut self) {
        self.dropped += 1;
    }

    /// Number of dropped statements.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Removes and returns all statements, replies to queries first.
    pub(crate) fn take(&mut self) -> Vec<RawNotice> {
        self.bytes = 0;
        let senders = std::mem::take(&mut self.senders).into_iter().rev();
        senders
            .flat_map(|(_, sender)| sender.by_name)
            .flat_map(|(name, waiting)| {
                waiting.into_iter().map(move |bytes| RawNotice {
                    name: name.clone(),
                    bytes,
                })
            })
            .collect()
    }
}

impl Sender {
    fn add(&mut self, name: String, bytes: Vec<u8>, first_counts: bool) -> bool {
        let full = self.by_name.len() >= MAX_PENDING && !self.by_name.contains_key(&name);
        if full || self.bytes.saturating_add(bytes.len()) > MAX_SENDER_BYTES {
            return false;
        }
        let waiting = self.by_name.entry(name).or_default();
        if waiting.contains(&bytes) {
            return true;
        }
        if first_counts && waiting.len() >= MAX_PER_NAME {
            return false;
        }
        self.bytes += bytes.len();
        waiting.push_back(bytes);
        if waiting.len() <= MAX_PER_NAME {
            return true;
        }
        let oldest = waiting.pop_front().map_or(0, |oldest| oldest.len());
        self.bytes = self.bytes.saturating_sub(oldest);
        false
    }
}
