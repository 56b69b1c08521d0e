//! What a device says of itself, as JSON under its `status` key.

use std::collections::BTreeMap;

use hotshoe_store::{Cause, Event, Ledger, Phase, Slot, Trial};
use hotshoe_trust::{Digest, Release, SigningKey, Time, Verified};
use serde::{Deserialize, Serialize};

pub use hotshoe_base::supervisor::{PartState, PartStatus};

/// A device's state at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The site's name.
    pub site: String,
    /// The device's name.
    pub device: String,
    /// The daemon's version.
    pub version: String,
    /// Whether it is in development mode, where a throw-away key is trusted.
    #[serde(default)]
    pub development: bool,
    /// The key that it signs its events, its status and its answers with. None where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyStatus>,
    /// The labels that releases may select the device by.
    pub labels: BTreeMap<String, String>,
    /// The release that serves: the trial during its probation, else the live one. None before the first release.
    pub release: Option<ReleaseStatus>,
    /// Which release is in which slot.
    pub slots: SlotsStatus,
    /// The release that is being worked on, or the last that was.
    pub deploy: DeployStatus,
    /// The last release that was rolled back, of those in the history; not a trial whose place another one took.
    pub last_rollback: Option<RollbackStatus>,
    /// What was seen of the release that serves, since it began to.
    pub health: Option<Observed>,
    /// The version of the trusted keys.
    pub trust_version: u64,
    /// Times that another release began to serve, since the start.
    pub swaps: u64,
    /// Trials that were rolled back, since the start; not those whose place another one took.
    pub rollbacks: u64,
    /// Releases that were refused or failed, since the start, by cause.
    pub refused: BTreeMap<String, u64>,
    /// Statements and orders that were not followed, since the start, by reason.
    pub ignored: BTreeMap<String, u64>,
    /// How long the last swap of the pointer itself took, in nanoseconds.
    pub last_swap_ns: Option<u64>,
    /// Whether no valid statement is as new as `deploy.fresh-within-hours` asks for.
    pub stale: bool,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Threads that process samples.
    pub workers: usize,
    /// The queue of samples.
    pub queue: QueueStatus,
    /// What became of the samples since the start.
    pub counters: Counters,
    /// Latency of each stage, over the most recent samples.
    pub stages: Vec<StageLatency>,
    /// The models of the release that serves.
    #[serde(default)]
    pub models: Vec<ModelStatus>,
    /// The components of the release that serves.
    #[serde(default)]
    pub components: Vec<ComponentStatus>,
    /// The memory of the daemon, and of the components in it. None of a daemon that does not tell.
    #[serde(default)]
    pub memory: Option<MemoryStatus>,
    /// The Zenoh session.
    pub session: SessionStatus,
    /// The threads of the daemon, by name, and threads of libraries that panicked.
    #[serde(default)]
    pub parts: Vec<PartStatus>,
    /// What of the log is missing.
    #[serde(default)]
    pub log: LogStatus,
    /// What came of the last SIGHUP. None before the first one.
    #[serde(default)]
    pub reload: Option<ReloadStatus>,
    /// The watched folder, where there is one.
    #[serde(default)]
    pub watch: Option<WatchStatus>,
}

impl Status {
    /// The parts that do not run.
    pub fn broken(&self) -> impl Iterator<Item = &PartStatus> {
        let parts = self.parts.iter();
        parts.filter(|part| part.state != PartState::Running)
    }
}

/// Lines that are not in the log, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Left out, since there were too many of their kind.
    pub left_out: u64,
    /// Lost, since standard error could not be written, or not as fast as they came.
    pub lost: u64,
}

/// What came of reading `hotshoe.toml` again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When, by the device's clock.
    pub at: Time,
    /// The keys that changed and are in effect.
    pub applied: Vec<String>,
    /// The keys that changed and need a restart to be in effect.
    pub needs_restart: Vec<String>,
    /// Why nothing was applied, where the file is not valid.
    pub error: Option<String>,
}

/// The memory of the daemon's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// How the linear memories of components lie in its addresses: `guard`, `compact` or `on-demand`.
    pub mode: String,
    /// Why so.
    pub reason: String,
    /// What is resident now, in MiB; none where the system does not tell.
    pub resident_mib: Option<u64>,
    /// Of that, pages of files, the program's own above all, in MiB: they are shared, and the system may drop them.
    #[serde(default)]
    pub resident_file_mib: Option<u64>,
    /// The most that ever was, in MiB.
    pub peak_resident_mib: Option<u64>,
}

/// The files of the watched folder that are not tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// Files that killed the daemon twice, or that the release refused twice.
    pub set_aside: u64,
    /// The last of them.
    pub last_file: Option<String>,
    /// What was wrong with it.
    pub last_reason: Option<String>,
}

/// The public half of a device's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub fingerprint: Digest,
    /// The key, in PEM: what `hotshoe site add` takes.
    pub public_key: String,
}

impl KeyStatus {
    /// Describes a key.
    pub fn of(key: &SigningKey) -> Option<Self> {
        let public = key.public_key().ok()?;
        Some(Self {
            fingerprint: public.fingerprint(),
            public_key: public.to_pem(),
        })
    }
}

/// A component of the release that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its name in the release.
    pub name: String,
    /// Calls that broke off one after the other, the last of all among them.
    pub faults_in_a_row: u32,
    /// How it is left alone, since it breaks off again and again.
    pub backing_off: Option<BackOffStatus>,
    /// Lines that it wanted in the log beyond its `log-lines`, since the release was loaded.
    pub log_lines_dropped: u64,
}

/// A component that is left alone for a while; its samples fail at once, as `backing_off`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackOffStatus {
    /// What its last call ended with.
    pub fault: String,
    /// In words.
    pub message: String,
    /// How long it is left alone this time, in milliseconds.
    pub wait_ms: u64,
    /// What is left of that; 0 where the next sample tries it.
    pub left_ms: u64,
}

/// The release that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    /// Its name.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Its generation.
    pub generation: u64,
    /// Names of the trusted keys that signed it.
    pub signers: Vec<String>,
}

/// A model of the release that serves. Its counts are those since it was loaded, by whichever release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelStatus {
    /// Its name in the release.
    pub name: String,
    /// The variant that runs; `default` where it has one file alone.
    pub variant: String,
    /// What runs it: `tract` or `ort`.
    pub backend: String,
    /// What it runs on: `cpu`, or the execution provider of ONNX Runtime.
    pub provider: String,
    /// Why it does not run on an execution provider that is preferred.
    pub provider_notes: Vec<String>,
    /// Why this backend.
    pub reason: String,
    /// Threads of one run.
    pub threads: usize,
    /// Compiled plans that it keeps, one for each combination of input shapes.
    pub plans: usize,
    /// Plans that were compiled.
    pub plans_made: u64,
    /// Runs that began.
    pub runs: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were given up when their deadline passed.
    pub abandoned: u64,
    /// Runs whose deadline passed before they began.
    pub expired: u64,
    /// Runs under way.
    pub in_flight: u64,
    /// Runs that wait for their turn.
    pub waiting: u64,
    /// Runs that took several samples together.
    pub batches: u64,
    /// Variants that do not serve, though they come before the one that does.
    pub fallbacks: Vec<FallbackStatus>,
}

/// A variant that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackStatus {
    /// Its name.
    pub variant: String,
    /// Why it does not serve.
    pub cause: String,
}

/// The queue of samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStatus {
    /// Samples that wait.
    pub len: usize,
    /// Most that may wait.
    pub capacity: usize,
    /// What happens when it is full: `block`, `drop-oldest` or `drop-newest`.
    pub policy: String,
}

/// The Zenoh session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The session's id, which is made anew at each start.
    pub id: String,
    /// Endpoints that it listens on.
    pub locators: Vec<String>,
    /// Other sessions that it is connected to.
    pub peers: usize,
}

/// Which release is in which slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsStatus {
    /// The release that was confirmed last.
    pub live: Option<SlotStatus>,
    /// The one before it, to go back to.
    pub previous: Option<SlotStatus>,
    /// A release that is whole on the disk and does not serve yet.
    pub staged: Option<SlotStatus>,
    /// A release that serves and is not confirmed yet.
    pub trial: Option<TrialStatus>,
}

/// A release in a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotStatus {
    /// The digest of its manifest.
    pub release: Digest,
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// When it was installed or staged, by the device's clock.
    pub installed: Time,
}

/// A release in probation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStatus {
    /// Which.
    pub slot: SlotStatus,
    /// How many more times the daemon may start with it before it is confirmed.
    pub tries_left: u32,
    /// Since when it is tried, by the device's clock.
    pub since: Time,
    /// Samples that it has processed since the daemon's start.
    pub samples: u64,
    /// How many it must.
    pub wanted_samples: u64,
    /// How long it has served since the daemon's start, in seconds.
    pub seconds: u64,
    /// How long it must.
    pub wanted_seconds: u64,
}

/// How far a release has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployStatus {
    /// Its phase; `absent` where there has been none.
    pub phase: Phase,
    /// The digest of its manifest.
    pub release: Option<Digest>,
    /// Its name.
    pub name: Option<String>,
    /// Its generation.
    pub generation: Option<u64>,
    /// Bytes that are on the disk.
    pub fetched: u64,
    /// Bytes that it has.
    pub total: u64,
    /// Why it was refused, failed or rolled back; while it is fetched, why the last try did not end well.
    pub cause: Option<Cause>,
    /// What it waits for.
    pub waiting: Option<WaitReason>,
}

/// What a release waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitReason {
    /// An order to activate it.
    Activation,
    /// The maintenance window.
    Window,
    /// The end of another release's probation.
    Probation,
    /// The next try, after a passing failure.
    Retry,
}

/// A release that was rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackStatus {
    /// The digest of its manifest.
    pub release: Digest,
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// Why.
    pub cause: Cause,
    /// When, by the device's clock.
    pub at: Time,
}

/// What a device says when a release goes from one phase to the next, or has fetched more; under its key `event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployEvent {
    /// The site's name.
    pub site: String,
    /// The device's name.
    pub device: String,
    /// The digest of the release's manifest.
    pub release: Digest,
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// Its phase.
    pub phase: Phase,
    /// Bytes that are on the disk.
    pub fetched: u64,
    /// Bytes that it has.
    pub total: u64,
    /// Why it was refused, failed or rolled back.
    pub cause: Option<Cause>,
    /// The digest of the statement that led there. None where that is not known any more, as after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Digest>,
    /// When, by the device's clock.
    pub at: Time,
}

impl Default for DeployStatus {
    fn default() -> Self {
        Self {
            phase: Phase::Absent,
            release: None,
            name: None,
            generation: None,
            fetched: 0,
            total: 0,
            cause: None,
            waiting: None,
        }
    }
}

impl SlotStatus {
    /// Describes a slot.
    pub fn of(slot: &Slot) -> Self {
        Self {
            release: slot.release,
            name: slot.name.clone(),
            generation: slot.generation,
            installed: slot.installed,
        }
    }
}

impl TrialStatus {
    /// Describes a trial that nothing is known of but what the ledger says.
    pub fn of(trial: &Trial) -> Self {
        Self {
            slot: SlotStatus::of(&trial.slot),
            tries_left: trial.tries_left,
            since: trial.since,
            samples: 0,
            wanted_samples: 0,
            seconds: 0,
            wanted_seconds: 0,
        }
    }
}

impl SlotsStatus {
    /// Describes a ledger's slots.
    pub fn of(ledger: &Ledger) -> Self {
        Self {
            live: ledger.live.as_ref().map(SlotStatus::of),
            previous: ledger.previous.as_ref().map(SlotStatus::of),
            staged: ledger.staged.as_ref().map(SlotStatus::of),
            trial: ledger.trial.as_ref().map(TrialStatus::of),
        }
    }
}

impl RollbackStatus {
    /// Name of the cause where another release took a trial's place: that says nothing against it.
    pub const SUPERSEDED: &str = "superseded";

    /// The latest rollback in a ledger's history.
    pub fn latest(ledger: &Ledger) -> Option<Self> {
        let rolled_back = ledger.history.iter().rev();
        rolled_back
            .filter(|event| event.phase == Phase::RolledBack)
            .find_map(Self::of)
    }

    fn of(event: &Event) -> Option<Self> {
        let cause = event.cause.as_ref();
        Some(Self {
            release: event.release?,
            name: event.name.clone(),
            generation: event.generation,
            cause: cause
                .filter(|cause| cause.name != Self::SUPERSEDED)?
                .clone(),
            at: event.at,
        })
    }
}

impl ReleaseStatus {
    /// Describes a verified release.
    pub fn of(release: &Verified<Release>) -> Self {
        Self {
            name: release.name.clone(),
            digest: release.digest(),
            generation: release.generation,
            signers: release.signers().to_vec(),
        }
    }
}

/// All counts at one moment: `accepted == results + dropped + failed + in_flight`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Samples that arrived.
    pub accepted: u64,
    /// Samples that gave a result.
    pub results: u64,
    /// Samples that were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Samples that failed.
    pub failed: u64,
    /// The same failures, by fault.
    pub faults: BTreeMap<String, u64>,
    /// The same failures, by stage.
    pub failed_at: BTreeMap<String, u64>,
    /// Samples that wait or are being processed.
    pub in_flight: u64,
    /// Failures of policies that fail open, by stage. Their samples gave a result all the same.
    #[serde(default)]
    pub tolerated: BTreeMap<String, u64>,
    /// Messages that could not be handed to Zenoh. Their samples are counted above all the same.
    pub unpublished: u64,
}

impl Counters {
    /// Dropped samples of every reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether every accepted sample is accounted for.
    pub fn add_up(&self) -> bool {
        self.accepted == self.results + self.dropped_total() + self.failed + self.in_flight
    }
}

/// One stage's latency over its most recent samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageLatency {
    /// The component, the model, `queue` or `total`.
    pub name: String,
    /// Samples since the start.
    pub count: u64,
    /// Median, in microseconds.
    pub p50_us: u64,
    /// 95th percentile, in microseconds.
    pub p95_us: u64,
}

/// All counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Samples that the release processed.
    pub samples: u64,
    /// Samples that failed, of whatever kind.
    pub errors: u64,
    /// Those of them by which a component broke off.
    pub traps: u64,
    /// Those of them that ran past a deadline.
    pub deadline_misses: u64,
    /// 95th percentile of the time in the pipeline, without the queue, over the most recent samples, in microseconds.
    pub p95_us: Option<u64>,
}
