//! One record: what happened, when, and who did it.

use std::collections::BTreeMap;
use std::io;

use hotshoe_trust::{Digest, Time, printable_json};
use serde::{Deserialize, Serialize};

use crate::head::Checkpoint;

/// The version of a record that this program writes. New kinds, actors and fields do not raise it.
pub const RECORD_FORMAT: u32 = 1;
/// Longest name or value of a detail, in bytes; what follows is cut.
pub const MAX_TEXT_BYTES: usize = 1024;
/// Most details of a record; further ones are left out.
pub const MAX_DETAILS: usize = 16;
/// Longest line of a record, in bytes. A record whose details do not fit only counts them.
pub const MAX_LINE_BYTES: usize = 16 << 10;

/// What follows a value that was cut.
const CUT: &str = "...";
/// The detail that counts the details of a record that do not fit.
const OMITTED: &str = "omitted";

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this format: [`RECORD_FORMAT`].
    pub format: u32,
    /// Its number in the log, from 1, without gaps.
    pub sequence: u64,
    /// When it happened, by the device's clock.
    pub time: Time,
    /// What happened.
    pub kind: Kind,
    /// Who did it.
    #[serde(default)]
    pub actor: Actor,
    /// Further details, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
    /// What a checkpoint signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// The digest of the line before this one, without its line end; of the first line, 32 zero bytes.
    pub previous: Digest,
}

/// A kind of record. A reader keeps the name of one that it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kind {
    /// One that this version writes.
    Known(AuditKind),
    /// One of another version.
    Unknown(String),
}

/// The kinds of record that this version writes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuditKind {
    /// The log begins.
    LogCreated,
    /// The device signs the record before this one, and so all before it.
    Checkpoint,
    /// The oldest file of the log was removed; the chain begins after it.
    FilesRemoved,
    /// A write was cut short, and the incomplete line was removed.
    TailRepaired,
    /// Records were lost: too many at once, or the end of the log after a power cut.
    RecordsLost,
    /// The daemon started.
    DaemonStarted,
    /// The daemon ended in order.
    DaemonStopped,
    /// A release was installed offline.
    ReleaseInstalled,
    /// A release was cancelled or withdrawn before it served.
    ReleaseAbsent,
    /// A release's signatures were verified.
    ReleaseVerified,
    /// A release is complete on disk.
    ReleaseStaged,
    /// A release began its probation.
    ReleaseTrial,
    /// A release was confirmed.
    ReleaseLive,
    /// A release was refused.
    ReleaseRefused,
    /// A release could not be loaded, or failed its self-tests.
    ReleaseFailed,
    /// A release was rolled back.
    ReleaseRolledBack,
    /// The live release cannot serve, and none before it can.
    NoReleaseServes,
    /// The daemon kept ending soon after its starts with the live release, which is given up.
    CrashLoop,
    /// A release asks for what the device does not allow.
    CapabilityDenied,
    /// The trusted keys were replaced.
    TrustReplaced,
    /// New trusted keys were refused.
    TrustRefused,
    /// An operator's command on the device.
    Command,
    /// A deployer's order that was carried out.
    Order,
    /// A statement or an order was refused.
    StatementRefused,
    /// The site changed a shared value.
    SharedDataWritten,
    /// A write of the site to a shared value was refused.
    SharedDataRefused,
    /// The configuration was reloaded.
    ConfigReloaded,
    /// A new configuration was refused.
    ConfigRefused,
    /// The data contract kept an output on the device, the first of its class and output.
    EgressRefused,
}

/// Who did what a record is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "who", rename_all = "snake_case")]
pub enum Actor {
    /// The device itself.
    #[default]
    Device,
    /// An operator on the device: a process with access to its data folder.
    Operator,
    /// A deployer, by the keys that signed; without keys, an unsigned message.
    Deployer {
        /// The names of the trusted keys.
        #[serde(default)]
        keys: Vec<String>,
    },
    /// A component of a release.
    Component {
        /// Its name in the release.
        name: String,
    },
    /// One of another version.
    #[serde(other)]
    Unknown,
}

/// What is to be recorded. All texts in it are bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    time: Time,
    kind: AuditKind,
    actor: Actor,
    details: BTreeMap<String, String>,
}

impl AuditKind {
    /// Its stable name, in snake case.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl Kind {
    /// Its stable name, in snake case.
    pub fn name(&self) -> &str {
        match self {
            Self::Known(kind) => kind.name(),
            Self::Unknown(name) => name,
        }
    }
}

impl Entry {
    /// What happened at a time, by the device itself.
    pub const fn new(kind: AuditKind, time: Time) -> Self {
        Self {
            time,
            kind,
            actor: Actor::Device,
            details: BTreeMap::new(),
        }
    }

    /// The same, by another actor.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = match actor {
            Actor::Deployer { keys } => {
                let keys = keys.iter().take(MAX_DETAILS);
                Actor::Deployer {
                    keys: keys.map(|key| cut(key)).collect(),
                }
            }
            Actor::Component { name } => Actor::Component { name: cut(&name) },
            other => other,
        };
        self
    }

    /// The same, with one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        if self.details.len() < MAX_DETAILS {
            self.details.insert(cut(name), cut(value.as_ref()));
        }
        self
    }

    /// What happened.
    pub const fn kind(&self) -> AuditKind {
        self.kind
    }

    /// Its details.
    pub const fn details(&self) -> &BTreeMap<String, String> {
        &self.details
    }

    /// The line of the record, without its line end.
    pub(crate) fn line(
        &self,
        sequence: u64,
        previous: Digest,
        checkpoint: Option<Checkpoint>,
    ) -> io::Result<String> {
        let mut record = Record {
            format: RECORD_FORMAT,
            sequence,
            time: self.time,
            kind: Kind::Known(self.kind),
            actor: self.actor.clone(),
            details: self.details.clone(),
            checkpoint,
            previous,
        };
        let line = encode(&record)?;
        if line.len() <= MAX_LINE_BYTES {
            return Ok(line);
        }
        let omitted = record.details.len().to_string();
        record.details = BTreeMap::from([(OMITTED.to_owned(), omitted)]);
        encode(&record)
    }
}

/// One line of JSON, in which characters that a terminal acts on are escaped.
fn encode(record: &Record) -> io::Result<String> {
    let line = serde_json::to_string(record)?;
    Ok(printable_json(&line).into_owned())
}

/// A text of at most [`MAX_TEXT_BYTES`].
fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(MAX_TEXT_BYTES - CUT.len());
    format!("{}{CUT}", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use strum::VariantArray as _;

    use super::*;

    fn entry() -> Entry {
        Entry::new(AuditKind::Command, Time::UNIX_EPOCH)
    }

    fn line(entry: &Entry) -> String {
        entry.line(1, Digest::from_bytes([0; 32]), None).unwrap()
    }

    #[test]
    fn a_record_has_bounded_texts_and_no_active_characters() {
        let long = "\u{e9}".repeat(MAX_TEXT_BYTES);
        let entry = entry().with("long", &long).with("esc", "a\u{1b}[2Jb\nc");
        let line = line(&entry);
        assert!(!line.contains('\u{1b}') && !line.contains('\n'), "{line}");
        let read: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(read.details["esc"], "a\u{1b}[2Jb\nc");
        // 510 letters of two bytes, and the three dots: 1,021 bytes allow no further letter.
        assert_eq!(read.details["long"], "\u{e9}".repeat(510) + CUT);
    }

    #[test]
    fn details_that_do_not_fit_a_line_are_counted() {
        let active = "\u{1}".repeat(MAX_TEXT_BYTES);
        let mut entry = entry();
        for number in 0..20 {
            entry = entry.with(&number.to_string(), &active);
        }
        let line = line(&entry);
        assert!(line.len() <= MAX_LINE_BYTES);
        let read: Record = serde_json::from_str(&line).unwrap();
        let omitted = BTreeMap::from([(OMITTED.to_owned(), MAX_DETAILS.to_string())]);
        assert_eq!(read.details, omitted);
    }

    #[test]
    fn a_record_of_a_newer_version_is_read() {
        let text = format!(
            r#"{{"format":2,"sequence":7,"time":"2030-01-01T00:00:00Z","kind":"new_kind","actor":{{"who":"robot","id":1}},"more":[1],"previous":"sha256:{}"}}"#,
            "0".repeat(64)
        );
        let record: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(record.kind.name(), "new_kind");
        assert_eq!(record.actor, Actor::Unknown);
    }

    #[test]
    fn each_kind_is_written_by_its_stable_name() {
        for kind in AuditKind::VARIANTS {
            let json = serde_json::to_value(kind).unwrap();
            assert_eq!(json, kind.name());
        }
    }
}
