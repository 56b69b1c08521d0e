//! `[record]`

use std::collections::BTreeSet;

use hotshoe_trust::RecordKind;
use serde::{Deserialize, Serialize};

use super::{ConfigError, check_range};

/// Largest `buffer-mib`.
pub const MAX_RECORD_MIB: u32 = 4_096;

/// `[record]`: data that may be recorded from this device. Clients with access to the device's `record` key get it; see
/// `hotshoe zenoh-acl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RecordConfig {
    /// Kinds of data that may be recorded, if the release's data contract also allows it: `sample`, `tensors`, `insight`; the last one includes
    /// insights that policies keep on the device. Default: none.
    pub allow: BTreeSet<RecordKind>,
    /// Buffer for clients that record, in MiB. When it is full, data is not recorded. Default: 32.
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
