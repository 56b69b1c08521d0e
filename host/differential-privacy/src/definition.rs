//! What is measured, and the bounds that its noise is made for.

use serde::{Deserialize, Serialize};

use crate::epsilon::Epsilon;
use crate::noise::Scale;

/// Most bytes of a name.
pub const MAX_NAME_BYTES: usize = 64;
/// Most cells of a histogram.
pub const MAX_CELLS: usize = 4_096;
/// Most records of one contributor that count in a window.
pub const MAX_CONTRIBUTIONS: u32 = 1_000;
/// The greatest magnitude of a bound.
pub const MAX_BOUND: i64 = 1 << 32;

/// What the records of a window become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Kind {
    /// The number of records.
    Count,
    /// The sum of their values, each clipped to these bounds.
    Sum {
        /// The smallest value that counts.
        lowest: i64,
        /// The greatest.
        highest: i64,
    },
    /// The number of values below the first edge, from each edge up to the next, and from the last edge on.
    Histogram {
        /// Ascending.
        edges: Vec<i64>,
    },
}

/// The definition of a figure. Figures of equal definitions can be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Definition {
    parts: Parts,
    scale: Scale,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    name: String,
    kind: Kind,
    contributions: u32,
    epsilon: Epsilon,
}

/// Why a definition cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// The name is empty or too long.
    #[error("the name has {bytes} bytes; write 1 to {MAX_NAME_BYTES}")]
    Name {
        /// Its bytes.
        bytes: usize,
    },
    /// One contributor may count too often, or not at all.
    #[error(
        "figure {name:?}: {contributions} contributions are out of range; write 1 to {MAX_CONTRIBUTIONS}"
    )]
    Contributions {
        /// The figure.
        name: String,
        /// What was given.
        contributions: u32,
    },
    /// The bounds of a sum are not ascending, both zero, or too large.
    #[error(
        "figure {name:?}: the bounds {lowest} to {highest} cannot be used; write ascending ones within ±{MAX_BOUND}"
    )]
    Bounds {
        /// The figure.
        name: String,
        /// The lower bound.
        lowest: i64,
        /// The upper one.
        highest: i64,
    },
    /// The edges of a histogram are missing, too many, too large, or not ascending.
    #[error(
        "figure {name:?}: the edges cannot be used; write 1 to {} ascending ones within ±{MAX_BOUND}",
        MAX_CELLS - 1
    )]
    Edges {
        /// The figure.
        name: String,
    },
}

impl DefinitionError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Name { .. } => "name_length",
            Self::Contributions { .. } => "contributions_out_of_range",
            Self::Bounds { .. } => "invalid_bounds",
            Self::Edges { .. } => "invalid_edges",
        }
    }
}

impl Definition {
    /// A figure that costs `epsilon` each time it is published. At most `contributions` records of one contributor count in a window.
    ///
    /// # Errors
    /// [`DefinitionError`]
    pub fn new(
        name: impl Into<String>,
        kind: Kind,
        contributions: u32,
        epsilon: Epsilon,
    ) -> Result<Self, DefinitionError> {
        Self::try_from(Parts {
            name: name.into(),
            kind,
            contributions,
            epsilon,
        })
    }

    /// A sketch: a histogram whose edges grow by a constant factor, as in DDSketch (Masson, Rim, Lee, VLDB 2019), so that a quantile is within
    /// `percent` percent of a value from `lowest` to `highest`. The edges are integers, and the same on every machine.
    ///
    /// # Errors
    /// [`DefinitionError`], also if the range takes too many cells.
    pub fn sketch(
        name: impl Into<String>,
        (lowest, highest): (u32, u32),
        percent: u8,
        contributions: u32,
        epsilon: Epsilon,
    ) -> Result<Self, DefinitionError> {
        let percent = u64::from(percent.clamp(1, 50));
        let (mut edge, highest) = (u64::from(lowest.max(1)), u64::from(highest));
        let mut edges = Vec::new();
        while edge <= highest && edges.len() < MAX_CELLS {
            edges.extend(i64::try_from(edge));
            edge = (edge * (100 + percent) / (100 - percent)).max(edge + 1);
        }
        edges.extend(i64::try_from(edge));
        Self::new(name, Kind::Histogram { edges }, contributions, epsilon)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// What the records become.
    pub fn kind(&self) -> &Kind {
        &self.parts.kind
    }

    /// Most records of one contributor that count in a window.
    pub fn contributions(&self) -> u32 {
        self.parts.contributions
    }

    /// What a publication costs.
    pub fn epsilon(&self) -> Epsilon {
        self.parts.epsilon
    }

    /// The parameters of the noise of each cell.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        match &self.parts.kind {
            Kind::Count | Kind::Sum { .. } => 1,
            Kind::Histogram { edges } => edges.len() + 1,
        }
    }
}

impl Kind {
    /// The greatest sum of changes to all cells that one contributor with one record makes: by being added, removed or replaced, also if
    /// another one then takes the free place of a full window.
    pub(crate) fn sensitivity(&self) -> u64 {
        match self {
            Self::Count => 1,
            Self::Sum { lowest, highest } => highest.max(&0).abs_diff(*lowest.min(&0)),
            // One record leaves a cell, and one enters another.
            Self::Histogram { .. } => 2,
        }
    }

    fn is_valid(&self) -> bool {
        let fits = |bound: i64| (-MAX_BOUND..=MAX_BOUND).contains(&bound);
        match self {
            Self::Count => true,
            Self::Sum { lowest, highest } => {
                fits(*lowest) && fits(*highest) && lowest <= highest && self.sensitivity() > 0
            }
            Self::Histogram { edges } => {
                (1..MAX_CELLS).contains(&edges.len())
                    && edges.iter().copied().all(fits)
                    && edges.is_sorted_by(|a, b| a < b)
            }
        }
    }
}

impl TryFrom<Parts> for Definition {
    type Error = DefinitionError;

    fn try_from(parts: Parts) -> Result<Self, DefinitionError> {
        let name = || parts.name.clone();
        let contributions = parts.contributions;
        if !(1..=MAX_NAME_BYTES).contains(&parts.name.len()) {
            let bytes = parts.name.len();
            return Err(DefinitionError::Name { bytes });
        }
        let wrong_bounds = || match &parts.kind {
            Kind::Sum { lowest, highest } => DefinitionError::Bounds {
                name: name(),
                lowest: *lowest,
                highest: *highest,
            },
            Kind::Count | Kind::Histogram { .. } => DefinitionError::Edges { name: name() },
        };
        if !(1..=MAX_CONTRIBUTIONS).contains(&contributions) {
            return Err(DefinitionError::Contributions {
                name: name(),
                contributions,
            });
        }
        if !parts.kind.is_valid() {
            return Err(wrong_bounds());
        }
        // At most 2^33 · 1,000 · 1,000,000 < 2^63.
        let sensitivity = parts.kind.sensitivity() * u64::from(contributions);
        let scale = Scale::new(parts.epsilon, sensitivity).ok_or_else(wrong_bounds)?;
        Ok(Self { parts, scale })
    }
}

impl From<Definition> for Parts {
    fn from(definition: Definition) -> Self {
        definition.parts
    }
}
