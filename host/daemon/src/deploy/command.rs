//! What an operator may ask of a device, through its socket or, while no daemon runs, of its data folder.

use hotshoe_protocol::status::{RollbackStatus, SlotStatus, SlotsStatus};
use hotshoe_store::{ApplyError, Cause, IllegalTransition, Ledger, Store, Transition};
use hotshoe_trust::{Digest, Time};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Name of the cause of what an operator or a deployer ordered.
pub const ORDERED: &str = "ordered";

/// What may be asked, as one line of JSON such as `{"command":"rollback"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    deny_unknown_fields
)]
pub enum Command {
    /// The whole status.
    Status,
    /// Back to the release before: ends a trial, or makes the previous release live, if that was not rolled back itself.
    Rollback,
    /// The staged release is to serve, as soon as the maintenance window allows it.
    Activate,
    /// The release that is fetched or staged is not wanted any more.
    Cancel,
    /// What became of releases so far.
    History,
    /// Accepts older generations of one release name again. It can be had locally alone.
    TrustFloor {
        /// The release's name.
        name: String,
        /// The lowest generation that is accepted from now on.
        generation: u64,
    },
}

/// Why a command was not followed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No release serves.
    #[error("no release serves on this device")]
    NothingLive,
    /// There is no release to go back to.
    #[error("there is no previous release to go back to; publish one with a higher generation")]
    NothingPrevious,
    /// The release before was itself left for the one that is live.
    #[error(
        "the release before, `{name}` generation {generation}, was itself rolled back ({cause}); \
         to run it again, publish it with a higher generation, or install it on the device with `hotshoe install`"
    )]
    PreviousRolledBack {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
        /// Why it was.
        cause: String,
    },
    /// No release is staged.
    #[error("no release is pending")]
    NothingStaged,
    /// The release that was named is not where the command needs it.
    #[error("release {release} is not {place} on this device; `hotshoe status` shows what is")]
    UnknownRelease {
        /// Which was named.
        release: Digest,
        /// Where it would have to be.
        place: &'static str,
    },
    /// A remote order would go below the floor.
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
    /// The device has no floor of that name.
    #[error("this device has never run a release `{0}`; `hotshoe status` lists the releases that it has")]
    NoSuchName(String),
    /// A floor that would rise.
    #[error("the floor of `{name}` is {floor}; only a lower one can be set")]
    NotLower {
        /// The release's name.
        name: String,
        /// The floor that it has.
        floor: u64,
    },
    /// Only a running daemon can do it.
    #[error("this needs a running daemon; start it with `hotshoe run`")]
    NeedsDaemon,
    /// The release to go back to cannot serve.
    #[error("the release to go back to cannot serve: {0}")]
    Damaged(String),
    /// The slots do not allow it.
    #[error("the device's slots do not allow it now")]
    Illegal(#[source] IllegalTransition),
    /// The ledger could not be written.
    #[error("the ledger cannot be written")]
    Write(#[source] ApplyError),
    /// The deploy thread did not answer.
    #[error("the daemon is busy with a release, or is stopping; try again")]
    Busy,
    /// An order's envelope or statement was not taken.
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
            Self::NothingLive => "nothing_live",
            Self::NothingPrevious => "nothing_previous",
            Self::PreviousRolledBack { .. } => "previous_rolled_back",
            Self::NothingStaged => "nothing_staged",
            Self::UnknownRelease { .. } => "unknown_release",
            Self::BelowFloor { .. } => "below_floor",
            Self::NoSuchName(_) => "no_such_name",
            Self::NotLower { .. } => "not_lower",
            Self::NeedsDaemon => "needs_daemon",
            Self::Damaged(_) => "damaged_release",
            Self::Illegal(_) => "illegal_transition",
            Self::Write(_) => "io",
            Self::Busy => "busy",
            Self::Order { name, .. } => name,
        }
    }

    /// As it goes over the wire: `{"name": .., "message": ..}`.
    pub fn to_json(&self) -> Value {
        json!({"name": self.name(), "message": crate::deploy::chain(self)})
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

/// Follows a command on a data folder that no daemon uses.
///
/// # Errors
/// [`CommandError`]; the folder is then as it was.
pub fn offline(store: &mut Store, command: &Command, now: Time) -> Result<Value, CommandError> {
    match command {
        Command::Status => Ok(json!({
            "slots": SlotsStatus::of(store.ledger()),
            "last_rollback": RollbackStatus::latest(store.ledger()),
        })),
        Command::Rollback => {
            let (transition, left) = going_back(store.ledger(), &ordered("by the operator"))?;
            store.apply(&transition, now)?;
            Ok(went_back(&left, store.ledger()))
        }
        Command::Cancel => {
            let staged = store.ledger().staged.clone();
            let staged = staged.ok_or(CommandError::NothingStaged)?;
            store.apply(&Transition::Unstage(ordered("by the operator")), now)?;
            Ok(json!({"release": staged.release}))
        }
        Command::Activate => Err(CommandError::NeedsDaemon),
        Command::History => Ok(history(store.ledger())),
        Command::TrustFloor { name, generation } => lower_floor(store, name, *generation, now),
    }
}

/// The cause of what somebody ordered.
pub(super) fn ordered(by: &str) -> Cause {
    Cause::new(ORDERED, by)
}

/// How this ledger goes back, and which slot it leaves.
pub(super) fn going_back(
    ledger: &Ledger,
    cause: &Cause,
) -> Result<(Transition, SlotStatus), CommandError> {
    if let Some(trial) = &ledger.trial {
        return Ok((
            Transition::RollBack(cause.clone()),
            SlotStatus::of(&trial.slot),
        ));
    }
    let live = ledger.live.as_ref().ok_or(CommandError::NothingLive)?;
    let previous = ledger.previous.as_ref();
    let previous = previous.ok_or(CommandError::NothingPrevious)?;
    if let Some(cause) = ledger.rolled_back(previous) {
        return Err(CommandError::PreviousRolledBack {
            name: previous.name.clone(),
            generation: previous.generation,
            cause: cause.to_string(),
        });
    }
    Ok((Transition::GoBack(cause.clone()), SlotStatus::of(live)))
}

/// The answer to a rollback.
pub(super) fn went_back(left: &SlotStatus, ledger: &Ledger) -> Value {
    json!({"left": left, "now": ledger.live.as_ref().map(SlotStatus::of)})
}

/// What became of releases, oldest first.
pub(super) fn history(ledger: &Ledger) -> Value {
    serde_json::to_value(&ledger.history).unwrap_or_default()
}

/// Lowers a floor, which everybody who reads the log is to know.
pub(super) fn lower_floor(
    store: &mut Store,
    name: &str,
    generation: u64,
    now: Time,
) -> Result<Value, CommandError> {
    let entry = store.ledger().floor.get(name);
    let floor = entry
        .ok_or_else(|| CommandError::NoSuchName(name.to_owned()))?
        .generation;
    if generation >= floor {
        return Err(CommandError::NotLower {
            name: name.to_owned(),
            floor,
        });
    }
    let transition = Transition::LowerFloor {
        name: name.to_owned(),
        generation,
    };
    store.apply(&transition, now)?;
    tracing::warn!(
        release = name,
        from = floor,
        to = generation,
        "THE FLOOR WAS LOWERED by the operator: older generations are accepted again"
    );
    Ok(json!({"name": name, "generation": generation}))
}
