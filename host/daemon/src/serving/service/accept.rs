//! The intake of the service: from an incoming message to a job in the queue.

use std::sync::Arc;

use hotshoe_link::Incoming;

use super::{Job, Service};
use crate::serving::Arrival;
use crate::serving::answer::ReplyTo;
use crate::serving::intake;
use crate::serving::queue::{FullPolicy, PushError, Pushed};
use crate::serving::tally::{DropReason, SkipReason};

/// Stage of samples that the intake refuses.
pub(super) const INTAKE: &str = "intake";

impl Service {
    /// Accepts a sample from Zenoh or a local client.
    pub fn offer(&self, incoming: Incoming<'_>, answer: ReplyTo) {
        let full = FullPolicy::of(&self.running.config().intake);
        self.accept(incoming, answer, full);
    }

    /// Accepts a sample; blocks until there is room in the queue.
    pub fn offer_patiently(&self, incoming: Incoming<'_>, answer: ReplyTo) {
        self.accept(incoming, answer, FullPolicy::Wait);
    }

    fn accept(&self, incoming: Incoming<'_>, answer: ReplyTo, full: FullPolicy) {
        let is_file = matches!(answer, ReplyTo::File(_));
        let arrival = Arrival::of(&answer);
        let ticket = self.tally.accept(answer);
        let limit = self.running.config().intake.max_sample_bytes;
        let admitted = intake::admit(incoming, limit, self.clock.wall());
        let job = Job {
            sample: Arc::new(admitted.sample),
            is_file,
            ticket,
            arrived: self.clock.now(),
            trace: self.trace_tap.begin(admitted.context, arrival),
        };
        if let Some(refusal) = admitted.refusal {
            let serving = self.serving.load();
            self.fail(
                &job,
                serving.as_deref(),
                INTAKE,
                refusal.name(),
                &refusal.to_string(),
            );
            return;
        }
        if self.leaves_out(&job) {
            return;
        }
        let dropped = match self.queue.push(job, full) {
            Pushed::Stored => None,
            Pushed::Displaced(oldest) => Some((oldest, DropReason::QueueFullOldest)),
            Pushed::Refused(job, PushError::Full) => Some((job, DropReason::QueueFullNewest)),
            Pushed::Refused(job, PushError::Timeout) => Some((job, DropReason::BlockTimeout)),
            Pushed::Refused(job, PushError::Closed) => Some((job, DropReason::ShuttingDown)),
        };
        if let Some((job, reason)) = dropped {
            self.drop_job(&job, reason);
        }
        self.gauge_queue();
    }

    /// Ends a sample that the plan in force leaves out: because the device rests, or by its rate.
    fn leaves_out(&self, job: &Job) -> bool {
        let in_force = self.in_force.load();
        let (reason, message) = if let Some(message) = in_force.rest_message(job.arrived) {
            (SkipReason::Rest, message)
        } else if !self
            .rate_gate
            .admits(job.feed(), in_force.rate, job.arrived)
        {
            let why = in_force.rate_reason();
            let message = format!("the rate in force leaves this sample out: {why}");
            (SkipReason::Rate, message)
        } else {
            return false;
        };
        let serving = self.serving.load();
        self.skip(job, serving.as_deref(), reason, INTAKE, &message);
        true
    }
}
