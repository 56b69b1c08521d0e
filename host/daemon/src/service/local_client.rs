//! The daemon for callers on this machine that do not come over Zenoh: the server of the Open Inference Protocol.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Instant;

use hotshoe_link::Incoming;
use hotshoe_pipeline::Pipeline;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Service;
use crate::answer::{ReplyTo, Ending};
use crate::deploy::ServingRelease;

/// What serves, and a way in for samples. It outlives the daemon: after the drain every sample is dropped by name.
#[derive(Clone)]
pub struct LocalClient {
    service: Arc<Service>,
}

/// What the pipeline made of one sample, each part as JSON.
#[derive(Debug, Deserialize)]
pub struct CallOutput {
    /// The sample's id.
    pub id: String,
    /// The release that processed it.
    pub release: CallRelease,
    /// The result; `null` where the policy keeps it on the device.
    pub insight: Box<RawValue>,
    /// The list of all that the policy decided.
    pub actions: Box<RawValue>,
}

/// The release that processed a sample.
#[derive(Debug, Deserialize)]
pub struct CallRelease {
    /// Its generation.
    pub generation: u64,
}

/// Why a call of the pipeline has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The sample ended with an error, or was dropped.
    #[error("{message} (stage `{stage}`, {fault})")]
    Ended {
        /// Whether it failed or was dropped.
        ending: Ending,
        /// The component, model or part of the daemon that it ended at.
        stage: String,
        /// The stable name under which it is counted.
        fault: String,
        /// One sentence for a person.
        message: String,
    },
    /// It has not ended yet. It will, and is counted then.
    #[error(
        "the pipeline did not finish in time; allow more time, or try again when the device is less busy"
    )]
    Deadline,
    /// Nobody said how it ended.
    #[error("the sample was lost in the daemon; please report it")]
    Abandoned,
}

#[derive(Deserialize)]
struct Refused {
    stage: String,
    fault: String,
    message: String,
}

impl LocalClient {
    pub(crate) const fn new(service: Arc<Service>) -> Self {
        Self { service }
    }

    /// The release that serves at this moment. Whoever holds it keeps it whole across a swap.
    pub fn pipeline(&self) -> Option<Arc<Pipeline>> {
        let serving = self.service.serving.load();
        serving.as_deref().map(ServingRelease::pipeline).map(Arc::clone)
    }

    /// Sends one sample through the intake, as if it had come over Zenoh, and waits for its end. It blocks the calling thread: up to
    /// the intake's `block-timeout-ms` while the queue is full, then until `deadline`.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn call(&self, incoming: Incoming<'_>, deadline: Instant) -> Result<CallOutput, CallError> {
        // One answer, which never waits for whoever called.
        let (sender, answer) = sync_channel(1);
        self.service.offer(incoming, ReplyTo::Call(sender));
        let left = deadline.saturating_duration_since(Instant::now());
        let (ending, body) = answer.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => CallError::Deadline,
            RecvTimeoutError::Disconnected => CallError::Abandoned,
        })?;
        if ending == Ending::Result {
            return serde_json::from_slice(&body).map_err(|_| CallError::Abandoned);
        }
        let refused: Refused = serde_json::from_slice(&body).map_err(|_| CallError::Abandoned)?;
        Err(CallError::Ended {
            ending,
            stage: refused.stage,
            fault: refused.fault,
            message: refused.message,
        })
    }
}
