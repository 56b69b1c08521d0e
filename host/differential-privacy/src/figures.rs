//! Published figures: they have their noise, so whatever is computed from them keeps the promise.

use serde::{Deserialize, Serialize};

use crate::definition::{Definition, Kind};
use crate::noise::Scale;

/// The figures of one or more windows, with noise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Figures {
    parts: Parts,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    definition: Definition,
    cells: Vec<i64>,
    windows: u64,
}

/// Figures that do not fit together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Their definitions differ.
    #[error("figures of {left:?} and {right:?} have different definitions and cannot be added")]
    Definition {
        /// One name.
        left: String,
        /// The other.
        right: String,
    },
    /// The number of cells is not that of the definition, or there is no window.
    #[error(
        "figure {name:?} has {cells} cells of {windows} windows, which its definition does not allow"
    )]
    Shape {
        /// The figure.
        name: String,
        /// Its cells.
        cells: usize,
        /// Its windows.
        windows: u64,
    },
}

impl MergeError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Definition { .. } => "different_definitions",
            Self::Shape { .. } => "invalid_figures",
        }
    }
}

impl Figures {
    pub(crate) fn new(definition: Definition, cells: Vec<i64>) -> Self {
        Self {
            parts: Parts {
                definition,
                cells,
                windows: 1,
            },
        }
    }

    /// What was measured.
    pub fn definition(&self) -> &Definition {
        &self.parts.definition
    }

    /// One value for each cell. Noise makes some of them negative.
    pub fn cells(&self) -> &[i64] {
        &self.parts.cells
    }

    /// Number of windows, of all devices, that were added up.
    pub fn windows(&self) -> u64 {
        self.parts.windows
    }

    /// The standard deviation of the noise in each cell.
    pub fn deviation(&self) -> f64 {
        let scale: Scale = self.parts.definition.scale();
        #[expect(clippy::cast_precision_loss, reason = "a figure for readers")]
        let windows = self.parts.windows as f64;
        scale.deviation() * windows.sqrt()
    }

    /// Adds the figures of another window, or of another device.
    ///
    /// # Errors
    /// [`MergeError::Definition`] if they measure something else; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<(), MergeError> {
        if self.parts.definition != other.parts.definition {
            return Err(MergeError::Definition {
                left: self.parts.definition.name().to_owned(),
                right: other.parts.definition.name().to_owned(),
            });
        }
        for (cell, more) in self.parts.cells.iter_mut().zip(&other.parts.cells) {
            *cell = cell.saturating_add(*more);
        }
        self.parts.windows = self.parts.windows.saturating_add(other.parts.windows);
        Ok(())
    }

    /// The value that the share `q` of a histogram's values does not exceed, from 0 to 1: between the edges of its cell, within the relative
    /// error of a sketch. `None` for other kinds, and if no cell is above zero.
    pub fn quantile(&self, q: f64) -> Option<i64> {
        let Kind::Histogram { edges } = self.parts.definition.kind() else {
            return None;
        };
        // Negative cells are noise.
        let mut counts = self
            .parts
            .cells
            .iter()
            .map(|cell| i128::from(*cell.max(&0)));
        let total: i128 = counts.clone().sum();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "a rank among noisy counts"
        )]
        let rank = (q.clamp(0.0, 1.0) * (total - 1).max(0) as f64) as i128;
        let mut seen = 0;
        let cell = counts.position(|count| {
            seen += count;
            seen > rank
        })?;
        let below = cell.checked_sub(1).and_then(|at| edges.get(at)).copied();
        let above = edges.get(cell).copied();
        match (below, above) {
            (Some(low), Some(high)) => Some(between(low, high)),
            (low, high) => low.or(high),
        }
    }
}

/// The value of least relative error to all from `low` up to `high`, if both are above zero; else their middle.
fn between(low: i64, high: i64) -> i64 {
    let (wide_low, wide_high) = (i128::from(low), i128::from(high));
    let value = if low > 0 {
        2 * wide_low * wide_high / (wide_low + wide_high)
    } else {
        (wide_low + wide_high).div_euclid(2)
    };
    i64::try_from(value).unwrap_or(low)
}

impl TryFrom<Parts> for Figures {
    type Error = MergeError;

    fn try_from(parts: Parts) -> Result<Self, MergeError> {
        if parts.cells.len() != parts.definition.cells() || parts.windows == 0 {
            return Err(MergeError::Shape {
                name: parts.definition.name().to_owned(),
                cells: parts.cells.len(),
                windows: parts.windows,
            });
        }
        Ok(Self { parts })
    }
}

impl From<Figures> for Parts {
    fn from(figures: Figures) -> Self {
        figures.parts
    }
}
