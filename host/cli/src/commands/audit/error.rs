//! Why an audit log cannot be shown or verified.

use std::path::PathBuf;

/// Why a command about the audit log cannot run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditCommandError {
    /// The data folder has no audit log.
    #[error("{} has no audit log; the first start of a daemon or `hotshoe install` begins one", data.display())]
    NoLog {
        /// The data folder.
        data: PathBuf,
    },
    /// The file is not a head.
    #[error(
        "{} is not a head of an audit log; give a file with the `audit` of `hotshoe status --json`, or SEQUENCE:HASH",
        path.display()
    )]
    NotAHead {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The signature of the head is not the device's.
    #[error("the head in {} is not signed by the device's key; check --key, or give a head of this device", path.display())]
    UnsignedHead {
        /// The file.
        path: PathBuf,
    },
}

impl AuditCommandError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::NoLog { .. } => "no_audit_log",
            Self::NotAHead { .. } => "not_a_head",
            Self::UnsignedHead { .. } => "unsigned_head",
        }
    }
}
