//! How a sample ended.

/// How a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a result.
    Result,
    /// With an error of its own.
    Failure,
    /// Dropped: the sample itself may be good.
    Drop,
    /// A component or the plan in force left it out.
    Skip,
    /// The device rests. A file is taken afterwards.
    Rest,
}
