use hotshoe_daemon::recording::Counts;
use hotshoe_store::MAX_RECORDED_BYTES;
use thiserror::Error;

use super::session::MAX_FILES;

/// Why a recording failed or is incomplete.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    /// It ended without a sample.
    #[error(
        "no sample was recorded ({} gave no result, {} did not fit into [record] buffer-mib, {} were larger than it); send samples to the device, or wait longer",
        .0.failed, .0.dropped, .0.too_large
    )]
    Nothing(Counts),
    /// A device with another name answered.
    #[error(
        "another device answered: {device} of {site}; check for two devices with the same name"
    )]
    OtherDevice {
        /// Its name.
        device: String,
        /// Its site.
        site: String,
    },
    /// The device sends more samples than requested.
    #[error("the device sends more than the {count} requested samples; those are kept")]
    TooMany {
        /// The requested number.
        count: u64,
    },
    /// A sample has too many files.
    #[error("the device offers {found} files for one sample; the limit is {MAX_FILES}")]
    TooManyFiles {
        /// How many.
        found: usize,
    },
    /// A model's name is not a valid folder name.
    #[error("the device's model name `{model}` is not a valid folder name")]
    Model {
        /// The name.
        model: String,
    },
    /// A file is too large.
    #[error("it has {size} bytes; the limit is {MAX_RECORDED_BYTES}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// A file ends early.
    #[error("the device sends no bytes of it; record again")]
    NoBytes,
    /// A file does not have the announced digest.
    #[error("its digest is not the announced one; record again")]
    Mismatch,
    /// An answer cannot be parsed.
    #[error("cannot read the device's answer; check that its `hotshoe` has this version")]
    Answer(#[source] serde_json::Error),
}

impl RecordError {
    /// A stable error code.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Nothing(_) => "nothing_recorded",
            Self::OtherDevice { .. } => "other_device",
            Self::TooMany { .. } => "too_many_samples",
            Self::TooManyFiles { .. } => "too_many_files",
            Self::Model { .. } => "invalid_name",
            Self::TooLarge { .. } => "too_large",
            Self::NoBytes | Self::Mismatch => "damaged_file",
            Self::Answer(_) => "invalid_answer",
        }
    }
}
