//! Why data stays on the device.

/// Why an output does not leave. The text has nothing of the data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its class never leaves.
    #[error(
        "`{output}` has data of the class `{class}`, which never leaves this device; see [data-contract] of release.toml and of hotshoe.toml"
    )]
    NeverLeaves {
        /// The class.
        class: String,
        /// The output.
        output: String,
    },
    /// Its class leaves as counts of many samples only.
    #[error(
        "`{output}` has data of the class `{class}`, which leaves this device as counts only; see [data-contract] of release.toml and of hotshoe.toml"
    )]
    OnlyCounts {
        /// The class.
        class: String,
        /// The output.
        output: String,
    },
    /// Its class leaves without some of its fields, and these bytes have none that the host knows.
    #[error(
        "`{output}` has data of the class `{class}`, which leaves anonymised only, and only an insight can be; give the output another class, or send an insight"
    )]
    NotAnonymisable {
        /// The class.
        class: String,
        /// The output.
        output: String,
    },
}

impl Refused {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NeverLeaves { .. } => "class_never_leaves",
            Self::OnlyCounts { .. } => "class_only_counts",
            Self::NotAnonymisable { .. } => "class_not_anonymisable",
        }
    }

    /// The class.
    pub fn class(&self) -> &str {
        match self {
            Self::NeverLeaves { class, .. }
            | Self::OnlyCounts { class, .. }
            | Self::NotAnonymisable { class, .. } => class,
        }
    }

    /// The output.
    pub fn output(&self) -> &str {
        match self {
            Self::NeverLeaves { output, .. }
            | Self::OnlyCounts { output, .. }
            | Self::NotAnonymisable { output, .. } => output,
        }
    }
}
