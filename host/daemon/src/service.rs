//! The service: the intake queue, the worker threads, and the end of each sample.

mod local_client;
mod worker_pool;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use hotshoe_base::{Clock, micros};
use hotshoe_config::MESSAGE_OVERHEAD;
use hotshoe_engine::{Action, Sample};
use hotshoe_link::{Incoming, Link, LinkError, Topic};
use hotshoe_pipeline::latency::Latency;
use hotshoe_pipeline::{Decision, Outcome, StageTime, Worker};
use hotshoe_protocol::event::{KnownKind, Subject};
use hotshoe_protocol::status::{KeyStatus, QueueStatus, ReleaseStatus, STATUS_FORMAT, Status};
use hotshoe_trust::{Device, InstanceMode, Release, Verified};
use serde::Serialize;

use crate::answer::{Ending, ReplyTo};
use crate::deploy::{PublishedStatus, SampleOutcome, ServingRelease, ShadowMirror};
use crate::intake;
use crate::metrics::ModelMeter;
use crate::output::{ActionMessage, AnswerMessage, ErrorMessage, Head, InsightMessage};
use crate::queue::{FullPolicy, PushError, Pushed, Queue};
use crate::recording::Recorder;
use crate::reload::RunningConfig;
use crate::tally::{DropReason, Settlement, Tally, Ticket};
use crate::watch::FailedFiles;

pub use local_client::{CallError, CallOutput, CallRelease, LocalClient};
pub use worker_pool::{DrainReport, WorkerPool};

/// Stage of samples that the intake refuses.
const INTAKE: &str = "intake";
/// Stage of samples that are dropped.
const QUEUE: &str = "queue";
/// Stage of samples that fail in the daemon itself.
const SERVICE: &str = "service";
/// Fault of a sample whose processing panicked: a defect of the host that affects only this sample.
const HOST_PANIC: &str = "host_panic";
/// Message of this fault.
const HOST_PANICKED: &str = "the daemon itself panicked on this sample; please report it";

/// An accepted sample that has not ended.
struct Job {
    sample: Arc<Sample>,
    ticket: Ticket,
    arrived: Instant,
}

/// State that senders, workers and the status share.
pub struct Service {
    queue: Queue<Job>,
    running: Arc<RunningConfig>,
    identity: Device,
    serving: ArcSwapOption<ServingRelease>,
    shadow: ArcSwapOption<ShadowMirror>,
    published_status: Arc<PublishedStatus>,
    link: Arc<Link>,
    tally: Tally,
    latency: Latency,
    meter: ModelMeter,
    recorder: Recorder,
    /// `Some` if a folder is watched.
    failed_files: Option<Arc<FailedFiles>>,
    started: Instant,
    clock: Clock,
    /// The current job of each worker.
    worker_slots: Vec<Mutex<Option<Arc<Job>>>>,
}

impl Service {
    /// A service without workers; see [`Service::spawn_workers`].
    pub fn new(
        running: Arc<RunningConfig>,
        serving: Option<Arc<ServingRelease>>,
        published_status: Arc<PublishedStatus>,
        link: Arc<Link>,
    ) -> Arc<Self> {
        let clock = link.parts().clock().clone();
        let config = running.config();
        let worker_slots = (0..config.workers.threads)
            .map(|_| Mutex::default())
            .collect();
        let most = config
            .zenoh
            .max_message_bytes
            .saturating_sub(MESSAGE_OVERHEAD);
        let recorder = Recorder::new(
            config.record.clone(),
            config.identity(),
            most,
            clock.clone(),
        );
        let watch = config.watch.as_ref();
        let events = published_status.events();
        let failed_files = watch.map(|_| FailedFiles::open(&config.data, Arc::clone(events)));
        if let Some(served) = &serving {
            events.follow_components(served);
        }
        if let Some(failed_files) = &failed_files {
            failed_files.serve(serving.as_ref().map(|served| served.release().digest()));
        }
        Arc::new(Self {
            queue: Queue::new(config.intake.queue).timed_by(clock.clone()),
            identity: config.identity(),
            running,
            serving: ArcSwapOption::new(serving),
            shadow: ArcSwapOption::empty(),
            published_status,
            link,
            tally: Tally::default(),
            latency: Latency::default(),
            meter: ModelMeter::default(),
            recorder,
            failed_files,
            started: clock.now(),
            clock,
            worker_slots,
        })
    }

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
        let ticket = self.tally.accept(answer);
        let limit = self.running.config().intake.max_sample_bytes;
        let admitted = intake::admit(incoming, limit, self.clock.wall());
        let job = Job {
            sample: Arc::new(admitted.sample),
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

    fn work(&self, slot: usize) {
        let mut worker: Option<Worker> = None;
        self.clear_slot(slot);
        while let Some(job) = self.take(slot) {
            self.gauge_queue();
            // The sample keeps this release to its end, also across a swap.
            match self.serving.load_full() {
                Some(served) => self.process(&job, &served, &mut worker),
                None => {
                    self.drop_job(&job, DropReason::NoRelease);
                }
            }
            self.set_slot(slot, None);
            if self.needs_source_order() {
                self.queue.notify_ready();
            }
        }
    }

    /// Processes one sample. A panic is caught: if the thread ended, its slot would stay occupied, and other samples of this source
    /// would wait for it.
    fn process(&self, job: &Job, served: &Arc<ServingRelease>, worker: &mut Option<Worker>) {
        job.ticket.begin();
        let began = self.clock.now();
        let run = AssertUnwindSafe(|| self.run(job, served, worker));
        if catch_unwind(run).is_err() {
            *worker = None;
            served
                .observer()
                .add(SampleOutcome::Trap, micros(self.clock.elapsed(began)));
            let release = Some(served.release());
            self.fail(job, release, SERVICE, HOST_PANIC, HOST_PANICKED);
        }
    }

    /// Processes one sample, with a new worker if the release has changed.
    fn run(&self, job: &Job, served: &Arc<ServingRelease>, worker: &mut Option<Worker>) {
        if worker
            .as_ref()
            .is_none_or(|w| !Arc::ptr_eq(w.pipeline(), served.pipeline()))
        {
            // The old one is dropped first, so that memory for one is enough.
            *worker = None;
        }
        let ready = worker.get_or_insert_with(|| served.worker());
        let started = self.clock.now();
        let outcome = self.run_pipeline(ready, job, served);
        let time = micros(self.clock.elapsed(started));
        served.observer().add(SampleOutcome::of(&outcome), time);
        for failure in &outcome.tolerated {
            self.tally.tolerated(&failure.stage);
        }
        self.record(job, started, &outcome.stages);
        self.meter.update(served.pipeline().models());
        self.finish(job, served.release(), outcome);
    }

    /// Runs the pipeline, and offers intermediate results to recordings.
    fn run_pipeline(&self, worker: &mut Worker, job: &Job, served: &ServingRelease) -> Outcome {
        if !self.recorder.is_active() {
            return worker.process(&job.sample, &self.identity);
        }
        let (outcome, seen) = worker.observe(&job.sample, &self.identity);
        let decision = outcome.result.as_ref().ok();
        self.recorder
            .offer(served.release(), &job.sample, decision, &seen);
        outcome
    }

    /// Applies changes of the configuration.
    pub fn reconfigure(&self) {
        self.recorder
            .configure(self.running.config().record.clone());
    }

    /// Answers a recorder's request.
    pub fn record_request(&self, request: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let serving = self.serving.load();
        let release = serving.as_deref().map(ServingRelease::release);
        self.recorder.answer(request, release)
    }

    /// Swaps the serving release. Returns the old one, so that no worker drops it, and the duration of the swap of the pointer. Samples
    /// in flight keep their release.
    pub fn swap(
        &self,
        next: Option<Arc<ServingRelease>>,
    ) -> (Option<Arc<ServingRelease>>, Duration) {
        if let Some(failed_files) = &self.failed_files {
            failed_files.serve(next.as_ref().map(|served| served.release().digest()));
        }
        let next_subject = next.as_ref().map(|served| {
            self.published_status.events().follow_components(served);
            let release = served.release();
            Subject::Release {
                name: release.name.clone(),
                generation: release.generation,
                digest: release.digest(),
            }
        });
        let started = self.clock.now();
        let before = self.serving.swap(next);
        let elapsed = self.clock.elapsed(started);
        if let Some(subject) = next_subject {
            let events = self.published_status.events();
            events.record(KnownKind::ReleaseSwapped, subject, None, &[]);
        }
        // The new release may not need an order per source.
        self.queue.notify_ready();
        (before, elapsed)
    }

    /// Starts or stops copying samples and insights to a shadow.
    pub fn shadow(&self, mirror: Option<Arc<ShadowMirror>>) {
        self.shadow.store(mirror);
    }

    /// Takes the next job. It is always in the queue or in a slot, so that a drain finds it.
    fn take(&self, slot: usize) -> Option<Arc<Job>> {
        self.queue.pop_ready(
            || {
                let busy = if self.needs_source_order() {
                    self.running_jobs()
                } else {
                    Vec::new()
                };
                move |job| {
                    busy.iter()
                        .all(|other| other.sample.source != job.sample.source)
                }
            },
            |job| {
                let job = Arc::new(job);
                self.set_slot(slot, Some(Arc::clone(&job)));
                job
            },
        )
    }

    /// Whether samples of one source must be processed in order: a model or an instance keeps state per source.
    fn needs_source_order(&self) -> bool {
        let serving = self.serving.load();
        serving.as_ref().is_some_and(|served| {
            let release = served.release();
            let mut models = release.models.values();
            let mut components = release.components.values();
            models.any(|model| !model.state.is_empty())
                || components.any(|component| component.instance == InstanceMode::PerSource)
        })
    }

    /// The current jobs of all workers.
    fn running_jobs(&self) -> Vec<Arc<Job>> {
        let worker_slots = self.worker_slots.iter();
        worker_slots
            .filter_map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .collect()
    }

    fn record(&self, job: &Job, started: Instant, stages: &[StageTime]) {
        self.latency.record("queue", micros(started - job.arrived));
        for stage in stages {
            self.latency.record(&stage.name, stage.micros);
        }
        self.latency
            .record("total", micros(self.clock.elapsed(job.arrived)));
    }

    fn finish(&self, job: &Job, release: &Verified<Release>, outcome: Outcome) {
        match outcome.result {
            Ok(decision) => {
                self.succeed(job, release, &decision, &outcome.stages);
                if let Some(mirror) = self.shadow.load().as_ref() {
                    mirror.offer(&job.sample, decision.insight);
                }
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
    ) {
        let Some(answer) = job.ticket.settle(Settlement::Result) else {
            return;
        };
        let head = Head::of(&job.sample, Some(release));
        let insight = decision.published().then_some(&decision.insight);
        if let Some(insight) = insight {
            self.publish(
                Topic::Insight,
                &InsightMessage {
                    head,
                    insight,
                    stages,
                },
                head.id,
            );
        }
        for action in &decision.actions {
            match action {
                Action::Publish => {}
                Action::Send {
                    topic,
                    content_type,
                    payload,
                } => {
                    let payload = payload.clone();
                    self.published(
                        self.link.send(topic, content_type, head.id, payload),
                        head.id,
                    );
                }
                Action::Drop { .. } | Action::Alert { .. } => {
                    self.publish(Topic::Action, &ActionMessage { head, action }, head.id);
                }
            }
        }
        let body = AnswerMessage {
            head,
            insight,
            actions: &decision.actions,
            stages,
        };
        reply(answer, Ending::Result, &body);
    }

    fn fail(
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
    fn drop_job(&self, job: &Job, reason: DropReason) -> bool {
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

    /// Fails the job that is still in the slot because this thread panicked and was restarted.
    fn clear_slot(&self, slot: usize) {
        let left = self
            .worker_slots
            .get(slot)
            .and_then(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(job) = left {
            let serving = self.serving.load();
            let release = serving.as_deref().map(ServingRelease::release);
            self.fail(&job, release, SERVICE, HOST_PANIC, HOST_PANICKED);
        }
    }

    fn set_slot(&self, slot: usize, job: Option<Arc<Job>>) {
        if let Some(slot) = self.worker_slots.get(slot) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = job;
        }
    }

    fn gauge_queue(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a queue holds at most 65,536")]
        metrics::gauge!("hotshoe_queue_depth").set(self.queue.len() as f64);
    }

    /// The current status.
    pub fn status(&self) -> Status {
        let serving = self.serving.load();
        let health = serving.as_ref().map(|served| served.observer().read());
        let mut view = self.published_status.view();
        let config = self.running.config();
        if let (Some(trial), Some(seen)) = (&mut view.slots.trial, &health) {
            trial.samples = seen.samples;
            trial.seconds = view
                .probation_since
                .map_or(0, |since| self.clock.elapsed(since).as_secs());
        }
        Status {
            format: STATUS_FORMAT,
            site: self.identity.site.clone(),
            device: self.identity.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            labels: self.identity.labels.clone(),
            release: serving.as_ref().map(|s| ReleaseStatus::of(s.release())),
            slots: view.slots,
            deploy: view.deploy,
            last_rollback: view.last_rollback,
            health,
            trust_version: view.trust_version,
            development: config.development,
            key: self.link.key().and_then(KeyStatus::of),
            swaps: view.swaps,
            rollbacks: view.rollbacks,
            refused: view.refused,
            ignored: view.ignored,
            last_swap_ns: view.last_swap_ns,
            stale: view.stale,
            uptime_s: self.clock.elapsed(self.started).as_secs(),
            workers: self.worker_slots.len(),
            queue: QueueStatus {
                len: self.queue.len(),
                capacity: self.queue.capacity(),
                policy: config.intake.when_full.name().to_owned(),
            },
            counters: self.tally.snapshot(),
            stages: self.latency.snapshot(),
            models: serving
                .as_ref()
                .map(|served| served.pipeline().model_status())
                .unwrap_or_default(),
            components: serving
                .as_ref()
                .map(|served| served.component_status(self.clock.now()))
                .unwrap_or_default(),
            memory: view.memory.as_ref().map(crate::memory::status),
            session: self.link.status(),
            parts: self.link.parts().list(),
            log: crate::log::status(),
            reload: self.running.last(),
            watch: self
                .failed_files
                .as_ref()
                .map(|failed_files| failed_files.status()),
            events: self.published_status.events().recent(),
        }
    }

    /// The record of failed files, if a folder is watched.
    pub fn failed_files(&self) -> Option<Arc<FailedFiles>> {
        self.failed_files.clone()
    }
}

/// Sends an answer. The JSON is only produced if it is needed.
fn reply(answer: ReplyTo, ending: Ending, body: &impl Serialize) {
    let body = if answer.wants_body(ending) {
        to_json(body)
    } else {
        Vec::new()
    };
    answer.send(ending, &body);
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_else(|error| {
        tracing::error!(%error, "cannot write a message as JSON; please report it");
        b"null".to_vec()
    })
}
