//! The types of a plan's interface.

use std::collections::HashSet;
use std::time::Duration;

use hotshoe_trust::Digest;

/// A wanted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, or its size limit.
    pub most: u64,
}

/// The limits of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Most requested bytes that have not arrived.
    pub in_flight: u64,
    /// Largest window, in bytes.
    pub batch: u64,
    /// A batch that is open for longer counts as slow.
    pub stall: Duration,
    /// A batch without an arrival for this time has timed out.
    pub timeout: Duration,
}

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub id: u64,
    /// The source to ask.
    pub source: String,
    /// Numbers of the wants.
    pub wants: Vec<usize>,
    /// Total size limit in bytes.
    pub bytes: u64,
}

/// Which wants a source is expected to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// Everything: a publisher or registry.
    All,
    /// Unknown: a neighbour that has not answered. It is asked only if there is no publisher or registry.
    Unknown,
    /// These wants, by number.
    Some(HashSet<usize>),
}

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchEnd {
    /// All replies have arrived.
    Finished,
    /// It was abandoned.
    TimedOut,
}
