//! Why a request, an edit or a file of shared data is refused.

use std::io;
use std::path::PathBuf;

use hotshoe_base::format::NewerFormat;
use hotshoe_trust::{PartError, SignerError};

use crate::clock::MAX_CLOCK_DRIFT;
use crate::definition::Rule;

/// Why a request or an edit is refused. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum SharedDataError {
    /// The JSON of a request, an answer or a value is not what is expected.
    #[error(transparent)]
    Part(#[from] PartError),
    /// A state that no replica can have: too many items, items out of order, or an invalid name of a writer.
    #[error(
        "the state of shared value `{name}` is not valid; both ends need the same version of Hotshoe"
    )]
    InvalidState {
        /// The value.
        name: String,
    },
    /// A request for another device.
    #[error("the request is for device `{device}` of site `{site}`; check --site and --device")]
    OtherDevice {
        /// The site in the request.
        site: String,
        /// The device in the request.
        device: String,
    },
    /// The device requires signatures, and there is none.
    #[error("the request is not signed, and this device requires it; give --key KEY")]
    Unsigned,
    /// No signature is valid; this is the error of the first one.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// Signed, but only by keys that may not write this value.
    #[error(
        "key `{key}` may not write shared value `{name}`; add the name to its `shared-data` in trust.toml"
    )]
    WriterNotAllowed {
        /// The key's name.
        key: String,
        /// The value.
        name: String,
    },
    /// No such value is configured.
    #[error(
        "there is no shared value `{name}`; `hotshoe shared-data list` shows those of a device, `[shared-data.{name}]` in its hotshoe.toml adds it"
    )]
    UnknownValue {
        /// The value.
        name: String,
    },
    /// The value has another rule.
    #[error("shared value `{name}` has the rule `{}`, which does not fit; use `set` for values, `append` for lists", rule.as_str())]
    OtherRule {
        /// The value.
        name: String,
        /// Its rule.
        rule: Rule,
    },
    /// A value is larger than `max-bytes`.
    #[error(
        "shared value `{name}` has {bytes} bytes as JSON; at most {limit} are allowed (`max-bytes` in `[shared-data.{name}]`)"
    )]
    ValueTooLarge {
        /// The value.
        name: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The clocks of both ends differ by more than [`MAX_CLOCK_DRIFT`].
    #[error(
        "the clocks of the device and of its site differ by {by_ms} ms, and at most {} ms are allowed; set them",
        MAX_CLOCK_DRIFT.as_millis()
    )]
    ClocksDiffer {
        /// By how much, in milliseconds.
        by_ms: u64,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl SharedDataError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Part(error) => error.name(),
            Self::InvalidState { .. } => "invalid_state",
            Self::OtherDevice { .. } => "other_device",
            Self::Unsigned => "unsigned",
            Self::Signer(error) => error.name(),
            Self::WriterNotAllowed { .. } => "writer_not_allowed",
            Self::UnknownValue { .. } => "unknown_value",
            Self::OtherRule { .. } => "other_rule",
            Self::ValueTooLarge { .. } => "value_too_large",
            Self::ClocksDiffer { .. } => "clocks_differ",
            Self::Store(error) => error.name(),
        }
    }
}

/// Why the file of shared data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read.
    #[error("cannot read the shared data {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written. The change is not in effect; the file has the old or the new values.
    #[error("cannot write the shared data {}; check the disk", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A newer version of Hotshoe wrote it.
    #[error(transparent)]
    NewerFormat(#[from] NewerFormat),
}

impl StoreError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Write { .. } => "io",
            Self::NewerFormat(error) => error.name(),
        }
    }
}
