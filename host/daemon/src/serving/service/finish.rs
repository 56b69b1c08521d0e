//! The end of a sample: it is counted, published, and its sender gets the answer.

use hotshoe_config::CUSTOM_PREFIX;
use hotshoe_engine::{Action, Fault};
use hotshoe_link::{LinkError, Topic};
use hotshoe_pipeline::{Decision, Outcome, RunMode, StageTime};
use hotshoe_trust::{Release, RestingOutput, Verified};
use serde::Serialize;

use super::{Job, Service};
use crate::ending::Ending;
use crate::serving::ServingRelease;
use crate::serving::answer::ReplyTo;
use crate::serving::output::{
    ActionMessage, AnswerMessage, CustomMessage, ErrorMessage, Head, InsightMessage,
};
use crate::serving::tally::{DropReason, Settlement, SkipReason};

/// Stage of samples that are dropped.
const QUEUE: &str = "queue";
/// The names of outputs in `outbox.durable`.
const INSIGHT: &str = "insight";
const ACTION: &str = "action";

impl Service {
    /// Ends a sample that was processed in `mode`. `is_full` says that the mode leaves nothing out.
    pub(super) fn finish(
        &self,
        job: &Job,
        release: &Verified<Release>,
        outcome: Outcome,
        mode: &RunMode,
        is_full: bool,
    ) {
        match outcome.result {
            Ok(decision) => {
                self.succeed(job, release, &decision, &outcome.stages, mode);
                // The shadow runs in full, so that its results are compared with full ones.
                if let (Some(mirror), true) = (self.shadow.load().as_ref(), is_full) {
                    mirror.offer(&job.sample, decision.insight);
                }
            }
            Err(error) if error.fault == Fault::Skipped => {
                let (stage, message) = (&error.stage, &error.message);
                self.skip(job, Some(release), SkipReason::Component, stage, message);
            }
            Err(error) => {
                self.fail(
                    job,
                    Some(release),
                    &error.stage,
                    error.fault.name(),
                    &error.message,
                );
            }
        }
    }

    fn succeed(
        &self,
        job: &Job,
        release: &Verified<Release>,
        decision: &Decision,
        stages: &[StageTime],
        mode: &RunMode,
    ) {
        let Some(answer) = job.ticket.settle(Settlement::Result) else {
            return;
        };
        let head = Head::of(&job.sample, Some(release));
        let insight = decision.published().then_some(&decision.insight);
        let mut durable = Vec::new();
        if let Some(insight) = insight
            && !mode.rests_output(RestingOutput::Insight)
        {
            let body = to_json(&InsightMessage {
                head,
                insight,
                stages,
            });
            durable.extend(self.keep(INSIGHT, || body.clone()));
            self.published(self.link.publish(Topic::Insight, head.id, body), head.id);
        }
        for action in &decision.actions {
            durable.extend(self.act(head, action, mode));
        }
        let body = AnswerMessage {
            head,
            insight,
            actions: &decision.actions,
            stages,
        };
        let Some(outbox) = self.outbox.as_ref().filter(|_| !durable.is_empty()) else {
            return reply(answer, Ending::Result, &body);
        };
        // Once it is answered, it is durable.
        let body = body_for(&answer, Ending::Result, &body);
        outbox.after(durable, move || answer.send(Ending::Result, &body));
    }

    /// Publishes an action, and keeps it where it is durable.
    fn act(
        &self,
        head: Head<'_>,
        action: &Action,
        mode: &RunMode,
    ) -> Option<hotshoe_outbox::Ticket> {
        match action {
            Action::Publish => None,
            Action::Send { .. } if mode.rests_output(RestingOutput::Custom) => None,
            Action::Send {
                topic,
                content_type,
                payload,
            } => {
                let kept = self.keep(&format!("{CUSTOM_PREFIX}{topic}"), || {
                    to_json(&CustomMessage::new(head, topic, content_type, payload))
                });
                let sent = self
                    .link
                    .send(topic, content_type, head.id, payload.clone());
                self.published(sent, head.id);
                kept
            }
            Action::Drop { .. } | Action::Alert { .. }
                if mode.rests_output(RestingOutput::Action) =>
            {
                None
            }
            Action::Drop { .. } | Action::Alert { .. } => {
                let body = to_json(&ActionMessage { head, action });
                let kept = self.keep(ACTION, || body.clone());
                self.published(self.link.publish(Topic::Action, head.id, body), head.id);
                kept
            }
        }
    }

    /// Keeps an output until it has arrived, if it is durable.
    fn keep(&self, output: &str, body: impl FnOnce() -> Vec<u8>) -> Option<hotshoe_outbox::Ticket> {
        self.outbox.as_ref()?.offer(output, body)
    }

    /// Ends a sample that is left out: counts it and answers its sender. It is not published.
    pub(super) fn skip(
        &self,
        job: &Job,
        release: Option<&Verified<Release>>,
        reason: SkipReason,
        stage: &str,
        message: &str,
    ) {
        let Some(answer) = job.ticket.settle(Settlement::Skipped(reason)) else {
            return;
        };
        let body = ErrorMessage {
            head: Head::of(&job.sample, release),
            stage,
            fault: Fault::Skipped.name(),
            message,
        };
        let ending = match reason {
            SkipReason::Rest => Ending::Rest,
            SkipReason::Component | SkipReason::Rate | SkipReason::Motion => Ending::Skip,
        };
        reply(answer, ending, &body);
    }

    /// Ends a sample that failed: counts, publishes and answers it.
    pub(super) fn fail(
        &self,
        job: &Job,
        release: Option<&Verified<Release>>,
        stage: &str,
        fault: &str,
        message: &str,
    ) {
        let Some(answer) = job.ticket.settle(Settlement::Failed { stage, fault }) else {
            return;
        };
        let body = ErrorMessage {
            head: Head::of(&job.sample, release),
            stage,
            fault,
            message,
        };
        tracing::debug!(
            id = body.head.id,
            source = body.head.source,
            stage,
            fault,
            message,
            "a sample failed"
        );
        self.publish(Topic::Error, &body, body.head.id);
        reply(answer, Ending::Failure, &body);
    }

    /// Drops a sample: counts it and answers its sender. It is not published, because there can be many drops. False if the sample had
    /// ended already.
    pub(super) fn drop_job(&self, job: &Job, reason: DropReason) -> bool {
        let Some(answer) = job.ticket.settle(Settlement::Dropped(reason)) else {
            return false;
        };
        let serving = self.serving.load();
        let body = ErrorMessage {
            head: Head::of(&job.sample, serving.as_deref().map(ServingRelease::release)),
            stage: QUEUE,
            fault: reason.name(),
            message: "the sample was dropped",
        };
        reply(answer, Ending::Drop, &body);
        true
    }

    fn publish(&self, topic: Topic, body: &impl Serialize, id: &str) {
        self.published(self.link.publish(topic, id, to_json(body)), id);
    }

    fn published(&self, published: Result<(), LinkError>, id: &str) {
        if let Err(error) = published {
            self.tally.unpublished();
            tracing::warn!(id, %error, "cannot publish a message");
        }
    }
}

/// Sends an answer. The JSON is only produced if it is needed.
fn reply(answer: ReplyTo, ending: Ending, body: &impl Serialize) {
    let body = body_for(&answer, ending, body);
    answer.send(ending, &body);
}

/// The JSON of an answer; empty where none is needed.
fn body_for(answer: &ReplyTo, ending: Ending, body: &impl Serialize) -> Vec<u8> {
    if answer.wants_body(ending) {
        to_json(body)
    } else {
        Vec::new()
    }
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot write a message as JSON; please report it");
        b"null".to_vec()
    })
}
