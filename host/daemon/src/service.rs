//! The worker threads, and what becomes of each sample.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use hotshoe_engine::{Action, Sample};
use hotshoe_trust::Device;
use serde::Serialize;

use crate::answer::{Answer, Ending};
use crate::config::Config;
use crate::intake;
use crate::latency::{Latency, micros};
use crate::link::{Incoming, Link, Topic};
use crate::output::{ActionMessage, AnswerMessage, ErrorMessage, Head, InsightMessage};
use crate::pipeline::{Decision, Outcome, Pipeline, StageTime, Worker};
use crate::queue::{Full, Pushed, Queue, Refusal};
use crate::status::{QueueStatus, ReleaseStatus, Status};
use crate::tally::{Counters, DropReason, Settlement, Tally, Ticket};

/// Stage of samples that are refused as they arrive.
const INTAKE: &str = "intake";
/// Stage of samples that are dropped.
const QUEUE: &str = "queue";
/// Stage of samples that end in the daemon itself.
const SERVICE: &str = "service";
/// Fault of a sample whose processing panicked: a defect of the host, which costs that sample alone.
const HOST_PANIC: &str = "host_panic";

/// One accepted sample on its way.
struct Job {
    sample: Sample,
    ticket: Ticket,
    arrived: Instant,
}

/// What senders, workers and the status share.
pub struct Service {
    queue: Queue<Job>,
    full: Full,
    config: Config,
    identity: Device,
    pipeline: ArcSwap<Pipeline>,
    link: Arc<Link>,
    tally: Tally,
    latency: Latency,
    started: Instant,
    /// What each worker is busy with.
    desks: Vec<Mutex<Option<Arc<Job>>>>,
}

/// The worker threads.
#[derive(Debug)]
pub struct Crew {
    threads: Vec<JoinHandle<()>>,
    finished: Receiver<()>,
}

/// Tells that a worker ended, however it ended.
struct Leaving(Sender<()>);

impl Drop for Leaving {
    fn drop(&mut self) {
        // Nobody listens after the deadline.
        let _ = self.0.send(());
    }
}

/// How the service ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DrainReport {
    /// Whether every sample was finished in time.
    pub finished: bool,
    /// Samples that were dropped because the time was over.
    pub dropped: u64,
    /// All counts at the end; nothing is in flight.
    pub counters: Counters,
}

impl Service {
    /// A service that nothing works for yet; see [`Service::hire`].
    pub fn new(config: Config, pipeline: Arc<Pipeline>, link: Arc<Link>) -> Arc<Self> {
        let desks = (0..config.workers.threads)
            .map(|_| Mutex::default())
            .collect();
        Arc::new(Self {
            queue: Queue::new(config.intake.queue),
            full: config.intake.full(),
            identity: config.identity(),
            config,
            pipeline: ArcSwap::new(pipeline),
            link,
            tally: Tally::default(),
            latency: Latency::default(),
            started: Instant::now(),
            desks,
        })
    }

    /// Starts the worker threads.
    ///
    /// # Errors
    /// Where the machine has no thread left.
    pub fn hire(self: &Arc<Self>) -> io::Result<Crew> {
        let (sender, finished) = channel();
        let mut threads = Vec::with_capacity(self.desks.len());
        for desk in 0..self.desks.len() {
            let service = Arc::clone(self);
            let leaving = Leaving(sender.clone());
            let spawned = thread::Builder::new()
                .name(format!("hotshoe-worker-{desk}"))
                .spawn(move || {
                    let _leaving = leaving;
                    service.work(desk);
                });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.queue.close();
                    return Err(error);
                }
            }
        }
        Ok(Crew { threads, finished })
    }

    /// Takes a sample that came over Zenoh.
    pub fn offer(&self, incoming: Incoming<'_>, answer: Answer) {
        self.accept(incoming, answer, self.full);
    }

    /// Takes a sample that can wait where it is until there is room.
    pub fn offer_patiently(&self, incoming: Incoming<'_>, answer: Answer) {
        self.accept(incoming, answer, Full::Wait);
    }

    fn accept(&self, incoming: Incoming<'_>, answer: Answer, full: Full) {
        let ticket = self.tally.accept(answer);
        let limit = self.config.intake.max_sample_bytes;
        let admitted = intake::admit(incoming, limit, SystemTime::now());
        let job = Job {
            sample: admitted.sample,
            ticket,
            arrived: Instant::now(),
        };
        if let Some(refusal) = admitted.refusal {
            let pipeline = self.pipeline.load();
            self.fail(
                &job,
                &pipeline,
                INTAKE,
                refusal.name(),
                &refusal.to_string(),
            );
            return;
        }
        let dropped = match self.queue.push(job, full) {
            Pushed::Stored => None,
            Pushed::Displaced(oldest) => Some((oldest, DropReason::QueueFullOldest)),
            Pushed::Refused(job, Refusal::Full) => Some((job, DropReason::QueueFullNewest)),
            Pushed::Refused(job, Refusal::Timeout) => Some((job, DropReason::BlockTimeout)),
            Pushed::Refused(job, Refusal::Closed) => Some((job, DropReason::ShuttingDown)),
        };
        if let Some((job, reason)) = dropped {
            self.drop_job(&job, reason);
        }
        self.gauge_queue();
    }

    fn work(&self, desk: usize) {
        let mut worker: Option<Worker> = None;
        while let Some(job) = self.take(desk) {
            self.gauge_queue();
            // The sample keeps this pipeline to its end, whatever is swapped meanwhile.
            let pipeline = self.pipeline.load_full();
            worker = worker.filter(|w| Arc::ptr_eq(w.pipeline(), &pipeline));
            let ready = worker.get_or_insert_with(|| pipeline.worker());
            let started = Instant::now();
            let run = AssertUnwindSafe(|| ready.process(&job.sample, &self.identity));
            if let Ok(outcome) = catch_unwind(run) {
                self.record(&job, started, &outcome.stages);
                self.finish(&job, &pipeline, outcome);
            } else {
                worker = None;
                let message = "the daemon itself failed on this sample; please report it";
                self.fail(&job, &pipeline, SERVICE, HOST_PANIC, message);
            }
            self.put_on_desk(desk, None);
        }
    }

    /// The next job, which is in the queue or on the desk at every moment, so that the end of the service finds it.
    fn take(&self, desk: usize) -> Option<Arc<Job>> {
        self.queue.pop_into(|job| {
            let job = Arc::new(job);
            self.put_on_desk(desk, Some(Arc::clone(&job)));
            job
        })
    }

    fn record(&self, job: &Job, started: Instant, stages: &[StageTime]) {
        self.latency.record("queue", micros(started - job.arrived));
        for stage in stages {
            self.latency.record(&stage.name, stage.micros);
        }
        self.latency.record("total", micros(job.arrived.elapsed()));
    }

    fn finish(&self, job: &Job, pipeline: &Pipeline, outcome: Outcome) {
        match outcome.result {
            Ok(decision) => self.succeed(job, pipeline, &decision, &outcome.stages),
            Err(error) => {
                self.fail(
                    job,
                    pipeline,
                    &error.stage,
                    error.fault.name(),
                    &error.message,
                );
            }
        }
    }

    fn succeed(&self, job: &Job, pipeline: &Pipeline, decision: &Decision, stages: &[StageTime]) {
        let Some(answer) = job.ticket.settle(Settlement::Result) else {
            return;
        };
        let head = Head::of(&job.sample, pipeline.release());
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
        for action in decision.actions.iter().filter(|a| **a != Action::Publish) {
            self.publish(Topic::Action, &ActionMessage { head, action }, head.id);
        }
        let body = AnswerMessage {
            head,
            insight,
            actions: &decision.actions,
            stages,
        };
        give(answer, Ending::Result, &body);
    }

    fn fail(&self, job: &Job, pipeline: &Pipeline, stage: &str, fault: &str, message: &str) {
        let Some(answer) = job.ticket.settle(Settlement::Failed { stage, fault }) else {
            return;
        };
        let body = ErrorMessage {
            head: Head::of(&job.sample, pipeline.release()),
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
        give(answer, Ending::Failure, &body);
    }

    /// Drops are counted, and told to whoever waits for this sample; they are not published, since there can be many.
    /// False where the sample had ended already.
    fn drop_job(&self, job: &Job, reason: DropReason) -> bool {
        let Some(answer) = job.ticket.settle(Settlement::Dropped(reason)) else {
            return false;
        };
        let pipeline = self.pipeline.load();
        let body = ErrorMessage {
            head: Head::of(&job.sample, pipeline.release()),
            stage: QUEUE,
            fault: reason.name(),
            message: "the sample was dropped",
        };
        give(answer, Ending::Drop, &body);
        true
    }

    fn publish(&self, topic: Topic, body: &impl Serialize, id: &str) {
        let published = self.link.publish(topic, id, to_json(body));
        if let Err(error) = published {
            self.tally.unpublished();
            tracing::warn!(id, ?topic, %error, "a message could not be published");
        }
    }

    fn put_on_desk(&self, desk: usize, job: Option<Arc<Job>>) {
        if let Some(desk) = self.desks.get(desk) {
            *desk.lock().unwrap_or_else(PoisonError::into_inner) = job;
        }
    }

    fn gauge_queue(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a queue holds at most 65,536")]
        metrics::gauge!("hotshoe_queue_depth").set(self.queue.len() as f64);
    }

    /// Takes no more samples.
    pub fn close(&self) {
        self.queue.close();
    }

    /// Finishes what was accepted, and drops by name what is not finished when the time is over.
    pub fn drain(&self, crew: Crew, deadline: Duration) -> DrainReport {
        let started = Instant::now();
        self.close();
        let finished = crew.threads.iter().all(|_| {
            let left = deadline.saturating_sub(started.elapsed());
            crew.finished.recv_timeout(left).is_ok()
        });
        let mut dropped = 0;
        for job in self.queue.take_all() {
            dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
        }
        if finished {
            for thread in crew.threads {
                if thread.join().is_err() {
                    tracing::error!("a worker thread ended by a panic");
                }
            }
        } else {
            dropped += self.drop_desks();
        }
        DrainReport {
            finished,
            dropped,
            counters: self.tally.snapshot(),
        }
    }

    /// Drops what workers are still busy with; what they make of it is not published.
    fn drop_desks(&self) -> u64 {
        let mut dropped = 0;
        for desk in &self.desks {
            let job = desk.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(job) = job {
                dropped += u64::from(self.drop_job(&job, DropReason::DrainDeadline));
            }
        }
        dropped
    }

    /// The state at this moment.
    pub fn status(&self) -> Status {
        let pipeline = self.pipeline.load();
        Status {
            site: self.identity.site.clone(),
            device: self.identity.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            release: ReleaseStatus::of(pipeline.release()),
            uptime_s: self.started.elapsed().as_secs(),
            workers: self.desks.len(),
            queue: QueueStatus {
                len: self.queue.len(),
                capacity: self.queue.capacity(),
                policy: self.config.intake.when_full.name().to_owned(),
            },
            counters: self.tally.snapshot(),
            stages: self.latency.snapshot(),
            session: self.link.status(),
        }
    }
}

/// Nobody pays for JSON that nobody reads.
fn give(answer: Answer, ending: Ending, body: &impl Serialize) {
    let body = if answer.wants_body() {
        to_json(body)
    } else {
        Vec::new()
    };
    answer.give(ending, &body);
}

fn to_json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_else(|error| {
        tracing::error!(%error, "a message could not be written as JSON; this is a defect");
        b"null".to_vec()
    })
}
