//! The client for code in this process, without Zenoh: the server of the Open Inference Protocol, the page and the telemetry use it.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Instant;

use hotshoe_base::Clock;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_engine::Fault;
use hotshoe_link::Incoming;
use hotshoe_pipeline::Pipeline;
use hotshoe_protocol::status::Status;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Service;
use super::accept::INTAKE;
use crate::ending::Ending;
use crate::serving::answer::ReplyTo;
use crate::serving::{ServingRelease, Tracer, Viewer};

/// Access to the serving pipeline and to the intake. It may outlive the daemon: after the drain, samples are dropped as `shutting_down`.
#[derive(Clone)]
pub struct LocalClient {
    service: Arc<Service>,
}

/// The output of the pipeline for one sample, with parts as JSON.
#[derive(Debug, Deserialize)]
pub struct CallOutput {
    /// The sample's id.
    pub id: String,
    /// The release that processed it.
    pub release: CallRelease,
    /// The result; `null` if the policy keeps it on the device.
    pub insight: Box<RawValue>,
    /// The list of actions.
    pub actions: Box<RawValue>,
}

/// The release that processed a sample.
#[derive(Debug, Deserialize)]
pub struct CallRelease {
    /// Its generation.
    pub generation: u64,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The sample ended with an error, or was dropped.
    #[error("{message} (stage `{stage}`, {fault})")]
    Ended {
        /// Whether it failed or was dropped.
        ending: Ending,
        /// The component, model or part of the daemon where it ended.
        stage: String,
        /// The stable name under which it is counted.
        fault: String,
        /// The message for people.
        message: String,
    },
    /// The sample has not ended in time. It is still processed and counted.
    #[error(
        "the pipeline did not finish in time; allow more time, or try again when the device is less busy"
    )]
    Deadline,
    /// The end of the sample was not reported: a defect.
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

    /// The current status.
    pub fn status(&self) -> Status {
        self.service.status()
    }

    /// The clock of the daemon.
    pub fn clock(&self) -> &Clock {
        &self.service.clock
    }

    /// Shows the outputs of samples to a viewer from now on. There is one for each daemon.
    pub fn view(&self, viewer: Viewer) {
        self.service.output_tap.set(viewer);
    }

    /// Traces samples from now on. There is one tracer for each daemon.
    pub fn trace(&self, tracer: Tracer) {
        self.service.trace_tap.set(tracer);
    }

    /// The parts of the daemon.
    pub fn parts(&self) -> &Supervisor {
        self.service.link.parts()
    }

    /// The pipeline that serves. The reference keeps it loaded across a swap.
    pub fn pipeline(&self) -> Option<Arc<Pipeline>> {
        let serving = self.service.serving.load();
        serving
            .as_deref()
            .map(ServingRelease::pipeline)
            .map(Arc::clone)
    }

    /// Checks that the device may run a model that a client names, in place of the pipeline: it may not while it rests.
    ///
    /// # Errors
    /// [`CallError::Ended`], as for a sample.
    pub fn check_rest(&self) -> Result<(), CallError> {
        let in_force = self.service.in_force.load();
        match in_force.rest_message(self.service.clock.now()) {
            None => Ok(()),
            Some(message) => Err(CallError::Ended {
                ending: Ending::Rest,
                stage: INTAKE.to_owned(),
                fault: Fault::Skipped.name().to_owned(),
                message,
            }),
        }
    }

    /// Sends one sample through the intake, and waits for its end. Blocks up to `intake.block-timeout-ms` while the queue is full, then
    /// until `deadline`.
    ///
    /// # Errors
    /// [`CallError`]
    pub fn call(&self, incoming: Incoming<'_>, deadline: Instant) -> Result<CallOutput, CallError> {
        // With room for the answer, so that the worker never waits for the caller.
        let (sender, answer) = sync_channel(1);
        self.service.offer(incoming, ReplyTo::Call(sender));
        let (ending, body) = self
            .service
            .clock
            .recv_until(&answer, deadline)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => CallError::Deadline,
                RecvTimeoutError::Disconnected => CallError::Abandoned,
            })?;
        if ending == Ending::Result {
            return serde_json::from_slice(body.bytes()).map_err(|_| CallError::Abandoned);
        }
        let refused: Refused =
            serde_json::from_slice(body.bytes()).map_err(|_| CallError::Abandoned)?;
        Err(CallError::Ended {
            ending,
            stage: refused.stage,
            fault: refused.fault,
            message: refused.message,
        })
    }
}
