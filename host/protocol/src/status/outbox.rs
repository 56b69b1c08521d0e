//! The outbox, within the status of a device.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What must arrive, and has not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutboxStatus {
    /// The outbox: 32 hexadecimal digits.
    pub instance: String,
    /// Its epoch.
    pub epoch: u16,
    /// Records that have not been delivered.
    pub records: u64,
    /// Their bytes on the disk.
    pub bytes: u64,
    /// Bytes of all files.
    pub disk_bytes: u64,
    /// Age of the oldest of these records, in seconds.
    pub oldest_seconds: Option<f64>,
    /// Losses that have not been delivered.
    pub losses: u64,
    /// Records that were lost, by cause.
    pub lost: BTreeMap<String, u64>,
    /// Records that were refused for their size or names since the start.
    pub rejected: u64,
    /// Records that were delivered since the start.
    pub delivered: u64,
    /// Commits since the start.
    pub commits: u64,
    /// How long the last commit took, in seconds.
    pub last_commit_seconds: f64,
    /// Bytes that were written to the disk since the start.
    pub written_bytes: u64,
    /// Where records go.
    pub outlet: OutletStatus,
    /// Why the outbox cannot be used. Nothing is durable then.
    pub error: Option<OutboxError>,
}

/// Where records go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutletStatus {
    /// `zenoh`, or empty where there is none.
    pub name: String,
    /// What it does.
    pub state: OutletState,
    /// The other end, if it is there.
    pub peer: Option<String>,
    /// Why the last batch did not arrive.
    pub error: Option<OutboxError>,
}

/// What an outlet does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutletState {
    /// There is none.
    #[default]
    Off,
    /// The other end is not there.
    Waiting,
    /// All is delivered.
    Idle,
    /// Records are on their way.
    Delivering,
    /// The other end did not take the last batch.
    Failing,
}

/// An error by its stable name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutboxError {
    /// The stable name.
    pub name: String,
    /// The message for people.
    pub message: String,
}
