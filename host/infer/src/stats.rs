//! Statistics of the plans of a model.

/// Statistics of the plans of a model since it was loaded. ONNX Runtime plans each run again; there, a plan means shapes of an earlier
/// run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Runs that found their plan, or waited for another run that was compiling it.
    pub hits: u64,
    /// Runs that compiled their plan.
    pub misses: u64,
    /// Plans that were evicted.
    pub evictions: u64,
    /// Plans in the cache.
    pub plans: usize,
}
