//! The limits that several parts of a baseline keep.

/// Most sources of a baseline.
pub const MAX_SERIES: usize = 32;
/// Most values that are kept of a source of numbers: evenly spaced ranks of more.
pub const MAX_VALUES: usize = 1_000;
/// Most dimensions of an embedding.
pub const MAX_DIMENSIONS: usize = 256;
/// Magnitudes beyond this are taken as this, so that no sum overflows.
pub(crate) const MOST: f64 = 1e12;
