//! Delivery of releases: fetching, publishing and the registry.
//!
//! Releases are transferred as objects of at most [`MAX_WHOLE_BYTES`], each identified by its digest. A fetcher sends its requests to
//! single sources, so it knows which source sent what. If a source is slow, silent or sends bad data, the fetcher asks another one.
//! Objects that are on disk are not fetched.
#![forbid(unsafe_code)]

mod check;
mod context;
mod error;
mod fetch;
mod heads;
mod neighbours;
mod plan;
mod publisher;
pub mod registry;
mod rollout_file;
mod run;
mod source_discovery;
mod source_reputation;
mod token_bucket;
mod wait;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotshoe_base::Clock;

pub use error::FetchError;
pub use fetch::Fetcher;
pub use heads::{HeadLimits, keep_heads};
pub use plan::{Availability, Batch, BatchEnd, Bounds, Plan, Want};
pub use publisher::{PublishError, Publisher};
pub use rollout_file::{RolloutFile, StoredRollouts};
pub use wait::FetchWait;

/// The largest object that is transferred in one piece, in bytes: 4 MiB. A larger blob needs an index of chunks.
pub const MAX_WHOLE_BYTES: u64 = 4 << 20;
/// Settings of a fetcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// Whether devices fetch from each other, so that the site downloads each chunk once. Default: true.
    pub share: bool,
    /// Bandwidth limit in bytes per second. Default: no limit.
    pub max_bytes_per_second: Option<u64>,
    /// Most requested bytes that have not arrived. Default: 8 MiB.
    pub in_flight_bytes: u64,
    /// The largest request to one source, in bytes. Default: 1 MiB.
    pub batch_bytes: u64,
    /// A request that takes longer is also sent to another source. Default: 5 s.
    pub stall: Duration,
    /// A request that delivers nothing for this time is abandoned. Default: 30 s.
    pub batch_timeout: Duration,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            share: true,
            max_bytes_per_second: None,
            in_flight_bytes: 8 << 20,
            batch_bytes: 1 << 20,
            stall: Duration::from_secs(5),
            batch_timeout: Duration::from_secs(30),
        }
    }
}

/// Cancels a fetch from another thread. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    ended: Arc<AtomicBool>,
    /// Flag of the parent, which cancels this one too.
    parent: Option<Arc<AtomicBool>>,
    deadline: Option<Instant>,
    clock: Clock,
}

impl Cancel {
    /// A new one, not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// A new one whose deadlines are those of `clock`.
    pub fn timed_by(clock: Clock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// Cancels itself after this time.
    pub fn after(time: Duration) -> Self {
        Self::new().within(time)
    }

    /// A child that is cancelled with this one, and can be cancelled alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            ended: Arc::default(),
            parent: Some(Arc::clone(&self.ended)),
            deadline: self.deadline,
            clock: self.clock.clone(),
        }
    }

    /// A child that is cancelled with this one, or after this time.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        let latest = self.clock.now().checked_add(time);
        Self {
            deadline: [self.deadline, latest].into_iter().flatten().min(),
            ..self.child()
        }
    }

    /// Cancels the fetch. Data on disk stays.
    pub fn cancel(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether it was cancelled, or its time is over.
    pub fn is_cancelled(&self) -> bool {
        let ended = |flag: &Arc<AtomicBool>| flag.load(Ordering::Acquire);
        ended(&self.ended)
            || self.parent.as_ref().is_some_and(ended)
            || self.deadline.is_some_and(|at| at <= self.clock.now())
    }
}

/// Progress of a fetch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of the release on this device.
    pub fetched: u64,
    /// Size of the release in bytes.
    pub total: u64,
    /// Number of usable sources. With 0, the fetch waits.
    pub sources: usize,
    /// What the fetch waits for, if nothing has arrived for a while.
    pub waits: Option<FetchWait>,
}

/// Statistics of a fetch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransferStats {
    /// Bytes received, compressed as sent.
    pub bytes_received: u64,
    /// Bytes of the release that were already on this device.
    pub bytes_reused: u64,
    /// Bytes received, by source.
    pub from: BTreeMap<String, u64>,
    /// Invalid replies, by requested source.
    pub refused: BTreeMap<String, u64>,
}
