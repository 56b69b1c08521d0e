//! A class of data: how sensitive it is, and how it may leave the device.

use std::{collections::BTreeSet, fmt, str::FromStr};

use jiff::{Span, SpanRelativeTo};
use serde::{Deserialize, Serialize};

/// Most fields that a class drops, and most that it hashes.
pub const MAX_FIELDS: usize = 32;
/// Most parts of the path of a field.
pub const MAX_FIELD_DEPTH: usize = 8;
/// Longest path of a field, in bytes.
pub const MAX_FIELD_BYTES: usize = 256;
/// Shortest retention, in seconds: a minute.
const MIN_RETENTION_S: u64 = 60;
/// Longest retention, in seconds: ten years of 365 days.
const MAX_RETENTION_S: u64 = 3_650 * DAY_S;
const DAY_S: u64 = 24 * 3_600;

/// How sensitive data is, from least to most.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Sensitivity {
    /// Anyone may have it.
    Public,
    /// For the operator and their systems.
    #[default]
    Internal,
    /// About people.
    Personal,
    /// Not even for the operator's systems.
    Secret,
}

impl fmt::Display for Sensitivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Personal => "personal",
            Self::Secret => "secret",
        })
    }
}

/// How data may leave the device, the strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upload {
    /// Not at all.
    Never,
    /// As counts of many samples only.
    Aggregate,
    /// Without the fields that its class drops, and with a hash for those that it hashes.
    Anonymised,
    /// As it is.
    Yes,
}

impl fmt::Display for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "never",
            Self::Aggregate => "aggregate",
            Self::Anonymised => "anonymised",
            Self::Yes => "yes",
        })
    }
}

/// How important it is that data arrives, the most important first.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum DataPriority {
    /// Sent first.
    Critical,
    /// Before ordinary data.
    High,
    /// Ordinary data.
    #[default]
    Normal,
    /// Sent last.
    Low,
}

impl DataPriority {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a text is not a retention, a field or an output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataTextError {
    /// Not a time, or one outside of the range.
    #[error("`{text}` is not a retention; write 1m to 3650d, such as \"30d\" or \"12h\"")]
    Retention {
        /// What was found.
        text: String,
    },
    /// Not the path of a field.
    #[error(
        "`{text}` is not a field: write 1 to {MAX_FIELD_DEPTH} names joined by `.`, with `*` for every element, in at most \
         {MAX_FIELD_BYTES} bytes, such as \"detections.*.label\""
    )]
    Field {
        /// What was found.
        text: String,
    },
    /// Not an output.
    #[error(
        "`{text}` is not an output: write insight, action, custom, topic:NAME, error, log, metrics, recording or picture"
    )]
    Output {
        /// What was found.
        text: String,
    },
    /// Neither a sensitivity nor a class.
    #[error(
        "`{text}` is neither a sensitivity nor a class: write public, internal, personal, secret or class:NAME"
    )]
    Selector {
        /// What was found.
        text: String,
    },
}

/// A time for which data is kept: a minute to ten years. Text: `90d`, `12h`, `30m`; a day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Retention(u64);

impl Retention {
    /// The time in seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl FromStr for Retention {
    type Err = DataTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span = text.parse::<Span>();
        let time = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        let seconds = time
            .ok()
            .and_then(|time| u64::try_from(time.as_secs()).ok());
        seconds
            .filter(|seconds| (MIN_RETENTION_S..=MAX_RETENTION_S).contains(seconds))
            .map(Self)
            .ok_or_else(|| DataTextError::Retention { text: clip(text) })
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(DAY_S, 'd'), (3_600, 'h'), (60, 'm')];
        let whole = units
            .into_iter()
            .find(|(unit, _)| self.0.is_multiple_of(*unit));
        let (unit, letter) = whole.unwrap_or((1, 's'));
        write!(f, "{}{letter}", self.0 / unit)
    }
}

impl TryFrom<String> for Retention {
    type Error = DataTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Retention> for String {
    fn from(retention: Retention) -> Self {
        retention.to_string()
    }
}

/// The path of a field in the JSON of an insight: names joined by `.`; `*` is every element of a list, and every field of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldPath(String);

impl FieldPath {
    /// Its names, from the outermost.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl TryFrom<String> for FieldPath {
    type Error = DataTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_name = |part: &str| {
            let plain = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
            part == "*" || (!part.is_empty() && part.bytes().all(plain))
        };
        let fits = text.len() <= MAX_FIELD_BYTES
            && text.split('.').count() <= MAX_FIELD_DEPTH
            && text.split('.').all(is_name);
        if fits {
            return Ok(Self(text));
        }
        Err(DataTextError::Field { text: clip(&text) })
    }
}

impl From<FieldPath> for String {
    fn from(path: FieldPath) -> Self {
        path.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[data-contract.classes.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DataClass {
    /// How sensitive its data is. Default: `internal`.
    #[serde(default)]
    pub sensitivity: Sensitivity,
    /// How its data may leave the device.
    pub upload: Upload,
    /// How long the device keeps its data at most. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Fields of an insight that do not leave, with `upload = "anonymised"`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub drop: BTreeSet<FieldPath>,
    /// Fields of an insight that leave as a keyed hash, with `upload = "anonymised"`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub hash: BTreeSet<FieldPath>,
    /// Whether its data is kept until it has arrived. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub durable: bool,
    /// How important it is that its data arrives. Default: `normal`.
    #[serde(default, skip_serializing_if = "DataPriority::is_default")]
    pub priority: DataPriority,
}

impl Default for DataClass {
    /// The class of what a contract leaves out: it leaves as it is.
    fn default() -> Self {
        Self {
            sensitivity: Sensitivity::Internal,
            upload: Upload::Yes,
            retention: None,
            drop: BTreeSet::new(),
            hash: BTreeSet::new(),
            durable: false,
            priority: DataPriority::Normal,
        }
    }
}

impl DataClass {
    /// The stricter of both, in each respect: a least upper bound.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let shorter = [self.retention, other.retention]
            .into_iter()
            .flatten()
            .min();
        Self {
            sensitivity: self.sensitivity.max(other.sensitivity),
            upload: self.upload.min(other.upload),
            retention: shorter,
            drop: self.drop.union(&other.drop).cloned().collect(),
            hash: self.hash.union(&other.hash).cloned().collect(),
            durable: self.durable || other.durable,
            priority: self.priority.min(other.priority),
        }
    }
}

/// What of a wrong text an error shows.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
