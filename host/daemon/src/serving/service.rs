//! The service: the state that senders, workers and the status share.

mod accept;
mod egress;
mod figures;
mod finish;
mod local_client;
mod recordings;
mod status;
mod stuck;
mod traces;
mod vitals;
mod work;
mod worker_pool;
mod worker_slot;

use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use hotshoe_base::Clock;
use hotshoe_config::MESSAGE_OVERHEAD;
use hotshoe_egress::{Classifier, HashKeys};
use hotshoe_engine::{KeptBack, Sample};
use hotshoe_link::Link;
use hotshoe_protocol::event::{KnownKind, Subject};
use hotshoe_trust::{Device, EffectiveContract};
use parking_lot::Mutex;

use crate::in_force::InForce;
use crate::metrics::ModelMeter;
use crate::outbox::DurableOutputs;
use crate::private_telemetry::PrivateTelemetry;
use crate::recording::Recorder;
use crate::reload::RunningConfig;
use crate::serving::drift_thread::DriftThread;
use crate::serving::latency::Latency;
use crate::serving::motion_gate::MotionGate;
use crate::serving::queue::Queue;
use crate::serving::rate_gate::RateGate;
use crate::serving::sample_trace::SampleTrace;
use crate::serving::tally::{Tally, Ticket};
use crate::serving::{
    ComparedMetric, OutputTap, PublishedStatus, ServingRelease, ShadowMirror, TraceTap,
};
use crate::watched::FailedFiles;

pub use local_client::{CallError, CallOutput, CallRelease, LocalClient};
pub(crate) use stuck::WorkerWatch;
pub use worker_pool::DrainReport;
pub(crate) use worker_pool::WorkerPool;
use worker_slot::WorkerSlot;

/// Sampling periods of the governor in a slot of the latencies: 15 s by default.
const PERIODS_OF_A_SLOT: u32 = 15;

/// An accepted sample that has not ended.
struct Job {
    sample: Arc<Sample>,
    /// Whether it comes from the watched folder.
    is_file: bool,
    ticket: Ticket,
    arrived: Instant,
    trace: SampleTrace,
}

impl Job {
    /// Whose rate and motion count: its source, or the folder of a watched file, since each file is a source of its own.
    fn feed(&self) -> &str {
        let source = self.sample.source.as_str();
        let folder = Path::new(source).parent().filter(|_| self.is_file);
        folder.and_then(Path::to_str).unwrap_or(source)
    }
}

/// State that senders, workers and the status share.
pub struct Service {
    queue: Queue<Job>,
    running: Arc<RunningConfig>,
    identity: Device,
    serving: ArcSwapOption<ServingRelease>,
    shadow: ArcSwapOption<ShadowMirror>,
    /// Written by the governor's thread alone.
    in_force: ArcSwap<InForce>,
    rate_gate: RateGate,
    motion_gate: MotionGate,
    published_status: Arc<PublishedStatus>,
    link: Arc<Link>,
    tally: Tally,
    latency: Latency,
    meter: ModelMeter,
    recorder: Arc<Recorder>,
    drift: DriftThread,
    compared: ComparedMetric,
    hash_keys: HashKeys,
    /// For samples that no release processes.
    without_release: Classifier,
    kept_back: KeptBack,
    output_tap: OutputTap,
    /// Set once, if the device has figures.
    private_telemetry: OnceLock<Arc<PrivateTelemetry>>,
    trace_tap: TraceTap,
    /// `Some` if outputs are durable.
    outbox: Option<Arc<DurableOutputs>>,
    /// `Some` if a folder is watched.
    failed_files: Option<Arc<FailedFiles>>,
    started: Instant,
    clock: Clock,
    /// One for each worker.
    worker_slots: Vec<Mutex<WorkerSlot>>,
    /// Tells a drain that a worker has ended.
    worker_ends: Mutex<Option<Sender<()>>>,
    /// Threads of workers that do not come back from a sample.
    stuck: AtomicUsize,
}

impl Service {
    /// A service without workers; see [`Service::spawn_workers`].
    pub(crate) fn new(
        running: Arc<RunningConfig>,
        serving: Option<Arc<ServingRelease>>,
        published_status: Arc<PublishedStatus>,
        link: Arc<Link>,
        outbox: Option<Arc<DurableOutputs>>,
        kept_back: KeptBack,
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
        let recorder = Arc::new(Recorder::new(
            config.record.clone(),
            config.identity(),
            most,
            clock.clone(),
        ));
        let hash_keys = egress::hash_keys(&config.data_contract, link.key(), &clock);
        let no_contract = EffectiveContract::of(None, &config.data_contract);
        let watch = config.watch.as_ref();
        let events = published_status.events();
        let failed_files = watch.map(|_| FailedFiles::open(&config.data, Arc::clone(events)));
        if let Some(served) = &serving {
            events.follow_components(served.back_offs());
        }
        if let Some(failed_files) = &failed_files {
            failed_files.serve(serving.as_ref().map(|served| served.release().digest()));
            failed_files.keep_for(picture_retention(&no_contract));
            keep_for(failed_files, serving.as_deref());
        }
        let drift = DriftThread::new(&recorder, &published_status, link.parts());
        drift.follow(None, serving.as_deref());
        Arc::new(Self {
            queue: Queue::new(config.intake.queue).timed_by(clock.clone()),
            identity: config.identity(),
            running,
            serving: ArcSwapOption::new(serving),
            shadow: ArcSwapOption::empty(),
            in_force: ArcSwap::default(),
            rate_gate: RateGate::default(),
            motion_gate: MotionGate::default(),
            published_status,
            link,
            tally: Tally::default(),
            latency: Latency::timed_by(clock.clone())
                .with_slots_of(config.governor.period() * PERIODS_OF_A_SLOT),
            meter: ModelMeter::default(),
            recorder,
            drift,
            compared: ComparedMetric::default(),
            without_release: Classifier::new(no_contract, None, hash_keys.clone()),
            hash_keys,
            kept_back,
            output_tap: OutputTap::default(),
            private_telemetry: OnceLock::new(),
            trace_tap: TraceTap::default(),
            outbox,
            failed_files,
            started: clock.now(),
            clock,
            worker_slots,
            worker_ends: Mutex::default(),
            stuck: AtomicUsize::default(),
        })
    }

    /// Adds the results of samples to these figures from now on.
    pub(crate) fn add_to(&self, figures: Arc<PrivateTelemetry>) {
        if self.private_telemetry.set(figures).is_err() {
            tracing::warn!("this daemon has figures already");
        }
    }

    /// Swaps the serving release. Returns the old one, so that no worker drops it, and the duration of the swap of the pointer. Samples
    /// in flight keep their release.
    pub fn swap(
        &self,
        next: Option<Arc<ServingRelease>>,
    ) -> (Option<Arc<ServingRelease>>, Duration) {
        if let Some(failed_files) = &self.failed_files {
            failed_files.serve(next.as_ref().map(|served| served.release().digest()));
            keep_for(failed_files, next.as_deref());
        }
        let next_subject = next.as_ref().map(|served| {
            self.published_status
                .events()
                .follow_components(served.back_offs());
            let release = served.release();
            Subject::Release {
                name: release.name.clone(),
                generation: release.generation,
                digest: release.digest(),
            }
        });
        self.drift
            .follow(self.serving.load().as_deref(), next.as_deref());
        let started = self.clock.now();
        let before = self.serving.swap(next);
        let elapsed = self.clock.elapsed(started);
        if let (Some(failed_files), true) = (&self.failed_files, next_subject.is_some()) {
            failed_files.resume();
        }
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

    /// The metric of a comparison by device.
    pub(crate) const fn compared(&self) -> &ComparedMetric {
        &self.compared
    }

    /// The loaded release that serves.
    pub fn serving(&self) -> Option<Arc<ServingRelease>> {
        self.serving.load_full()
    }

    /// Puts a plan in force from the next sample on.
    pub fn put_in_force(&self, next: Arc<InForce>) {
        self.in_force.store(next);
    }

    /// Whether the device rests.
    pub fn is_resting(&self) -> bool {
        self.in_force.load().rests(self.clock.now()).is_some()
    }

    /// Lets files of the watched folder wait while the device rests.
    pub fn rest(&self, rests: bool) {
        if let Some(failed_files) = &self.failed_files {
            failed_files.rest(rests);
        }
    }

    /// Accepted samples that have not ended.
    pub fn in_flight(&self) -> u64 {
        self.tally.snapshot().in_flight
    }

    /// The record of failed files, if a folder is watched.
    pub fn failed_files(&self) -> Option<Arc<FailedFiles>> {
        self.failed_files.clone()
    }

    fn gauge_queue(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a queue holds at most 65,536")]
        metrics::gauge!("hotshoe_queue_depth").set(self.queue.len() as f64);
    }
}

/// Sets how long files of processed pictures may be kept. Without a release, what applied goes on.
fn keep_for(failed_files: &FailedFiles, serving: Option<&ServingRelease>) {
    if let Some(serving) = serving {
        failed_files.keep_for(picture_retention(serving.pipeline().contract()));
    }
}

fn picture_retention(contract: &EffectiveContract) -> Option<Duration> {
    let retention = contract.picture().class.retention;
    retention.map(|it| Duration::from_secs(it.seconds()))
}
