//! Why a release is refused: one variant per reason, each with a stable name for counters and JSON.

use crate::{
    digest::Digest,
    manifest::ManifestError,
    part_error::PartError,
    release::Time,
    release_error::ReleaseError,
    signers::{SignerError, also},
};

/// Why a release is refused.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not signed.
    #[error("the release is not signed; sign it with `hotshoe sign --key KEY RELEASE`")]
    NoBundle,
    /// More bundles than [`crate::ReleaseLimits::BUNDLES`].
    #[error("the release carries {found} signature bundles; at most {limit} are allowed")]
    TooManyBundles {
        /// Bundles given.
        found: u64,
        /// Bundles allowed.
        limit: u64,
    },
    /// No bundle on it is valid; this is the error of the first one.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Fewer distinct keys signed than are needed.
    #[error("signed by {found} of the {needed} keys needed ({}){}", signers.join(", "), also(refused))]
    TooFewSignatures {
        /// Distinct keys with a valid signature.
        found: usize,
        /// The threshold.
        needed: usize,
        /// Their names.
        signers: Vec<String>,
        /// Why other bundles did not count.
        refused: Vec<String>,
    },
    /// A valid signature by a key that may not sign releases of this name.
    #[error(
        "key `{key}` may not sign releases named `{release}`; add the name to its `releases` in trust.toml"
    )]
    SignerNotAllowed {
        /// The key's name.
        key: String,
        /// The release's name.
        release: String,
    },
    /// A generation below the floor.
    #[error(
        "generation {generation} of `{release}` is below the floor {floor}; pack it again with a higher one"
    )]
    BelowFloor {
        /// The release's name.
        release: String,
        /// Its generation.
        generation: u64,
        /// The lowest accepted.
        floor: u64,
    },
    /// The generation of the floor, with different content.
    #[error(
        "generation {generation} of `{release}` was {known} before, and is now {given}; a changed release needs a higher generation"
    )]
    SameGeneration {
        /// The release's name.
        release: String,
        /// Its generation.
        generation: u64,
        /// The manifest that was seen before.
        known: Digest,
        /// The manifest found.
        given: Digest,
    },
    /// Expired.
    #[error("the release expired at {expires}, and the clock shows {now}; pack and sign it again")]
    Expired {
        /// When it expired.
        expires: Time,
        /// The time now.
        now: Time,
    },
    /// Issued in the future.
    #[error(
        "the release was issued at {issued}, but the clock shows {now}; set this device's clock"
    )]
    NotYetValid {
        /// When it was issued.
        issued: Time,
        /// The time now.
        now: Time,
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
    /// The release is for other devices.
    #[error("the release is not for this device, `{device}`: {reason}")]
    WrongDevice {
        /// The device's name.
        device: String,
        /// What does not match.
        reason: String,
    },
    /// The hardware lacks what the release requires.
    #[error("the device lacks what `[requires]` of the release asks for: {reason}")]
    LacksHardware {
        /// What it lacks.
        reason: String,
    },
    /// The release needs another version of the host.
    #[error(
        "the release needs hotshoe {needed}, but this is {host}; update the host, or pack the release again"
    )]
    WrongHostVersion {
        /// What it needs.
        needed: semver::VersionReq,
        /// This host.
        host: semver::Version,
    },
    /// The manifest and the config do not match.
    #[error("the manifest and the config of the release do not match")]
    ManifestMismatch(#[source] ManifestError),
    /// The JSON of a part is not what is expected.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A release that breaks a rule of the format.
    #[error("the release is signed, but not valid")]
    InvalidRelease(#[source] ReleaseError),
    /// Not the release that the ledger names.
    #[error(
        "the ledger names release {expected}, but the stored manifest is {found}; install the release again"
    )]
    NotTheSlot {
        /// What the ledger names.
        expected: Digest,
        /// What was found.
        found: Digest,
    },
}

impl VerifyError {
    /// A stable snake_case name of the reason.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoBundle => "no_bundle",
            Self::TooManyBundles { .. } => "too_many_bundles",
            Self::Signer(error) => error.name(),
            Self::TooFewSignatures { .. } => "too_few_signatures",
            Self::SignerNotAllowed { .. } => "signer_not_allowed",
            Self::BelowFloor { .. } => "below_floor",
            Self::SameGeneration { .. } => "same_generation",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::ClockBackwards { .. } => "clock_backwards",
            Self::WrongDevice { .. } => "wrong_device",
            Self::LacksHardware { .. } => "lacks_hardware",
            Self::WrongHostVersion { .. } => "wrong_host_version",
            Self::ManifestMismatch(_) => "manifest_mismatch",
            Self::Part(error) => error.name(),
            Self::InvalidRelease(_) => "invalid_release",
            Self::NotTheSlot { .. } => "not_the_slot",
        }
    }
}
