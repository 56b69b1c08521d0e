//! `[record]`

use std::collections::BTreeSet;

use hotshoe_trust::RecordKind;
use serde::{Deserialize, Serialize};

use super::{ConfigError, check_range};

/// Most that may wait for those who record, in MiB.
pub const MAX_RECORD_MIB: u32 = 4_096;

/// `[record]`: what may be taken from this device to be looked at. Whoever may ask for the device's `record` key gets it; see
/// `hotshoe zenoh-acl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RecordConfig {
    /// What may be recorded, where the release's data contract says so, too: `sample`, `tensors`, `insight`, the last also of what policies
    /// keep on the device. Default: nothing.
    pub allow: BTreeSet<RecordKind>,
    /// How much may wait for those who record, in MiB. What comes when it is full is not recorded. Default: 32.
    pub buffer_mib: u32,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            allow: BTreeSet::new(),
            buffer_mib: 32,
        }
    }
}

impl RecordConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        check_range(
            "record.buffer-mib",
            self.buffer_mib.into(),
            1,
            MAX_RECORD_MIB.into(),
        )
    }

    /// `buffer-mib` in bytes.
    pub const fn buffer_bytes(&self) -> u64 {
        (self.buffer_mib as u64) << 20
    }
}
