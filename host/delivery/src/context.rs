//! The inputs of a fetch, and the state that its threads share.

use std::collections::BTreeSet;

use hotshoe_base::Clock;
use hotshoe_link::{ObjectReply, Site, Sources};
use parking_lot::Mutex;

use super::source_reputation::SourceReputation;
use super::token_bucket::TokenBucket;
use super::wait::FetchWait;
use super::{Cancel, DeliveryConfig, FetchError, TransferStats};

/// An object that was checked.
pub(crate) struct CheckedObject {
    pub number: usize,
    /// Size as sent, in bytes.
    pub size: u64,
    pub stored: Stored,
}

/// Result of checking an object.
pub(crate) enum Stored {
    /// It is valid and stored.
    Kept,
    /// It does not match its digest or size.
    Invalid,
}

/// What all fetches of a device share.
pub(crate) struct FetchContext<'a> {
    pub site: &'a Site,
    pub own: &'a str,
    pub sources: &'a Sources,
    pub config: &'a DeliveryConfig,
    pub cancel: &'a Cancel,
    pub stats: &'a Mutex<TransferStats>,
    /// Sources that sent only bad data in this fetch.
    pub banned: &'a Mutex<BTreeSet<String>>,
    pub clock: &'a Clock,
    pub rate_limit: &'a Mutex<TokenBucket>,
    /// Sources that are asked last.
    pub reputation: &'a SourceReputation,
}

/// Checks and stores the objects of one reply, each with the number of its want. Returns a result for each.
pub(crate) type StoreFn<'a> =
    &'a (dyn Fn(&[(usize, &[u8])]) -> Result<Vec<Stored>, FetchError> + Sync);
/// Called with the bytes that have arrived, the number of usable sources, and what the fetch waits for.
pub(crate) type ProgressFn<'a> = &'a (dyn Fn(u64, usize, Option<FetchWait>) + Sync);

pub(super) enum Event {
    Reply(u64, ObjectReply),
    /// A reply that is dropped unchecked: its sender is ignored, or too many are waiting.
    Ignored(u64),
    /// The objects of a reply were checked.
    Checked {
        batch: u64,
        from: u128,
        objects: Vec<CheckedObject>,
        /// Whether the reply is malformed, or has objects that were not asked for.
        unexpected: bool,
    },
    Have(String, ObjectReply),
    Failed(FetchError),
}
