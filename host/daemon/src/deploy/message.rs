//! Messages to the deploy thread.

use std::sync::mpsc::SyncSender;
use std::time::Instant;

use hotshoe_delivery::{FetchError, TransferStats};
use hotshoe_engine::RaisedInterrupt;
use hotshoe_trust::{Package, ReleaseKind};
use serde_json::Value;

use crate::command::{Command, CommandError};

/// A message to the deploy thread.
pub(super) enum Message {
    /// A statement of what the site should run.
    Statement(Vec<u8>),
    /// What is stated about a rollout.
    Rollout(Vec<u8>),
    /// An order to this device.
    Order(Vec<u8>, Reply),
    /// A command of the operator.
    Command(Command, Reply),
    /// New trusted keys.
    Trust(Vec<u8>),
    /// The fetch of a package of this kind has ended.
    Package(ReleaseKind, u64, Result<Package, FetchError>),
    /// The fetch of a release's blobs has ended, by its kind.
    Blobs(ReleaseKind, u64, Result<TransferStats, FetchError>),
    /// The daemon stops.
    Stop,
}

/// Destination of an answer.
pub(super) struct Reply {
    /// The channel of the waiting caller.
    pub to: SyncSender<Result<Value, CommandError>>,
    /// When the caller stops waiting.
    pub until: Instant,
    /// Keeps components from being compiled until the message is received.
    pub interrupt: Option<RaisedInterrupt>,
}

impl Reply {
    /// Sends an answer. The caller may have stopped waiting.
    pub(super) fn answer(&self, answer: Result<Value, CommandError>) {
        let _ = self.to.send(answer);
    }
}
