//! Moving releases: what a device fetches, checks piece by piece and writes, and what it answers for.
//!
//! Everything moves by its digest, in objects of at most [`MAX_WHOLE_BYTES`]. A fetcher asks each source by name, so it knows who
//! sent what; it may be late, silent or lying, and the others are asked instead. What is on disk already is never asked for.
#![forbid(unsafe_code)]

mod check;
mod error;
mod fetch;
mod neighbours;
mod token_bucket;
mod plan;
mod publisher;
pub mod registry;
mod source_discovery;
mod run;
mod source_reputation;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use error::FetchError;
pub use fetch::Fetcher;
pub use plan::{Batch, Bounds, BatchEnd, Availability, Plan, Want};
pub use publisher::{PublishError, Publisher};

/// The largest object that moves whole, in bytes: 4 MiB. What is larger has an index of chunks.
pub const MAX_WHOLE_BYTES: u64 = 4 << 20;
/// How a fetcher goes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryConfig {
    /// Whether neighbours are asked, and the site downloads once. Default: true.
    pub share: bool,
    /// The most that is asked for, in bytes a second. Default: no limit.
    pub max_bytes_per_second: Option<u64>,
    /// Bytes asked for and not yet here. Default: 8 MiB.
    pub in_flight_bytes: u64,
    /// The largest request to one source, in bytes. Default: 1 MiB.
    pub batch_bytes: u64,
    /// A request that takes longer is made elsewhere too. Default: 5 s.
    pub stall: Duration,
    /// A request that brings nothing for so long is given up. Default: 30 s.
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

/// Ends a fetch from elsewhere. Clones mean the same fetch.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    ended: Arc<AtomicBool>,
    /// Ended with another one.
    parent: Option<Arc<AtomicBool>>,
    deadline: Option<Instant>,
}

impl Cancel {
    /// Not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the fetch by itself after so long.
    pub fn after(time: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(time),
            ..Self::default()
        }
    }

    /// One that ends with this one, and that can be ended by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            ended: Arc::default(),
            parent: Some(Arc::clone(&self.ended)),
            deadline: self.deadline,
        }
    }

    /// One that ends with this one, and after so long at the latest.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        let latest = Instant::now().checked_add(time);
        Self {
            deadline: [self.deadline, latest].into_iter().flatten().min(),
            ..self.child()
        }
    }

    /// Ends the fetch soon. What is on disk stays.
    pub fn cancel(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Whether it was.
    pub fn is_cancelled(&self) -> bool {
        let ended = |flag: &Arc<AtomicBool>| flag.load(Ordering::Acquire);
        ended(&self.ended)
            || self.parent.as_ref().is_some_and(ended)
            || self.deadline.is_some_and(|at| at <= Instant::now())
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of the release that are here.
    pub fetched: u64,
    /// Bytes of the release.
    pub total: u64,
    /// Sources that may be asked. With none, the fetch waits for one.
    pub sources: usize,
}

/// What a fetch moved.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransferStats {
    /// Bytes that were received, as they travelled.
    pub bytes_received: u64,
    /// Bytes of the release that were on this device already.
    pub bytes_reused: u64,
    /// Bytes that were received, by source.
    pub from: BTreeMap<String, u64>,
    /// Replies that were no good, by the source that was asked.
    pub refused: BTreeMap<String, u64>,
}
