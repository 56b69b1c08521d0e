//! The terms of a plan: what is wanted, what is asked for, and within which bounds.

use std::collections::HashSet;
use std::time::Duration;

use hotshoe_trust::Digest;

/// An object that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, or the most that it may have.
    pub most: u64,
}

/// The bounds of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes asked for and not yet here, in all.
    pub in_flight: u64,
    /// The largest window of one batch, in bytes.
    pub batch: u64,
    /// After so long without an object of a batch, others are asked for it too.
    pub stall: Duration,
    /// After so long without an object of a batch, it is given up.
    pub timeout: Duration,
}

/// A request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number.
    pub id: u64,
    /// Who to ask.
    pub source: String,
    /// What to ask for, by number.
    pub wants: Vec<usize>,
    /// Bytes that may come.
    pub bytes: u64,
}

/// What a source is thought to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// Everything: a publisher or registry.
    All,
    /// Nobody knows: a neighbour that was not asked yet. It is asked only where there is no publisher or registry.
    Unknown,
    /// These wants, by number.
    Some(HashSet<usize>),
}

/// How a batch came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchEnd {
    /// The source has said all that it will say.
    Over,
    /// It was given up.
    GivenUp,
}
