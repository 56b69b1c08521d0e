//! Events of a daemon: what happened, how serious it is, and to what. Status, log and alerts read the same ones.
//!
//! A reader keeps fields that it does not know, takes a kind or subject that it does not know as such, and reads a newer format as far
//! as it knows it.

use std::collections::BTreeMap;
use std::fmt;

use hotshoe_store::{Cause, Phase};
use hotshoe_trust::{Digest, Time};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The version of an event that this program writes. New kinds, subjects and fields do not raise it.
pub const EVENT_FORMAT: u32 = 1;
/// Most events that a daemon keeps, and that its status has: 100.
pub const MAX_EVENTS: usize = 100;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The version of this format: [`EVENT_FORMAT`].
    pub format: u32,
    /// How serious it is.
    pub severity: Severity,
    /// What happened.
    pub kind: Kind,
    /// What it happened to.
    pub subject: Subject,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<EventCause>,
    /// When, by the device's clock.
    pub time: Time,
    /// How far that clock can be trusted.
    #[serde(default)]
    pub clock: ClockQuality,
    /// Its number since the daemon started, from 1, without gaps. An event that repeats the last one keeps its number, and counts in the
    /// detail `repeated`.
    pub sequence: u64,
    /// Further details, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, Value>,
    /// Fields of a newer writer.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// How serious an event is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// An ordinary step.
    Info,
    /// What an operator asked for or may want to know.
    Notice,
    /// Something does not work.
    Error,
    /// Something is worse than before, and the daemon goes on. A severity that this reader does not know counts as this.
    #[serde(other)]
    Warning,
}

/// A kind of event. A reader keeps the name of one that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kind {
    /// One that this version writes.
    Known(KnownKind),
    /// One of another version.
    Unknown(String),
}

/// The kinds of event that this version writes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum KnownKind {
    /// A release was cancelled or withdrawn before it served.
    ReleaseAbsent,
    /// A release is being fetched.
    ReleaseFetching,
    /// A release's signatures were verified.
    ReleaseVerified,
    /// A release is complete on disk.
    ReleaseStaged,
    /// A release passed its self-tests.
    ReleaseSelfTested,
    /// A release runs in shadow.
    ReleaseShadow,
    /// A release began its probation.
    ReleaseTrial,
    /// A release was confirmed.
    ReleaseLive,
    /// A release was refused.
    ReleaseRefused,
    /// A release could not be loaded, or failed its self-tests.
    ReleaseFailed,
    /// A release was rolled back.
    ReleaseRolledBack,
    /// An attempt with a release failed, and is repeated.
    ReleaseRetried,
    /// Another release serves from now on.
    ReleaseSwapped,
    /// The live release cannot serve, and none before it can: the device is empty until it gets a release.
    NoReleaseServes,
    /// The daemon kept ending soon after its starts with the live release, which is given up.
    CrashLoop,
    /// A worker does not come back from a sample.
    WorkerStuck,
    /// A part of the daemon ended and restarts.
    PartRestarted,
    /// A part of the daemon ended and cannot restart.
    PartDied,
    /// A component traps repeatedly and is paused.
    ComponentPaused,
    /// A paused component works again.
    ComponentRecovered,
    /// A watched file was set aside.
    FileSetAside,
    /// An entry of the watched folder is not read.
    FileSkipped,
    /// The watched folder is not there, or cannot be listed.
    FolderLost,
    /// The watched folder is watched again.
    FolderWatched,
    /// The watched folder has no file events and is only listed periodically.
    FolderPolled,
    /// The last peer disconnected, or none was reached.
    PeersLost,
    /// Another daemon has the name of this device.
    NameConflict,
    /// No other daemon has the name of this device any more.
    NameConflictEnded,
    /// No valid statement is as recent as the configuration requires.
    StatementsStale,
    /// A file in the data folder could not be written.
    DiskWriteFailed,
    /// Another plan is in force.
    ModeChanged,
    /// The release's governor fails, and the device's own plan stands in.
    GovernorFailed,
    /// The release's governor makes plans again.
    GovernorRecovered,
    /// A plan of the release's governor is refused.
    PlanRefused,
    /// The plan in force has a new alert.
    Alert,
    /// A sensor that is there has no valid value.
    SensorFailed,
    /// An output that a governor drives cannot be written.
    OutputFailed,
    /// The data contract keeps an output on the device, the first of its class and output.
    EgressRefused,
    /// An alert of the device is raised, or is more or less serious than before.
    AlertRaised,
    /// An alert of the device has ended.
    AlertResolved,
    /// Samples differ from the baseline of the serving release.
    DriftBegan,
    /// Samples no longer differ from the baseline of the serving release.
    DriftEnded,
    /// The serving release drifts, and the previous one cannot serve in its place.
    DriftFallbackFailed,
}

/// What an event happened to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, strum::VariantNames)]
#[serde(tag = "what", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Subject {
    /// The device as a whole.
    Device,
    /// A release.
    Release {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
        /// The digest of its manifest.
        digest: Digest,
    },
    /// A component of the serving release.
    Component {
        /// Its name in the release.
        name: String,
    },
    /// A model of the serving release.
    Model {
        /// Its name in the release.
        name: String,
    },
    /// A source of samples or of objects.
    Source {
        /// Its name.
        name: String,
    },
    /// A file.
    File {
        /// Its path on the device.
        path: String,
    },
    /// A part of the daemon: a thread, or several of one name.
    Thread {
        /// Its name.
        name: String,
    },
    /// One of another version.
    #[serde(other)]
    Unknown,
}

/// Why an event happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCause {
    /// A stable name, in snake case.
    pub name: String,
    /// A message for operators.
    pub message: String,
}

/// How far the device's clock can be trusted.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ClockQuality {
    /// It was set by a time server.
    Synchronised,
    /// It was not.
    Unsynchronised,
    /// The system does not say.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Severity {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl ClockQuality {
    /// Its stable name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Kind {
    /// Its stable name, in snake case.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(kind) => kind.name(),
            Self::Unknown(name) => name,
        }
    }
}

impl KnownKind {
    /// Its stable name, in snake case.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The kind of a release's new phase.
    pub const fn of(phase: Phase) -> Self {
        match phase {
            Phase::Absent => Self::ReleaseAbsent,
            Phase::Fetching => Self::ReleaseFetching,
            Phase::Verified => Self::ReleaseVerified,
            Phase::Staged => Self::ReleaseStaged,
            Phase::SelfTested => Self::ReleaseSelfTested,
            Phase::Shadow => Self::ReleaseShadow,
            Phase::Trial => Self::ReleaseTrial,
            Phase::Live => Self::ReleaseLive,
            Phase::Refused => Self::ReleaseRefused,
            Phase::Failed => Self::ReleaseFailed,
            Phase::RolledBack => Self::ReleaseRolledBack,
        }
    }

    /// How serious it is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::ReleaseFetching
            | Self::ReleaseVerified
            | Self::ReleaseStaged
            | Self::ReleaseSelfTested
            | Self::ReleaseShadow => Severity::Info,
            Self::ReleaseAbsent
            | Self::ReleaseTrial
            | Self::ReleaseLive
            | Self::ReleaseSwapped
            | Self::ComponentRecovered
            | Self::FolderWatched
            | Self::NameConflictEnded
            | Self::ModeChanged
            | Self::GovernorRecovered
            | Self::AlertResolved
            | Self::DriftEnded => Severity::Notice,
            Self::ReleaseRefused
            | Self::ReleaseFailed
            | Self::ReleaseRolledBack
            | Self::ReleaseRetried
            | Self::ComponentPaused
            | Self::FileSetAside
            | Self::FileSkipped
            | Self::FolderLost
            | Self::FolderPolled
            | Self::PeersLost
            | Self::NameConflict
            | Self::StatementsStale
            | Self::GovernorFailed
            | Self::PlanRefused
            | Self::Alert
            | Self::SensorFailed
            | Self::OutputFailed
            | Self::EgressRefused
            | Self::AlertRaised
            | Self::DriftBegan
            | Self::DriftFallbackFailed => Severity::Warning,
            Self::PartRestarted
            | Self::PartDied
            | Self::CrashLoop
            | Self::WorkerStuck
            | Self::DiskWriteFailed
            | Self::NoReleaseServes => Severity::Error,
        }
    }

    /// The words for it in the log and in `hotshoe status`.
    pub const fn words(self) -> &'static str {
        match self {
            Self::ReleaseAbsent => "the release is no longer wanted",
            Self::ReleaseFetching => "the release is being fetched",
            Self::ReleaseVerified => "the release is verified",
            Self::ReleaseStaged => "the release is staged",
            Self::ReleaseSelfTested => "the release has passed its self-tests",
            Self::ReleaseShadow => "the release runs in shadow",
            Self::ReleaseTrial => "the release is on trial",
            Self::ReleaseLive => "the release is confirmed",
            Self::ReleaseRefused => "the release is refused",
            Self::ReleaseFailed => "the release has failed",
            Self::ReleaseRolledBack => "the release is rolled back",
            Self::ReleaseRetried => "the release will be tried again",
            Self::ReleaseSwapped => "the release serves",
            Self::NoReleaseServes => {
                "the release cannot serve, and NO RELEASE SERVES until this device gets one: publish it again, publish another, or \
                 use `hotshoe install`"
            }
            Self::CrashLoop => "the daemon kept ending with the release, and no longer serves it",
            Self::WorkerStuck => "a worker does not come back from a sample",
            Self::PartRestarted => "a part of this program ended and restarts",
            Self::PartDied => "a part of this program ended and cannot restart",
            Self::ComponentPaused => "the component traps repeatedly and is paused",
            Self::ComponentRecovered => "the component works again",
            Self::FileSetAside => "a watched file is set aside",
            Self::FileSkipped => "an entry of the watched folder is not read",
            Self::FolderLost => "the watched folder is gone",
            Self::FolderWatched => "the watched folder is watched again",
            Self::FolderPolled => {
                "the watched folder has no file events and is only listed periodically"
            }
            Self::PeersLost => "no peer is connected",
            Self::NameConflict => "another daemon has the same name as this device",
            Self::NameConflictEnded => "no other daemon has the same name as this device any more",
            Self::StatementsStale => {
                "no valid statement is as recent as `deploy.fresh-within-hours` requires"
            }
            Self::DiskWriteFailed => "a file cannot be written",
            Self::ModeChanged => "another plan is in force",
            Self::GovernorFailed => "the governor fails, and the device's own plan stands in",
            Self::GovernorRecovered => "the governor makes plans again",
            Self::PlanRefused => "a plan is refused, and the device's own plan stands in",
            Self::Alert => "an alert",
            Self::SensorFailed => "a sensor has no valid value",
            Self::OutputFailed => "an output cannot be written",
            Self::EgressRefused => "the data contract keeps an output on the device",
            Self::AlertRaised => "an alert is raised",
            Self::AlertResolved => "an alert has ended",
            Self::DriftBegan => "samples differ from the baseline of the release",
            Self::DriftEnded => "samples no longer differ from the baseline of the release",
            Self::DriftFallbackFailed => {
                "the release drifts, and the previous one cannot serve in its place"
            }
        }
    }
}

impl EventCause {
    /// A cause.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Cause::new(name, message).into()
    }
}

impl From<Cause> for EventCause {
    fn from(Cause { name, message }: Cause) -> Self {
        Self { name, message }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device => f.write_str("device"),
            Self::Release {
                name, generation, ..
            } => write!(f, "release {name} {generation}"),
            Self::Component { name } => write!(f, "component {name}"),
            Self::Model { name } => write!(f, "model {name}"),
            Self::Source { name } => write!(f, "source {name}"),
            Self::File { path } => write!(f, "file {path}"),
            Self::Thread { name } => write!(f, "thread {name}"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// One line: the subject, what happened, and why.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match &self.kind {
            Kind::Known(kind) => kind.words(),
            Kind::Unknown(name) => name,
        };
        write!(f, "{}: {words}", self.subject)?;
        match &self.cause {
            Some(cause) => write!(f, " ({}: {})", cause.name, cause.message),
            None => Ok(()),
        }
    }
}

/// Reads a list of events, and leaves out what is not one: a newer writer must not make a whole status unreadable.
///
/// # Errors
/// It is not a list.
pub fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Event>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    let events = values.into_iter().map(serde_json::from_value);
    Ok(events.filter_map(Result::ok).collect())
}
