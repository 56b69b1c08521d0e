//! `[shared-data.<name>]`: what a device shares, and by which rule.

use serde::{Deserialize, Serialize};

/// Most shared values of a device.
pub const MAX_VALUES: usize = 256;
/// Longest name of a shared value or of a writer, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Largest value as JSON, and largest sum of the items of a list, in bytes: 64 KiB.
pub const MAX_VALUE_BYTES: u32 = 64 << 10;
/// Most items of a list.
pub const MAX_ITEMS: u32 = 256;

/// What happens to writes of both ends that do not know of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A list: all items stay, in the order of their times. Beyond the limits, all replicas drop the same oldest ones.
    Append,
    /// The latest write stays.
    LastWriterWins,
    /// The latest write of the site stays. A write of the device shows as pending, until the site writes.
    RemoteWins,
}

impl Rule {
    /// The name in the configuration and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::LastWriterWins => "last-writer-wins",
            Self::RemoteWins => "remote-wins",
        }
    }
}

/// `[shared-data.<name>]`: a value that the device and its site both write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Definition {
    /// The rule for conflicting writes: `append`, `last-writer-wins` or `remote-wins`; the remote end is the site.
    pub rule: Rule,
    /// Most items of a list; the oldest are dropped. 1 to 256. Default: 256.
    #[serde(default = "max_items")]
    pub max_items: u32,
    /// Largest value as JSON, and largest sum of the items of a list, in bytes. 1 to 65,536. Default: 65,536.
    #[serde(default = "max_bytes")]
    pub max_bytes: u32,
}

const fn max_items() -> u32 {
    MAX_ITEMS
}

const fn max_bytes() -> u32 {
    MAX_VALUE_BYTES
}

impl Definition {
    /// A definition with the largest limits.
    pub const fn new(rule: Rule) -> Self {
        Self {
            rule,
            max_items: MAX_ITEMS,
            max_bytes: MAX_VALUE_BYTES,
        }
    }

    /// Whether the limits are within their ranges.
    pub(crate) fn is_valid(&self) -> bool {
        (1..=MAX_ITEMS).contains(&self.max_items) && (1..=MAX_VALUE_BYTES).contains(&self.max_bytes)
    }
}

/// Whether a name can be part of a key and of a path: letters, digits, `-`, `_` and `.`, but not only dots.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !name.bytes().all(|b| b == b'.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
