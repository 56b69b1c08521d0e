//! Statements about a rollout: advance, pause, abort, reverse.

use std::cmp::Reverse;

use hotshoe_store::Cause;
use hotshoe_trust::{Digest, Time};
use serde::{Deserialize, Serialize};

use crate::{
    checks::{check_text, within},
    error::RolloutError,
    plan::Plan,
};

/// Longest message of a cause in a statement: 500 characters, as in the ledger.
const MAX_MESSAGE_CHARS: u64 = 500;

/// What a rollout does next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Run the stage of the statement; also ends a pause.
    Advance {},
    /// No device begins; those that began go on.
    Pause {
        /// Why.
        cause: Cause,
    },
    /// No device begins, and those that did not confirm the release cancel it. It is final.
    Abort {
        /// Why.
        cause: Cause,
    },
    /// All devices go back to the previous release. It is final, and needs the threshold that signs the plan.
    Reverse {
        /// The plan's release.
        release: Digest,
        /// The plan's previous release.
        previous: Digest,
        /// Why.
        cause: Cause,
    },
}

impl Command {
    /// `advance`, `pause`, `abort` or `reverse`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Advance {} => "advance",
            Self::Pause { .. } => "pause",
            Self::Abort { .. } => "abort",
            Self::Reverse { .. } => "reverse",
        }
    }

    /// Why, for all but an advance.
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Advance {} => None,
            Self::Pause { cause } | Self::Abort { cause } | Self::Reverse { cause, .. } => {
                Some(cause)
            }
        }
    }
}

/// A statement about one rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RolloutStatement {
    /// The digest of the plan's text.
    pub plan: Digest,
    /// Its number, one more than that of the statement in force.
    pub number: u64,
    /// The highest stage that may run.
    pub stage: u32,
    /// What happens.
    pub command: Command,
    /// When it was issued.
    pub issued: Time,
}

impl RolloutStatement {
    /// Its place in the total order of statements with this digest: the greatest applies. A reversal and an abort are final, so that
    /// no number undoes them. Then the number decides, then a pause is over an advance, then the lower digest.
    pub(crate) fn rank(&self, digest: Digest) -> (u8, u64, u8, Reverse<Digest>) {
        let (finality, kind) = match self.command {
            Command::Advance {} => (0, 0),
            Command::Pause { .. } => (0, 1),
            Command::Abort { .. } => (1, 0),
            Command::Reverse { .. } => (2, 0),
        };
        (finality, self.number, kind, Reverse(digest))
    }

    /// Checks the rules that the types do not enforce.
    pub(crate) fn check(&self, plan: &Plan, digest: Digest) -> Result<(), RolloutError> {
        if self.plan != digest {
            return Err(RolloutError::OtherPlan {
                own: digest,
                found: self.plan,
            });
        }
        within("stage", self.stage.into(), 0, plan.last_stage().into())?;
        if let Some(cause) = self.command.cause() {
            check_text("cause", &cause.name)?;
            let chars = cause.message.chars().count() as u64;
            within("the length of a message", chars, 0, MAX_MESSAGE_CHARS)?;
        }
        match &self.command {
            Command::Reverse {
                release, previous, ..
            } if (*release, *previous) != (plan.release, plan.previous) => {
                Err(RolloutError::OtherReleases {
                    release: *release,
                    previous: *previous,
                })
            }
            _ => Ok(()),
        }
    }
}
