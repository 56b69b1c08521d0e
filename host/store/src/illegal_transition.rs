//! Why a transition is not allowed.

use hotshoe_trust::Time;

use crate::phase::Phase;

/// Why a transition is not allowed in the current state of the ledger. The ledger is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    /// No release is live.
    #[error("no release serves on this device")]
    NothingLive,
    /// There is no previous release.
    #[error("there is no previous release to go back to; publish one with a higher generation")]
    NothingPrevious,
    /// The previous release was itself rolled back.
    #[error(
        "the release before, `{name}` generation {generation}, was itself rolled back ({cause}); \
         to run it again, publish it with a higher generation, or install it on the device with `hotshoe install`"
    )]
    PreviousRolledBack {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
        /// Why.
        cause: String,
    },
    /// No release is staged.
    #[error("no release is staged; publish one first")]
    NothingStaged,
    /// No release is on trial.
    #[error("no release is on trial")]
    NothingOnTrial,
    /// Another release is on trial.
    #[error(
        "generation {generation} of `{name}` is on trial; wait until it is confirmed, or roll it back"
    )]
    OnTrial {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
    },
    /// The trial has used up its tries.
    #[error("the trial of generation {generation} of `{name}` has no tries left; roll it back")]
    NoTriesLeft {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
    },
    /// Below the floor, or at the floor with different content.
    #[error(
        "generation {generation} of `{name}` is below this device's floor, or differs from the one that this device has seen"
    )]
    BelowFloor {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
    },
    /// It, or a later one of its name, failed here.
    #[error(
        "generation {generation} of `{name}` is refused, since generation {failed} failed here ({cause}); publish a higher one"
    )]
    FailedBefore {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
        /// The generation that failed.
        failed: u64,
        /// The name of the cause.
        cause: String,
    },
    /// It already serves.
    #[error("generation {generation} of `{name}` already serves")]
    AlreadyServing {
        /// Its name.
        name: String,
        /// Its generation.
        generation: u64,
    },
    /// A phase that is not a failure.
    #[error("phase `{0}` is not a failure before a trial")]
    NotAFailure(Phase),
    /// No floor of that name.
    #[error(
        "this device has never run a release `{0}`; `hotshoe status` lists the releases that it has"
    )]
    NoSuchName(String),
    /// Not below the floor.
    #[error(
        "the floor of `{name}` is {floor}; only a lower one can be set, and {generation} is not"
    )]
    NotLower {
        /// The name.
        name: String,
        /// The floor asked for.
        generation: u64,
        /// The floor.
        floor: u64,
    },
    /// No failure of this release is remembered.
    #[error("no failure of this release of `{0}` is remembered here")]
    NotFailed(String),
    /// A version of the trusted keys that is not newer.
    #[error("version {version} of the trusted keys does not follow version {current}")]
    OldTrust {
        /// The version asked for.
        version: u64,
        /// The present one.
        current: u64,
    },
    /// An older statement than the newest one.
    #[error("the statement about `{name}` of {issued} is older than one that this device has seen")]
    Replayed {
        /// The release's name.
        name: String,
        /// When it was issued.
        issued: Time,
    },
}

impl IllegalTransition {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NothingLive => "nothing_live",
            Self::NothingPrevious => "nothing_previous",
            Self::PreviousRolledBack { .. } => "previous_rolled_back",
            Self::NothingStaged => "nothing_staged",
            Self::NothingOnTrial => "nothing_in_trial",
            Self::OnTrial { .. } => "in_trial",
            Self::NoTriesLeft { .. } => "no_tries_left",
            Self::BelowFloor { .. } => "below_floor",
            Self::FailedBefore { .. } => "failed_before",
            Self::AlreadyServing { .. } => "already_serving",
            Self::NotAFailure(_) => "not_a_failure",
            Self::NoSuchName(_) => "no_such_name",
            Self::NotLower { .. } => "not_lower",
            Self::NotFailed(_) => "not_failed",
            Self::OldTrust { .. } => "old_trust",
            Self::Replayed { .. } => "replayed",
        }
    }
}
