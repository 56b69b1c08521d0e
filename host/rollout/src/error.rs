//! Why a plan, a statement or a count is refused.

use hotshoe_trust::{Digest, PartError, SignerError, Time};

/// Why a plan, a statement or a count is refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// The JSON of a part is not what is expected.
    #[error(transparent)]
    Part(#[from] PartError),
    /// It could not be made into JSON.
    #[error("the {part} cannot be written as JSON")]
    Encode {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// More signature bundles than allowed.
    #[error("{found} signature bundles; at most {limit} are allowed")]
    TooManyBundles {
        /// Bundles given.
        found: u64,
        /// Bundles allowed.
        limit: u64,
    },
    /// It is not signed.
    #[error("the {part} is not signed, and each {part} must be; sign it with `--key KEY`")]
    Unsigned {
        /// Which part.
        part: &'static str,
    },
    /// No bundle on it is valid; this is the error of the first one.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Fewer signers than the threshold.
    #[error(
        "{found} keys that may sign releases named `{release}` signed; {needed} are needed by trust.toml"
    )]
    TooFewSignatures {
        /// Keys that signed and may.
        found: usize,
        /// Keys needed.
        needed: usize,
        /// The release's name.
        release: String,
    },
    /// Signed, but only by keys that may not control this rollout.
    #[error(
        "key `{key}` may not control rollouts of `{release}`; add the name to its `rollouts` in trust.toml"
    )]
    SignerNotAllowed {
        /// The key's name.
        key: String,
        /// The release's name.
        release: String,
    },
    /// A statement or a count for another plan.
    #[error("it is for rollout {found}, but this is rollout {own}")]
    OtherPlan {
        /// This plan.
        own: Digest,
        /// The plan that it names.
        found: Digest,
    },
    /// A reversal that names other releases than the plan.
    #[error("the reversal is from {release} to {previous}, and the plan names other releases")]
    OtherReleases {
        /// The release that it names.
        release: Digest,
        /// The previous release that it names.
        previous: Digest,
    },
    /// Issued later than now.
    #[error("it was issued at {issued}, and the clock shows {now}; set the clock")]
    FromFuture {
        /// When it was issued.
        issued: Time,
        /// The time now.
        now: Time,
    },
    /// The plan expires before it begins.
    #[error("the plan expires no later than it is issued, at {issued}")]
    ExpiresTooSoon {
        /// When it was issued.
        issued: Time,
    },
    /// The plan leads from a release to itself.
    #[error("release {release} cannot be its own previous release")]
    SameRelease {
        /// The release.
        release: Digest,
    },
    /// A value beyond its range.
    #[error("{what} is {value}; write {least} to {most}")]
    OutOfRange {
        /// Which value.
        what: &'static str,
        /// The value.
        value: u64,
        /// The least allowed.
        least: u64,
        /// The most allowed.
        most: u64,
    },
    /// A name that cannot be part of a key.
    #[error("`{name}` is not a valid {what}; write 1 to 255 bytes without `/*$?#`")]
    Name {
        /// What it names.
        what: &'static str,
        /// The name, cut.
        name: String,
    },
    /// A count that contradicts itself.
    #[error("the count of site `{site}` is not valid: {reason}")]
    InvalidCount {
        /// The site.
        site: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl RolloutError {
    /// A stable snake_case name of the reason.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Part(error) => error.name(),
            Self::Encode { .. } => "malformed",
            Self::TooManyBundles { .. } => "too_many_bundles",
            Self::Unsigned { .. } => "unsigned_rollout",
            Self::Signer(error) => error.name(),
            Self::TooFewSignatures { .. } => "too_few_signatures",
            Self::SignerNotAllowed { .. } => "signer_not_allowed",
            Self::OtherPlan { .. } => "other_plan",
            Self::OtherReleases { .. } => "other_releases",
            Self::FromFuture { .. } => "rollout_from_future",
            Self::ExpiresTooSoon { .. }
            | Self::SameRelease { .. }
            | Self::OutOfRange { .. }
            | Self::Name { .. } => "invalid_rollout",
            Self::InvalidCount { .. } => "invalid_count",
        }
    }
}
