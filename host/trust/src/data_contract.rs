//! Which data of a pipeline may be recorded from a device.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

/// A kind of data that `hotshoe record` takes from a running device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordKind {
    /// The samples as they arrived.
    Sample,
    /// The tensors of preprocessors and models.
    Tensors,
    /// The results, also those that a policy keeps on the device, and what the policies decided.
    Insight,
}

impl RecordKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sample, Self::Tensors, Self::Insight];
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sample => "sample",
            Self::Tensors => "tensors",
            Self::Insight => "insight",
        })
    }
}

/// The `[data-contract]` of a release: what its signers agree to. The device's operator has to agree, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataContract {
    /// What may be recorded. Default: nothing.
    pub record: BTreeSet<RecordKind>,
}

impl DataContract {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
