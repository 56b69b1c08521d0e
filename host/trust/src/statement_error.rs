//! Why a statement is refused: one variant per reason, each with a stable name for counters and JSON.

use crate::{
    limits::MAX_STATEMENT_LIFETIME, part_error::PartError, release::Time,
    release_error::ReleaseError, signers::SignerError,
};

/// Why a statement is refused.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// The JSON of a part is not what is expected.
    #[error(transparent)]
    Part(#[from] PartError),
    /// More bundles than [`crate::MAX_STATEMENT_BUNDLES`].
    #[error("the statement carries {found} signature bundles; at most {limit} are allowed")]
    TooManyBundles {
        /// Bundles given.
        found: u64,
        /// Bundles allowed.
        limit: u64,
    },
    /// It names more bundles of its release than any release may have.
    #[error("the statement names {found} bundles of its release; at most {limit} are allowed")]
    TooManyReleaseBundles {
        /// Bundles named.
        found: u64,
        /// Bundles allowed.
        limit: u64,
    },
    /// It is not signed, and this site requires signed statements.
    #[error("the statement is not signed, and this site requires it; publish with `--key KEY`")]
    Unsigned,
    /// No bundle on it is valid; this is the error of the first one.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Signed, but only by keys that may not sign releases of this name.
    #[error(
        "key `{key}` may not sign statements about releases named `{release}`; add the name to its `releases` in trust.toml"
    )]
    SignerNotAllowed {
        /// The key's name.
        key: String,
        /// The release's name.
        release: String,
    },
    /// A statement for another site.
    #[error("the statement is for site `{found}`, but this is site `{own}`")]
    WrongSite {
        /// This site.
        own: String,
        /// The statement's.
        found: String,
    },
    /// The clock is before a time that was already signed.
    #[error(
        "the clock shows {now}, which is before {floor}, a signed time that this device has already seen; set the clock"
    )]
    ClockBackwards {
        /// The time now.
        now: Time,
        /// The clock floor.
        floor: Time,
    },
    /// Issued in the future.
    #[error(
        "the statement was issued at {issued}, {} s ahead of this clock ({now}); set this clock, or that of the publisher",
        .now.duration_until(*.issued).as_secs()
    )]
    FromFuture {
        /// When it was made.
        issued: Time,
        /// The time now.
        now: Time,
    },
    /// Expired.
    #[error("the statement expired at {expires}, and the clock shows {now}; publish again")]
    Expired {
        /// When it expired.
        expires: Time,
        /// The time now.
        now: Time,
    },
    /// It expires at or before its issue.
    #[error("the statement expires at or before its issue; let it expire after {issued}")]
    ExpiresTooSoon {
        /// When it was made.
        issued: Time,
    },
    /// It is valid for longer than [`crate::MAX_STATEMENT_LIFETIME`].
    #[error(
        "the statement is valid from {issued} to {expires}; at most {} days are allowed",
        MAX_STATEMENT_LIFETIME.as_hours() / 24
    )]
    TooLongLived {
        /// When it was made.
        issued: Time,
        /// When it expires.
        expires: Time,
    },
    /// A name or pattern that breaks a rule of the format.
    #[error("the statement is not valid")]
    Invalid(#[from] ReleaseError),
    /// It could not be made into JSON.
    #[error("the statement cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
}

impl StatementError {
    /// A stable snake_case name of the reason.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Part(error) => error.name(),
            Self::Encode(_) => "malformed",
            Self::TooManyBundles { .. } | Self::TooManyReleaseBundles { .. } => "too_many_bundles",
            Self::Unsigned => "unsigned_statement",
            Self::Signer(error) => error.name(),
            Self::SignerNotAllowed { .. } => "signer_not_allowed",
            Self::WrongSite { .. } => "wrong_site",
            Self::ClockBackwards { .. } => "clock_backwards",
            Self::FromFuture { .. } => "statement_from_future",
            Self::Expired { .. } => "statement_expired",
            Self::TooLongLived { .. } => "statement_too_long_lived",
            Self::ExpiresTooSoon { .. } | Self::Invalid(_) => "invalid_statement",
        }
    }
}
