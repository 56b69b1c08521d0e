use hotshoe_daemon::recording::Counts;
use hotshoe_store::MAX_RECORDED_BYTES;
use thiserror::Error;

use super::session::MAX_FILES;

/// Why a recording is not what was asked for, or there is none.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It ended before anything came.
    #[error(
        "no sample was recorded ({} gave no result, {} found no room in [record] buffer-mib, {} were larger than it); give the device samples, or wait longer",
        .0.failed, .0.dropped, .0.too_large
    )]
    Nothing(Counts),
    /// Something else is called like the device.
    #[error("another device answered: {device} of {site}; look for two of the same name")]
    OtherDevice {
        /// Its name.
        device: String,
        /// Its site.
        site: String,
    },
    /// The device does not stop.
    #[error("the device gives more than the {count} samples that were asked for; those are kept")]
    TooMany {
        /// What was asked for.
        count: u64,
    },
    /// A sample has too many files.
    #[error("the device offers {found} files of one sample; at most {MAX_FILES} are taken")]
    TooManyFiles {
        /// How many.
        found: usize,
    },
    /// A model's name leads elsewhere.
    #[error("the device calls a model `{model}`, which cannot be a folder")]
    Model {
        /// The name.
        model: String,
    },
    /// A file is too large.
    #[error("it has {size} bytes; at most {MAX_RECORDED_BYTES} are recorded")]
    TooLarge {
        /// Its size.
        size: u64,
    },
    /// A file ends early.
    #[error("the device gives nothing of it; record again")]
    NoBytes,
    /// A file has other bytes than were announced.
    #[error("it is not what the device said it is; record again")]
    Mismatch,
    /// An answer is none.
    #[error("the device's answer cannot be read; is its `hotshoe` of this version?")]
    Answer(#[source] serde_json::Error),
}

impl RecordError {
    /// A stable word for machines.
    pub const fn name(&self) -> &'static str {
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
