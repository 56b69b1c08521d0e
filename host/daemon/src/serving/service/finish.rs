//! The end of a sample: it is counted, published, and its sender gets the answer.

use hotshoe_config::CUSTOM_PREFIX;
use hotshoe_egress::{Answer, Classifier, Egress, Head, Refused};
use hotshoe_engine::{Action, Fault};
use hotshoe_link::{LinkError, Topic};
use hotshoe_outbox::Ticket;
use hotshoe_pipeline::{Decision, Outcome, RunMode, StageTime};
use hotshoe_trust::RestingOutput;

use super::work::SERVICE;
use super::{Job, Service};
use crate::ending::Ending;
use crate::serving::tally::{DropReason, Settlement, SkipReason};
use crate::serving::{Output, OutputKind, ServingRelease};

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
        served: &ServingRelease,
        outcome: Outcome,
        mode: &RunMode,
        is_full: bool,
    ) {
        match outcome.result {
            Ok(decision) => {
                self.succeed(job, served, &decision, &outcome.stages, mode);
                // The shadow runs in full, so that its results are compared with full ones.
                if let (Some(mirror), true) = (self.shadow.load().as_ref(), is_full) {
                    mirror.offer(&job.sample, decision.insight);
                }
            }
            Err(error) if error.fault == Fault::Skipped => {
                let (stage, message) = (&error.stage, &error.message);
                self.skip(job, Some(served), SkipReason::Component, stage, message);
            }
            Err(error) => {
                self.fail(
                    job,
                    Some(served),
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
        served: &ServingRelease,
        decision: &Decision,
        stages: &[StageTime],
        mode: &RunMode,
    ) {
        let Some(answer) = self.settle(job, Some(served), Settlement::Result) else {
            return;
        };
        let classifier = self.classifier(Some(served));
        if let Some(figures) = self.private_telemetry.get() {
            figures.take(classifier, &decision.insight, stages, &job.sample.source);
        }
        let release = served.release().digest();
        self.compared
            .add(release, || classifier.averaged(&decision.insight).ok());
        let head = Head::of(&job.sample, Some(served.release()));
        let insight = decision.published().then_some(&decision.insight);
        let mut durable = Vec::new();
        if let Some(insight) = insight
            && !mode.rests_output(RestingOutput::Insight)
        {
            durable.extend(self.publish_durable(
                INSIGHT,
                Topic::Insight,
                job,
                classifier.insight(head, insight, stages),
            ));
        }
        for action in &decision.actions {
            durable.extend(self.act(job, head, action, classifier, mode));
        }
        let body = || {
            classifier.answer(Answer {
                head,
                insight,
                actions: &decision.actions,
                stages,
            })
        };
        match self.outbox.as_ref().filter(|_| !durable.is_empty()) {
            None => answer.send(Ending::Result, body),
            // Once it is answered, it is durable.
            Some(outbox) => {
                let body = body();
                outbox.after(durable, move || answer.send(Ending::Result, || body));
            }
        }
    }

    /// Carries out what a policy decided, and keeps it where it is durable.
    fn act(
        &self,
        job: &Job,
        head: Head<'_>,
        action: &Action,
        classifier: &Classifier,
        mode: &RunMode,
    ) -> Option<Ticket> {
        match action {
            Action::Publish => None,
            Action::Send { .. } if mode.rests_output(RestingOutput::Custom) => None,
            Action::Send {
                topic,
                content_type,
                payload,
            } => match classifier.custom(topic, content_type, payload) {
                Ok(message) => {
                    let kept = self.outbox.as_ref().and_then(|outbox| {
                        let output = format!("{CUSTOM_PREFIX}{topic}");
                        outbox.offer(&output, message.class(), || message.kept(head, topic))
                    });
                    let sent = self.link.send(topic, &job.attachment(), message);
                    self.published(sent, head.id);
                    kept
                }
                Err(refused) => {
                    self.kept_back(&refused);
                    None
                }
            },
            Action::Drop { .. } | Action::Alert { .. }
                if mode.rests_output(RestingOutput::Action) =>
            {
                None
            }
            Action::Drop { .. } | Action::Alert { .. } => {
                let body = classifier.action(head, action);
                self.publish_durable(ACTION, Topic::Action, job, body)
            }
        }
    }

    /// Publishes a message, and keeps it until it has arrived, if it is durable.
    fn publish_durable(
        &self,
        output: &str,
        topic: Topic,
        job: &Job,
        body: Result<Egress, Refused>,
    ) -> Option<Ticket> {
        let kept = match (&self.outbox, &body) {
            (Some(outbox), Ok(body)) => outbox.offer(output, body.class(), || body.clone()),
            _ => None,
        };
        self.publish(topic, job, body);
        kept
    }

    /// Ends a sample that is left out: counts it and answers its sender. It is not published.
    pub(super) fn skip(
        &self,
        job: &Job,
        served: Option<&ServingRelease>,
        reason: SkipReason,
        stage: &str,
        message: &str,
    ) {
        let Some(answer) = self.settle(job, served, Settlement::Skipped(reason)) else {
            return;
        };
        let head = Head::of(&job.sample, served.map(ServingRelease::release));
        let ending = match reason {
            SkipReason::Rest => Ending::Rest,
            SkipReason::Component | SkipReason::Rate | SkipReason::Motion => Ending::Skip,
        };
        answer.send(ending, || {
            let classifier = self.classifier(served);
            classifier.error(head, stage, Fault::Skipped.name(), message)
        });
    }

    /// Ends a sample that failed: counts, publishes and answers it.
    pub(super) fn fail(
        &self,
        job: &Job,
        served: Option<&ServingRelease>,
        stage: &str,
        fault: &str,
        message: &str,
    ) {
        let Some(answer) = self.settle(job, served, Settlement::Failed { stage, fault }) else {
            return;
        };
        let head = Head::of(&job.sample, served.map(ServingRelease::release));
        // A message of a component that may not be shown was replaced by the worker.
        tracing::debug!(
            id = head.id,
            source = head.source,
            stage,
            fault,
            message,
            "a sample failed"
        );
        let body = self.classifier(served).error(head, stage, fault, message);
        self.show(OutputKind::Error, head.id, &body);
        self.published(
            self.link
                .publish(Topic::Error, &job.attachment(), body.clone()),
            head.id,
        );
        answer.send(Ending::Failure, || body);
    }

    /// Ends a sample whose worker does not come back from it. If it hangs after the sample was counted, the sample is answered alone.
    pub(super) fn fail_stuck(
        &self,
        job: &Job,
        served: Option<&ServingRelease>,
        fault: &str,
        message: &str,
    ) {
        self.fail(job, served, SERVICE, fault, message);
        job.ticket.reply().send(Ending::Failure, || {
            let head = Head::of(&job.sample, served.map(ServingRelease::release));
            self.classifier(served).error(head, SERVICE, fault, message)
        });
    }

    /// Drops a sample: counts it and answers its sender. It is not published, because there can be many drops. False if the sample had
    /// ended already.
    pub(super) fn drop_job(&self, job: &Job, reason: DropReason) -> bool {
        let serving = self.serving.load();
        let served = serving.as_deref();
        let Some(answer) = self.settle(job, served, Settlement::Dropped(reason)) else {
            return false;
        };
        let head = Head::of(&job.sample, served.map(ServingRelease::release));
        answer.send(Ending::Drop, || {
            let classifier = self.classifier(served);
            classifier.error(head, QUEUE, reason.name(), "the sample was dropped")
        });
        true
    }

    fn publish(&self, topic: Topic, job: &Job, body: Result<Egress, Refused>) {
        let id = &job.sample.id;
        match body {
            Ok(body) => {
                match topic {
                    Topic::Insight => self.show(OutputKind::Insight, id, &body),
                    Topic::Action => self.show(OutputKind::Action, id, &body),
                    Topic::Error => self.show(OutputKind::Error, id, &body),
                }
                let sent = self.link.publish(topic, &job.attachment(), body);
                self.published(sent, id);
            }
            Err(refused) => self.kept_back(&refused),
        }
    }

    /// Shows an output to the viewer in this process.
    fn show(&self, kind: OutputKind, id: &str, egress: &Egress) {
        let content_type = egress.content_type();
        self.output_tap.show(Output {
            kind,
            id,
            content_type,
            egress,
        });
    }

    fn published(&self, published: Result<(), LinkError>, id: &str) {
        if let Err(error) = published {
            self.tally.unpublished();
            tracing::warn!(id, %error, "cannot publish a message");
        }
    }
}
