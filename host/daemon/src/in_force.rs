//! The plan in force, as the intake and the workers read it.

/// What applies to a sample. The default leaves nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InForce {
    /// The mode by name; `None` is the full one, and so is a name that the release does not have.
    pub mode: Option<String>,
    /// How many of the preferred variants of each model are left out.
    pub skip_variants: u32,
}
