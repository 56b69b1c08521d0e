//! The privacy loss parameter ε, in millionths.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Millionths in 1.
pub(crate) const MILLION: u64 = 1_000_000;
/// The greatest ε, in millionths. Beyond 10 the promise means little.
pub const MAX_EPSILON: u64 = 10 * MILLION;

/// A privacy loss ε above zero, in millionths, so that budgets add up exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Epsilon(u64);

/// An ε out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("epsilon of {millionths} millionths is out of range; write 1 to {MAX_EPSILON}")]
pub struct EpsilonError {
    /// What was given.
    pub millionths: u64,
}

impl EpsilonError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        "epsilon_out_of_range"
    }
}

impl Epsilon {
    /// An ε of this many millionths, from 1 to [`MAX_EPSILON`].
    ///
    /// # Errors
    /// [`EpsilonError`] outside of the range.
    pub const fn from_millionths(millionths: u64) -> Result<Self, EpsilonError> {
        match millionths {
            1..=MAX_EPSILON => Ok(Self(millionths)),
            _ => Err(EpsilonError { millionths }),
        }
    }

    /// Its millionths.
    pub const fn millionths(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Epsilon {
    type Error = EpsilonError;

    fn try_from(millionths: u64) -> Result<Self, EpsilonError> {
        Self::from_millionths(millionths)
    }
}

impl From<Epsilon> for u64 {
    fn from(epsilon: Epsilon) -> Self {
        epsilon.0
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / MILLION, self.0 % MILLION)
    }
}
