//! What is counted, and why a simulation cannot go on.

use hotshoe_rollout::RolloutError;
use hotshoe_trust::{KeyError, RotationError, TrustError, VerifyError};

/// Why a simulation cannot go on: a defect of the simulation or of `rollout`.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// A key could not be made.
    #[error("cannot make the keys of the simulation")]
    Key(#[from] KeyError),
    /// The trusted keys are not valid.
    #[error("the trusted keys of the simulation are not valid")]
    Trust(#[from] TrustError),
    /// A release could not be written.
    #[error("a release of the simulation cannot be written")]
    Release(#[from] serde_json::Error),
    /// A release that was signed as it must be is refused.
    #[error("a release of the simulation is refused")]
    Verify(#[from] VerifyError),
    /// New trusted keys that were signed as they must be are refused.
    #[error("new trusted keys of the simulation are refused")]
    Rotation(#[from] RotationError),
    /// A plan, a statement or a count was refused.
    #[error("a message of the simulation was refused")]
    Rollout(#[from] RolloutError),
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Events of the simulation.
    pub events: u64,
    /// Counts that registries sent.
    pub counts: u64,
    /// Counts that had news, and were not sent only because of the time.
    pub counts_with_news: u64,
    /// Statements that controllers sent to registries.
    pub statements: u64,
    /// Reports that devices sent.
    pub reports: u64,
}
