//! The status of a device, as JSON under its `status` key.

mod drift;
mod governor;
mod outbox;
mod private_telemetry;
mod telemetry;

use std::collections::BTreeMap;

use hotshoe_audit::SignedHead;
use hotshoe_store::{Cause, Event, Ledger, Phase, Slot, Trial};
use hotshoe_trust::{Digest, Hardware, Release, ReleaseKind, SigningKey, Time, Verified};
use serde::{Deserialize, Serialize};

pub use drift::{DriftStatistic, DriftStatus, DriftValue};
pub use governor::{
    GovernorFailure, GovernorStatus, ModeStatus, PlanItem, SensorFaultStatus, SensorStatus,
    ThermalStatus, WaitStatus,
};
pub use hotshoe_base::supervisor::{PartState, PartStatus};
pub use outbox::{OutboxError, OutboxStatus, OutletState, OutletStatus};
pub use private_telemetry::PrivateTelemetryStatus;
pub use telemetry::{TelemetryFailure, TelemetryStatus};

/// The status of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of this format: [`STATUS_FORMAT`]. New fields do not raise it, so a reader ignores fields that it does not know.
    #[serde(default = "first_format")]
    pub format: u32,
    /// The site's name.
    pub site: String,
    /// The device's name.
    pub device: String,
    /// The daemon's version.
    pub version: String,
    /// Whether it is in development mode, where a throw-away key is trusted.
    #[serde(default)]
    pub development: bool,
    /// The key that signs its events, status and answers. `None` without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyStatus>,
    /// The labels that releases may select the device by.
    pub labels: BTreeMap<String, String>,
    /// What it runs on. `None` from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<HardwareStatus>,
    /// The serving release: the trial during its probation, otherwise the live one. `None` before the first release.
    pub release: Option<ReleaseStatus>,
    /// Why no release serves although one was live. `None` while a release serves, and before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cannot_serve: Option<Cause>,
    /// The releases in the slots.
    pub slots: SlotsStatus,
    /// The current or last deployment.
    pub deploy: DeployStatus,
    /// The rollouts that the device is a member of, by the name of the release, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<RolloutStatus>,
    /// The releases of the kinds `config` and `host`. Empty without such a release, and from older daemons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: BTreeMap<ReleaseKind, KindStatus>,
    /// Why the device would put a new release of a rollout off now: `window` or `battery`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferral: Option<String>,
    /// The last rollback in the history, not counting trials that another release replaced.
    pub last_rollback: Option<RollbackStatus>,
    /// Observations of the serving release since it began to serve.
    pub health: Option<Observed>,
    /// The version of the trusted keys.
    pub trust_version: u64,
    /// Swaps of the serving release since the start.
    pub swaps: u64,
    /// Rolled back trials since the start, not counting those that another release replaced.
    pub rollbacks: u64,
    /// Refused or failed releases since the start, by cause.
    pub refused: BTreeMap<String, u64>,
    /// Refused statements and orders since the start, by reason.
    pub ignored: BTreeMap<String, u64>,
    /// Duration of the last swap of the serving pointer, in nanoseconds.
    pub last_swap_ns: Option<u64>,
    /// Whether the newest valid statement is older than `deploy.fresh-within-hours`.
    pub stale: bool,
    /// Seconds since the daemon started.
    pub uptime_s: u64,
    /// Threads that process samples.
    pub workers: usize,
    /// The queue of samples.
    pub queue: QueueStatus,
    /// Counters of samples since the start.
    pub counters: Counters,
    /// Latency of each stage, over the five minutes up to its last sample.
    pub stages: Vec<StageLatency>,
    /// The models of the serving release.
    #[serde(default)]
    pub models: Vec<ModelStatus>,
    /// The components of the serving release.
    #[serde(default)]
    pub components: Vec<ComponentStatus>,
    /// Memory of the daemon and its components. `None` from older daemons.
    #[serde(default)]
    pub memory: Option<MemoryStatus>,
    /// The Zenoh session.
    pub session: SessionStatus,
    /// The ids of other sessions that have the name of this device: two devices have one name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_name: Vec<String>,
    /// The device's clock. `None` from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The supervised threads of the daemon, and library threads that panicked.
    #[serde(default)]
    pub parts: Vec<PartStatus>,
    /// Dropped log lines.
    #[serde(default)]
    pub log: LogStatus,
    /// The result of the last SIGHUP. `None` before the first one.
    #[serde(default)]
    pub reload: Option<ReloadStatus>,
    /// The watched folder, if there is one.
    #[serde(default)]
    pub watch: Option<WatchStatus>,
    /// The last signed head of the audit log. `None` without a key, and from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<SignedHead>,
    /// Outputs that the data contract kept on the device since the start, by class and output.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept_back: BTreeMap<String, BTreeMap<String, u64>>,
    /// What must arrive. `None` without durable outputs, and from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox: Option<OutboxStatus>,
    /// What goes to a collector of OpenTelemetry. `None` without `[telemetry]`, and from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<TelemetryStatus>,
    /// What the figures of `[private-telemetry]` leave out. `None` without it, and from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_telemetry: Option<PrivateTelemetryStatus>,
    /// The sensors of the device and the plan in force. `None` without `governor.enabled`, and from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governor: Option<GovernorStatus>,
    /// Drift of the serving release from its baseline. `None` without `[drift]` in it, and from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
    /// The alerts that last, the most serious first, at most [`MAX_ALERTS`](crate::alert::MAX_ALERTS).
    #[serde(
        default,
        deserialize_with = "crate::alert::readable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub alerts: Vec<crate::alert::AlertStatus>,
    /// The last events, at most [`MAX_EVENTS`](crate::event::MAX_EVENTS), oldest first.
    #[serde(
        default,
        deserialize_with = "crate::event::readable",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub events: Vec<crate::event::Event>,
}

/// The version of the status that this program writes. A change that an older reader would misunderstand raises it.
pub const STATUS_FORMAT: u32 = 1;

/// The version of a status that names none.
const fn first_format() -> u32 {
    1
}

impl Status {
    /// The parts that are not running.
    pub fn broken(&self) -> impl Iterator<Item = &PartStatus> {
        let parts = self.parts.iter();
        parts.filter(|part| part.state != PartState::Running)
    }
}

/// A rollout on one of its devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStatus {
    /// The name of the release.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// The digest of the plan.
    pub rollout: Digest,
    /// Its number.
    pub number: u64,
    /// The stage in which the device takes the release; none if it keeps the one before it.
    pub stage: Option<u32>,
    /// The state that the device reports, such as `waiting`.
    pub state: String,
    /// The stable name of the cause, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// The hardware of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareStatus {
    /// Its class: the board by its device tree, else the architecture. Devices of one class are alike for a rollout.
    pub class: String,
    /// The architecture of its processor.
    pub architecture: String,
    /// Its cores.
    pub cores: usize,
    /// Its memory as its system has it, in MiB. `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
}

impl HardwareStatus {
    /// What a release may require of it.
    pub fn hardware(&self) -> Hardware {
        Hardware {
            class: self.class.clone(),
            architecture: self.architecture.clone(),
            cores: self.cores as u64,
            memory_mib: self.memory_mib,
        }
    }
}

/// Log lines that were not written since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Suppressed by the rate limit.
    pub left_out: u64,
    /// Lost because standard error failed or was too slow.
    pub lost: u64,
}

/// The result of reloading `hotshoe.toml`.
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
    /// Memory mode of components: `guard`, `compact` or `on-demand`.
    pub mode: String,
    /// Why this mode was chosen.
    pub reason: String,
    /// Resident memory in MiB; `None` if unknown.
    pub resident_mib: Option<u64>,
    /// File pages within it in MiB, mostly the program's own: they are shared, and the system may drop them.
    #[serde(default)]
    pub resident_file_mib: Option<u64>,
    /// Peak resident memory in MiB.
    pub peak_resident_mib: Option<u64>,
}

/// How the changes of a watched folder are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchMode {
    /// The system reports them.
    Events,
    /// The folder is listed from time to time.
    Polling,
    /// The folder is not there, or cannot be listed. It is watched when it is there again.
    #[serde(other)]
    Missing,
}

/// The watched folder, and the files in it that are not read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// How changes are found. `None` from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<WatchMode>,
    /// Why the mode is not `events`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Entries that are not read: links, devices, and files without the right to read them.
    #[serde(default)]
    pub skipped: u64,
    /// Files that killed the daemon twice, or that the release refused twice.
    pub set_aside: u64,
    /// The last of them.
    pub last_file: Option<String>,
    /// Why it was set aside.
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

/// A component of the serving release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its name in the release.
    pub name: String,
    /// Consecutive failed calls up to the last one.
    pub faults_in_a_row: u32,
    /// Its pause, if it traps repeatedly.
    pub backing_off: Option<BackOffStatus>,
    /// Log lines dropped by its `log-lines` since the release was loaded.
    pub log_lines_dropped: u64,
    /// Instances that were replaced since the release was loaded because their memory was used up, or nearly.
    #[serde(default)]
    pub instances_replaced: u64,
}

/// The pause of a component; meanwhile its samples fail at once, as `backing_off`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackOffStatus {
    /// The fault of its last call.
    pub fault: String,
    /// The message of its last failure.
    pub message: String,
    /// Length of the pause in milliseconds.
    pub wait_ms: u64,
    /// Rest of the pause in milliseconds; 0 if the next sample tries the component.
    pub left_ms: u64,
}

/// The serving release.
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

/// A model of the serving release. Its counters start when it is loaded, and continue across releases that share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelStatus {
    /// Its name in the release.
    pub name: String,
    /// The active variant; `default` for a model with one file.
    pub variant: String,
    /// Its backend: `tract` or `ort`.
    pub backend: String,
    /// Its execution provider: `cpu`, or one of ONNX Runtime.
    pub provider: String,
    /// Why preferred execution providers are not used.
    pub provider_notes: Vec<String>,
    /// Why this backend was chosen.
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
    /// Runs that were abandoned at their deadline.
    pub abandoned: u64,
    /// Runs whose deadline passed before they began.
    pub expired: u64,
    /// Runs under way.
    pub in_flight: u64,
    /// Runs that wait for their turn.
    pub waiting: u64,
    /// Batched runs.
    pub batches: u64,
    /// Preferred variants that do not serve.
    pub fallbacks: Vec<FallbackStatus>,
}

/// A variant that does not serve.
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
    /// Queued samples.
    pub len: usize,
    /// Length of the queue.
    pub capacity: usize,
    /// What happens when it is full: `block`, `drop-oldest` or `drop-newest`.
    pub policy: String,
}

/// The Zenoh session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The id of the session, which is new at each start.
    pub id: String,
    /// Endpoints that it listens on.
    pub locators: Vec<String>,
    /// Other sessions that it is connected to.
    pub peers: usize,
}

/// The releases in the slots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotsStatus {
    /// The confirmed release.
    pub live: Option<SlotStatus>,
    /// The release before it, for a rollback.
    pub previous: Option<SlotStatus>,
    /// A release that is on disk and does not serve yet.
    pub staged: Option<SlotStatus>,
    /// A release that serves and is not confirmed yet.
    pub trial: Option<TrialStatus>,
}

/// The releases of a kind without a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindStatus {
    /// Its slots.
    pub slots: SlotsStatus,
    /// `config`: the keys that it sets on this device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// `host`: the digest of the daemon's program, where `hotshoe-supervisor` started it from a slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Digest>,
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
    /// Names of the trusted keys that signed it. Empty from older daemons, and if the keys of today do not verify it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
}

/// A release in probation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStatus {
    /// Which.
    pub slot: SlotStatus,
    /// Further starts of the daemon in which it may serve unconfirmed.
    pub tries_left: u32,
    /// When the trial began, by the device's clock.
    pub since: Time,
    /// The mode that it is judged by: that of its start, or the one in force after a pause of 10 minutes. `None` is the full one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Whether another mode is in force, or fewer variants, so that samples do not count for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_paused: bool,
    /// Samples that it has processed in its mode since the daemon's start.
    pub samples: u64,
    /// Samples that it must process.
    pub wanted_samples: u64,
    /// How long it has served since the daemon's start, in seconds.
    pub seconds: u64,
    /// Seconds that it must serve.
    pub wanted_seconds: u64,
}

/// Progress of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployStatus {
    /// Its phase; `absent` before the first deployment.
    pub phase: Phase,
    /// The digest of its manifest.
    pub release: Option<Digest>,
    /// Its name.
    pub name: Option<String>,
    /// Its generation.
    pub generation: Option<u64>,
    /// Bytes that are on the disk.
    pub fetched: u64,
    /// Total bytes of the release.
    pub total: u64,
    /// Why it was refused, failed or rolled back; while it is fetched, why the last attempt failed.
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

/// A rolled back release.
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

/// An event of a deployment, under the key `event`: a release enters another phase, or has fetched more.
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
    /// Total bytes of the release.
    pub total: u64,
    /// Why it was refused, failed or rolled back.
    pub cause: Option<Cause>,
    /// The digest of the statement that caused it. `None` if it is unknown, as after a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<Digest>,
    /// When, by the device's clock.
    pub at: Time,
}

impl DeployEvent {
    /// The cause of [`Phase::Live`] while another release waits to be tried at once.
    pub const REPLACED_NEXT: &str = "replaced_next";
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
            signers: Vec::new(),
        }
    }
}

impl TrialStatus {
    /// Describes a trial from the ledger only.
    pub fn of(trial: &Trial) -> Self {
        Self {
            slot: SlotStatus::of(&trial.slot),
            tries_left: trial.tries_left,
            since: trial.since,
            mode: None,
            is_paused: false,
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
    /// Name of the cause if another release replaced a trial, which is not a failure.
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

/// All counts at one moment: `accepted == results + skipped + dropped + failed + in_flight`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Samples that arrived.
    pub accepted: u64,
    /// Samples with a result.
    pub results: u64,
    /// Samples that were left out: by a component, or by the plan in force.
    #[serde(default)]
    pub skipped: u64,
    /// The same samples, by reason. Empty from older daemons.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped_by: BTreeMap<String, u64>,
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
    /// Failures of policies that fail open, by stage. Their samples have a result.
    #[serde(default)]
    pub tolerated: BTreeMap<String, u64>,
    /// Messages that could not be sent with Zenoh. Their samples are still counted above.
    pub unpublished: u64,
}

impl Counters {
    /// Dropped samples of every reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether all accepted samples are accounted for.
    pub fn add_up(&self) -> bool {
        let ended = self.results + self.skipped + self.dropped_total() + self.failed;
        self.accepted == ended + self.in_flight
    }
}

/// One stage's latency over the five minutes up to its last sample, within 2%.
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
    /// 99th percentile, in microseconds. `None` from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    /// Samples in those five minutes. `None` from older daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_samples: Option<u64>,
}

/// All counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// Samples that the release processed.
    pub samples: u64,
    /// Failed samples of any kind.
    pub errors: u64,
    /// Failed samples on which a component trapped.
    pub traps: u64,
    /// Failed samples that missed a deadline.
    pub deadline_misses: u64,
    /// 95th percentile of the time in the pipeline, without the queue, over the five minutes up to the last sample, in microseconds.
    pub p95_us: Option<u64>,
}
