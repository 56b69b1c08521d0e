//! The inputs of a fetch, and the state that its threads share.

use std::collections::BTreeSet;

use hotshoe_base::Clock;
use hotshoe_link::{ObjectReply, Site, Sources};
use parking_lot::Mutex;

use super::source_reputation::SourceReputation;
use super::token_bucket::TokenBucket;
use super::wait::FetchWait;
use super::{Cancel, DeliveryConfig, FetchError, TransferStats};

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

/// Checks and stores an object, given the number of the request.
pub(crate) type StoreFn<'a> = &'a (dyn Fn(usize, &[u8]) -> Result<Stored, FetchError> + Sync);
/// Called with the bytes that have arrived, the number of usable sources, and what the fetch waits for.
pub(crate) type ProgressFn<'a> = &'a (dyn Fn(u64, usize, Option<FetchWait>) + Sync);

pub(super) enum Event {
    Reply(u64, ObjectReply),
    /// An object that is dropped unchecked: its sender is ignored, or too many are waiting.
    Ignored(u64),
    Checked {
        batch: u64,
        number: usize,
        from: u128,
        size: u64,
        stored: Stored,
    },
    Have(String, ObjectReply),
    Failed(FetchError),
}
