//! What a device says of itself, as JSON under its `status` key.

use hotshoe_trust::{Digest, Release, Verified};
use serde::{Deserialize, Serialize};

use crate::latency::StageLatency;
use crate::tally::Counters;

/// A device's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The site's name.
    pub site: String,
    /// The device's name.
    pub device: String,
    /// The daemon's version.
    pub version: String,
    /// The release that serves.
    pub release: ReleaseStatus,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Threads that process samples.
    pub workers: usize,
    /// The queue of samples.
    pub queue: QueueStatus,
    /// What became of the samples since the start.
    pub counters: Counters,
    /// Latency of each stage, over the most recent samples.
    pub stages: Vec<StageLatency>,
    /// The Zenoh session.
    pub session: SessionStatus,
}

/// The release that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// Its name.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its generation.
    pub generation: u64,
    /// Names of the trusted keys that signed it.
    pub signers: Vec<String>,
}

/// The queue of samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Samples that wait.
    pub len: usize,
    /// Most that may wait.
    pub capacity: usize,
    /// What happens when it is full: `block`, `drop-oldest` or `drop-newest`.
    pub policy: String,
}

/// The Zenoh session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The session's id, which is made anew at each start.
    pub id: String,
    /// Endpoints that it listens on.
    pub locators: Vec<String>,
    /// Other sessions that it is connected to.
    pub peers: usize,
}

impl ReleaseStatus {
    /// Describes a verified release.
    pub fn of(release: &Verified<Release>) -> Self {
        Self {
            name: release.name.clone(),
            digest: release.digest(),
            generation: release.generation,
            signers: release.signers().to_vec(),
        }
    }
}
