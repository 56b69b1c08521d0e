//! How the plans of a model were used.

/// How the plans of a model were used since it was loaded. ONNX Runtime plans each run anew; there, a plan stands for shapes
/// that it has run with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs that found their plan, or waited for the one that another run was compiling.
    pub hits: u64,
    /// Runs that compiled their plan.
    pub misses: u64,
    /// Plans that were dropped to make room.
    pub evictions: u64,
    /// Plans that are kept now.
    pub plans: usize,
}
