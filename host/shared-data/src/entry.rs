//! One write: its time, its writer, its value.

use hotshoe_trust::strict_json::{self, JsonError};
use hotshoe_trust::{Digest, PartError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::HybridTime;
use crate::definition::{MAX_VALUE_BYTES, is_name};
use crate::error::SharedDataError;

/// A value as JSON text. All replicas hold the text of its writer, because a number may change when a program writes it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct JsonText(String);

impl JsonText {
    /// The value as text.
    ///
    /// # Errors
    /// [`SharedDataError::Part`] if it is too long or too deep.
    pub fn of(value: &Value) -> Result<Self, SharedDataError> {
        let text = Self::try_from(value.to_string());
        Ok(text.map_err(|source| PartError::of("value", source))?)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value. A number may be rounded.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The length in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.len() as u64
    }
}

impl TryFrom<String> for JsonText {
    type Error = JsonError;

    /// Refuses a text that is not JSON, is too long or too deep, or repeats a key in one object.
    fn try_from(text: String) -> Result<Self, JsonError> {
        strict_json::check(text.as_bytes(), MAX_VALUE_BYTES.into())?;
        Ok(Self(text))
    }
}

/// The two ends that write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The device.
    Device,
    /// Its site, which is the remote end of `remote-wins`.
    Site,
}

/// Who wrote an entry. Each replica has a writer of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Writer {
    /// Its end.
    pub end: End,
    /// Its name: letters, digits, `-`, `_` and `.`.
    pub name: String,
}

impl Writer {
    /// The device of this name.
    pub fn device(name: &str) -> Self {
        Self {
            end: End::Device,
            name: name.to_owned(),
        }
    }

    /// A writer of the site.
    pub fn site(name: &str) -> Self {
        Self {
            end: End::Site,
            name: name.to_owned(),
        }
    }
}

/// The identity of an entry, and its place in the order of all entries: the time, then the writer, then the value's digest, which only
/// decides between two replicas with the name of one writer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EntryKey {
    /// When it was written.
    pub at: HybridTime,
    /// Who wrote it.
    pub by: Writer,
    /// The digest of the value's text.
    pub digest: Digest,
}

/// One write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Entry {
    /// When it was written.
    pub at: HybridTime,
    /// Who wrote it.
    pub by: Writer,
    /// The value.
    pub value: JsonText,
}

impl Entry {
    /// Its identity and place.
    pub fn key(&self) -> EntryKey {
        EntryKey {
            at: self.at,
            by: self.by.clone(),
            digest: Digest::of(self.value.as_str().as_bytes()),
        }
    }

    /// Whether its writer has a valid name.
    pub(crate) fn is_valid(&self) -> bool {
        is_name(&self.by.name)
    }
}

/// The later one of two writes.
pub(crate) fn later(one: Option<Entry>, other: Option<Entry>) -> Option<Entry> {
    let is_later = match (&one, &other) {
        (Some(one), Some(other)) => one.key() >= other.key(),
        (one, _) => one.is_some(),
    };
    if is_later { one } else { other }
}
