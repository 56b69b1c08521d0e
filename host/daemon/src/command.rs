//! An operator's commands, over the control socket or, if no daemon runs, on the data folder.

use hotshoe_audit::Entry;
use hotshoe_base::chain;
use hotshoe_outbox::EraseError;
use hotshoe_protocol::alert::{AlertKind, MAX_SILENCES};
use hotshoe_protocol::status::{RollbackStatus, SlotStatus, SlotsStatus};
use hotshoe_shared_data::SharedDataError;
use hotshoe_store::{ApplyError, Cause, IllegalTransition, Ledger, Store, Transition};
use hotshoe_trust::{Digest, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Name of the cause of a command or order.
pub const ORDERED: &str = "ordered";
/// Message of a cause that an operator on the device gave.
pub(crate) const BY_OPERATOR: &str = "by the operator";
/// Message of a cause that a deployer's order gave.
pub(crate) const BY_DEPLOYER: &str = "by the deployer";

/// A command, as one line of JSON such as `{"command":"rollback"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Command {
    /// Returns the status.
    Status,
    /// Ends a trial, or makes the previous release live, if that was not rolled back itself.
    Rollback,
    /// Activates the staged release, as soon as the maintenance window allows it.
    Activate,
    /// Cancels the pending release.
    Cancel,
    /// Returns the history of releases.
    History,
    /// Lowers the floor of a release name. Only possible locally.
    TrustFloor {
        /// The release's name.
        name: String,
        /// The lowest generation that is accepted from now on.
        generation: u64,
    },
    /// Reads or writes a shared value, as the device.
    SharedData {
        /// What to do.
        action: SharedDataAction,
    },
    /// Lists or erases what the device keeps. Only possible locally.
    Data {
        /// What to do.
        action: DataAction,
    },
    /// Lists alerts, or begins or ends a silence. Only possible locally.
    Alerts {
        /// What to do.
        action: AlertsAction,
    },
    /// Records that a stored secret was changed. Only possible locally.
    Secret {
        /// What was done.
        action: SecretAction,
    },
}

/// A change of a stored secret, which another process has made. It has no value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SecretAction {
    /// It has a new value.
    Set {
        /// Its name.
        name: String,
    },
    /// It was removed.
    Remove {
        /// Its name.
        name: String,
    },
}

/// A command on alerts. Each returns the [`AlertList`](hotshoe_protocol::alert::AlertList).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum AlertsAction {
    /// Only lists.
    List {},
    /// Begins a silence, in place of an earlier one of the same alerts.
    Silence {
        /// The kind of alert.
        kind: AlertKind,
        /// The subject; `None` for all.
        #[serde(default)]
        subject: Option<String>,
        /// Its length in seconds: 60 to [`MAX_SILENCE_S`].
        seconds: u64,
    },
    /// Ends the silences of a kind.
    Unsilence {
        /// The kind of alert.
        kind: AlertKind,
        /// The subject; `None` for all silences of the kind.
        #[serde(default)]
        subject: Option<String>,
    },
}

/// Shortest silence, in seconds.
pub const MIN_SILENCE_S: u64 = 60;
/// Longest silence, in seconds: a year.
pub const MAX_SILENCE_S: u64 = 366 * 86_400;
/// Longest subject of a silence, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 256;

/// A command on stored outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataAction {
    /// Returns what there is of each source.
    List {},
    /// Erases a source, and returns what was erased.
    Erase {
        /// The source: `insight`, `action` or `custom:TOPIC`.
        source: String,
    },
}

/// A command on shared data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SharedDataAction {
    /// Returns all values.
    List {},
    /// Returns a value.
    Get {
        /// The value's name.
        name: String,
    },
    /// Sets a value, and returns it.
    Set {
        /// The value's name.
        name: String,
        /// The value.
        value: Value,
    },
    /// Appends an item to a list, and returns the list.
    Append {
        /// The list's name.
        name: String,
        /// The item.
        value: Value,
    },
}

impl Command {
    /// Adds its name and its arguments to an audit record.
    pub fn described(&self, mut entry: Entry) -> Entry {
        let json = serde_json::to_value(self).unwrap_or_default();
        for (name, value) in json.as_object().into_iter().flatten() {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            entry = entry.with(name, text);
        }
        entry
    }

    /// Whether it ends a compilation that runs, which may take minutes: it may be about the release that is compiled.
    pub const fn interrupts(&self) -> bool {
        matches!(self, Self::Rollback | Self::Cancel)
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No release is pending.
    #[error("no release is pending")]
    NothingStaged,
    /// The named release is not in the state that the order needs.
    #[error("release {release} is not {place} on this device; `hotshoe status` shows what is")]
    UnknownRelease {
        /// The named release.
        release: Digest,
        /// The state that it would have to be in.
        place: &'static str,
    },
    /// A remote rollback would go below the floor.
    #[error(
        "`{name}` generation {generation} is below the floor {floor}: roll back on the device itself with `hotshoe rollback --config`, \
         or publish its content again with a higher generation"
    )]
    BelowFloor {
        /// The previous release's name.
        name: String,
        /// Its generation.
        generation: u64,
        /// The lowest that is accepted.
        floor: u64,
    },
    /// The command needs a running daemon.
    #[error("this needs a running daemon; start it with `hotshoe run`")]
    NeedsDaemon,
    /// The release to go back to cannot serve.
    #[error("the release to go back to cannot serve: {0}")]
    Damaged(String),
    /// The ledger does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The ledger could not be written.
    #[error("the ledger cannot be written")]
    Write(#[source] ApplyError),
    /// The deploy thread did not answer.
    #[error("the daemon is busy with a release, or is stopping; try again")]
    Busy,
    /// A command on shared data was refused.
    #[error(transparent)]
    SharedData(#[from] SharedDataError),
    /// Nothing is durable, or the outbox cannot be used.
    #[error("this device has no outbox that can be used; `hotshoe status` shows why")]
    NoOutbox,
    /// A source was not erased.
    #[error(transparent)]
    Erase(#[from] EraseError),
    /// A silence is too short or too long.
    #[error("a silence lasts {MIN_SILENCE_S} to {MAX_SILENCE_S} s, not {seconds} s")]
    SilenceLength {
        /// Its length in seconds.
        seconds: u64,
    },
    /// The name of a subject is too long.
    #[error(
        "the subject of a silence has at most {MAX_SUBJECT_BYTES} bytes; `hotshoe alerts list` shows the subjects"
    )]
    SilenceSubject,
    /// There are too many silences.
    #[error("there are {MAX_SILENCES} silences already; end one with `hotshoe alerts unsilence`")]
    TooManySilences,
    /// Nothing is silenced so.
    #[error("no such silence; `hotshoe alerts list` shows those that there are")]
    NoSilence,
    /// The file of the alerts cannot be written.
    #[error("the alerts cannot be saved, so the silence ends with the daemon")]
    AlertsFile(#[source] std::io::Error),
    /// An order's envelope or statement was refused.
    #[error("{message}")]
    Order {
        /// The stable name of the reason.
        name: &'static str,
        /// The reason, with its causes.
        message: String,
    },
}

impl CommandError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NothingStaged => "nothing_staged",
            Self::UnknownRelease { .. } => "unknown_release",
            Self::BelowFloor { .. } => "below_floor",
            Self::NeedsDaemon => "needs_daemon",
            Self::Damaged(_) => "damaged_release",
            Self::Illegal(
                error @ (IllegalTransition::NothingLive
                | IllegalTransition::NothingPrevious
                | IllegalTransition::PreviousRolledBack { .. }
                | IllegalTransition::NoSuchName(_)
                | IllegalTransition::NotLower { .. }),
            ) => error.name(),
            // The other ones are about slots that changed in between.
            Self::Illegal(_) => "illegal_transition",
            Self::Write(_) => "io",
            Self::Busy => "busy",
            Self::SharedData(error) => error.name(),
            Self::NoOutbox => "no_outbox",
            Self::Erase(error) => error.name(),
            Self::SilenceLength { .. } => "silence_length",
            Self::SilenceSubject => "silence_subject",
            Self::TooManySilences => "too_many_silences",
            Self::NoSilence => "no_silence",
            Self::AlertsFile(_) => "alerts_file",
            Self::Order { name, .. } => name,
        }
    }

    /// The JSON `{"name": .., "message": ..}`.
    pub fn to_json(&self) -> Value {
        json!({"name": self.name(), "message": chain(self)})
    }
}

impl From<ApplyError> for CommandError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Illegal(error) => Self::Illegal(error),
            error => Self::Write(error),
        }
    }
}

/// Carries out a command on a data folder that no daemon uses.
///
/// # Errors
/// [`CommandError`]; the folder is then unchanged.
pub fn offline(store: &mut Store, command: &Command, now: Time) -> Result<Value, CommandError> {
    match command {
        Command::Status => Ok(json!({
            "slots": SlotsStatus::of(store.ledger()),
            "last_rollback": RollbackStatus::latest(store.ledger()),
        })),
        Command::Rollback => {
            let (transition, left) = rollback_transition(store.ledger(), &ordered(BY_OPERATOR))?;
            store.apply(&transition, now)?;
            Ok(rollback_answer(&left, store.ledger()))
        }
        Command::Cancel => {
            let staged = store.ledger().staged.clone();
            let staged = staged.ok_or(CommandError::NothingStaged)?;
            store.apply(&Transition::Unstage(ordered(BY_OPERATOR)), now)?;
            Ok(json!({"release": staged.release}))
        }
        Command::Activate
        | Command::SharedData { .. }
        | Command::Data { .. }
        | Command::Alerts { .. }
        | Command::Secret { .. } => Err(CommandError::NeedsDaemon),
        Command::History => Ok(history([store.ledger()])),
        Command::TrustFloor { name, generation } => {
            let (transition, floor) = floor_transition(store.ledger(), name, *generation)?;
            store.apply(&transition, now)?;
            Ok(floor_answer(name, floor, *generation))
        }
    }
}

/// The cause of a command or order.
pub(crate) fn ordered(by: &str) -> Cause {
    Cause::new(ORDERED, by)
}

/// The transition of a rollback, and the slot that it leaves.
pub(crate) fn rollback_transition(
    ledger: &Ledger,
    cause: &Cause,
) -> Result<(Transition, SlotStatus), IllegalTransition> {
    if let Some(trial) = &ledger.trial {
        return Ok((
            Transition::RollBack(cause.clone()),
            SlotStatus::of(&trial.slot),
        ));
    }
    let live = ledger.live.as_ref().ok_or(IllegalTransition::NothingLive)?;
    let previous = ledger.previous.as_ref();
    let previous = previous.ok_or(IllegalTransition::NothingPrevious)?;
    if let Some(cause) = ledger.rolled_back(previous) {
        return Err(IllegalTransition::PreviousRolledBack {
            name: previous.name.clone(),
            generation: previous.generation,
            cause: cause.to_string(),
        });
    }
    Ok((Transition::GoBack(cause.clone()), SlotStatus::of(live)))
}

/// The answer to a rollback.
pub(crate) fn rollback_answer(left: &SlotStatus, ledger: &Ledger) -> Value {
    json!({"left": left, "now": ledger.live.as_ref().map(SlotStatus::of)})
}

/// The history of the releases in these ledgers, one for each kind, oldest first.
pub fn history<'l>(ledgers: impl IntoIterator<Item = &'l Ledger>) -> Value {
    let mut events: Vec<_> = ledgers.into_iter().flat_map(|it| &it.history).collect();
    // Stable, so that events of one ledger stay in their order where the clock was set back within a second.
    events.sort_by_key(|event| event.at);
    serde_json::to_value(events).unwrap_or_default()
}

/// The transition that lowers a floor, and the present floor.
pub(crate) fn floor_transition(
    ledger: &Ledger,
    name: &str,
    generation: u64,
) -> Result<(Transition, u64), IllegalTransition> {
    let entry = ledger.floor.get(name);
    let floor = entry
        .ok_or_else(|| IllegalTransition::NoSuchName(name.to_owned()))?
        .generation;
    if generation >= floor {
        return Err(IllegalTransition::NotLower {
            name: name.to_owned(),
            generation,
            floor,
        });
    }
    let transition = Transition::LowerFloor {
        name: name.to_owned(),
        generation,
    };
    Ok((transition, floor))
}

/// The answer to a lowered floor, with a warning in the log.
pub(crate) fn floor_answer(name: &str, from: u64, to: u64) -> Value {
    tracing::warn!(
        release = name,
        from,
        to,
        "THE FLOOR WAS LOWERED by the operator: older generations are accepted again"
    );
    json!({"name": name, "generation": to})
}
