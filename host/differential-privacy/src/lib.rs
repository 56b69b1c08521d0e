//! Figures of a fleet with differential privacy: counts, sums and histograms of a window, with exact noise, within a budget for each day.
//!
//! Two data sets are neighbours if they differ in the records of one contributor, who was added, removed or replaced. For all sets of results,
//! the probabilities of two neighbours differ by a factor of at most e^ε. [`publish`] alone makes [`Figures`] of a [`Window`], after the
//! [`Budget`] has stored what they cost.
#![forbid(unsafe_code)]

mod budget;
mod definition;
mod epsilon;
mod figures;
mod noise;
mod series;
mod window;

pub use budget::{BUDGET_FILE, Boot, Budget, BudgetError, DAY};
pub use definition::{
    Definition, DefinitionError, Kind, MAX_BOUND, MAX_CELLS, MAX_CONTRIBUTIONS, MAX_NAME_BYTES,
};
pub use epsilon::{Epsilon, EpsilonError, MAX_EPSILON};
pub use figures::{Figures, MergeError};
pub use noise::{Noise, Scale};
pub use series::{MAX_VALUES, Packed, SeriesError, pack, unpack};
pub use window::{MAX_CONTRIBUTORS, PublishError, Window, publish};
