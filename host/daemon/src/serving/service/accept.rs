//! The intake of the service: from an incoming message to a job in the queue.

use std::path::Path;
use std::sync::Arc;

use hotshoe_link::Incoming;

use super::{Job, Service};
use crate::serving::ServingRelease;
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
        let feed = feed_of(&incoming.source, &answer);
        let ticket = self.tally.accept(answer);
        let limit = self.running.config().intake.max_sample_bytes;
        let admitted = intake::admit(incoming, limit, self.clock.wall());
        let job = Job {
            sample: Arc::new(admitted.sample),
            feed,
            ticket,
            arrived: self.clock.now(),
        };
        if let Some(refusal) = admitted.refusal {
            let serving = self.serving.load();
            self.fail(
                &job,
                serving.as_deref().map(ServingRelease::release),
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
        let (reason, message) = if let Some(why) = in_force.rests(job.arrived) {
            (SkipReason::Rest, format!("the device rests: {why}"))
        } else if !self.rate_gate.admits(&job.feed, in_force.rate, job.arrived) {
            let why = in_force.rate_reason();
            let message = format!("the rate in force leaves this sample out: {why}");
            (SkipReason::Rate, message)
        } else {
            return false;
        };
        let serving = self.serving.load();
        let release = serving.as_deref().map(ServingRelease::release);
        self.skip(job, release, reason, INTAKE, &message);
        true
    }
}

fn feed_of(source: &str, answer: &ReplyTo) -> Arc<str> {
    let folder = match answer {
        ReplyTo::File(_) => Path::new(source).parent(),
        _ => None,
    };
    folder
        .and_then(Path::to_str)
        .map_or_else(|| source.into(), Into::into)
}
