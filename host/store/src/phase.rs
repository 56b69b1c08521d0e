//! The phases of one release on one device. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest message of a cause: 500 characters. It is part of the ledger, which is written often.
const MESSAGE_CHARS: usize = 500;

/// The phase of a release on this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Not wanted, or not yet begun.
    Absent,
    /// Its bytes are being received.
    Fetching,
    /// Enough trusted keys signed it, and it is for this device.
    Verified,
    /// All its blobs are on disk.
    Staged,
    /// It is loaded, and runs its self-tests.
    SelfTested,
    /// It gets copies of samples; its insights are compared and discarded.
    Shadow,
    /// It serves on trial, and the health gate monitors it.
    Trial,
    /// It serves.
    Live,
    /// It is not allowed on this device.
    Refused,
    /// It could not be loaded, or its self-test failed.
    Failed,
    /// It served, and the previous release serves again.
    RolledBack,
}

impl Phase {
    /// Whether a release in this phase is remembered and refused.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Refused | Self::Failed | Self::RolledBack)
    }

    /// Its name, in kebab case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Fetching => "fetching",
            Self::Verified => "verified",
            Self::Staged => "staged",
            Self::SelfTested => "self-tested",
            Self::Shadow => "shadow",
            Self::Trial => "trial",
            Self::Live => "live",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::RolledBack => "rolled-back",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a release is in its phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cause {
    /// A stable name, in snake case.
    pub name: String,
    /// A message for operators.
    pub message: String,
}

impl Cause {
    /// A cause; a message that is too long is cut.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        let (name, message) = (name.into(), message.into());
        Self { name, message }.bounded()
    }

    /// The same, short enough for the ledger.
    pub(crate) fn bounded(mut self) -> Self {
        for text in [&mut self.name, &mut self.message] {
            if let Some((cut, _)) = text.char_indices().nth(MESSAGE_CHARS) {
                text.truncate(cut);
            }
        }
        self
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}
