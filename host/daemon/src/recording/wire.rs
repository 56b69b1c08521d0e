//! The protocol between a recorder and a device: JSON under the device's key `record`.

use std::collections::BTreeSet;

use hotshoe_store::{RecordStage, RecordedEntry, RecordedPart, RecordedRelease};
use hotshoe_trust::{Blob, RecordKind};
use serde::{Deserialize, Serialize};

/// A recorder's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Starts a recording.
    Open {
        /// The stage at which a replay starts.
        stage: RecordStage,
        /// Kinds to leave out.
        #[serde(default)]
        without: BTreeSet<RecordKind>,
        /// Number of samples.
        count: u64,
        /// Which samples. `None`: all of them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<RecordWhy>,
    },
    /// Requests the sample after number `after`, which has arrived and can be dropped.
    Next {
        /// The recording.
        session: String,
        /// Number of the last received sample; 0 at first.
        after: u64,
    },
    /// Reads a piece of a file of a sample. The answer is its bytes.
    Read {
        /// The recording.
        session: String,
        /// Number of the sample.
        number: u64,
        /// Index of the file, from 0.
        file: usize,
        /// Offset in bytes.
        offset: u64,
        /// Most bytes of the answer.
        most: u64,
    },
    /// Ends a recording. Waiting samples can still be requested.
    End {
        /// The recording.
        session: String,
    },
}

/// Why samples are recorded, if not all of them are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordWhy {
    /// Samples that are rare in the baseline of the release, while the device drifts from it.
    Drift,
}

/// The answer to [`Request::Open`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Id of the recording.
    pub session: String,
    /// The device's site.
    pub site: String,
    /// The device.
    pub device: String,
    /// The release that serves.
    pub release: RecordedRelease,
}

/// The answer to [`Request::Next`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// The next item.
    pub what: NextItem,
    /// Counts of samples so far.
    pub counts: Counts,
}

/// The next item for a recorder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum NextItem {
    /// A sample. Its files are read with [`Request::Read`].
    Entry {
        /// Number of the sample, from 1.
        number: u64,
        /// The sample's entry.
        entry: RecordedEntry,
        /// Its files.
        files: Vec<FileHead>,
    },
    /// No sample yet.
    Waiting,
    /// The recording has ended.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// A file of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHead {
    /// The part of the sample.
    pub part: RecordedPart,
    /// Size and digest.
    pub blob: Blob,
}

/// Why a recording has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// The requested number of samples was recorded.
    Count,
    /// The recorder ended it.
    Asked,
    /// Another release serves, whose data contract may differ.
    ReleaseChanged,
}

/// Counts of the samples of a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Recorded samples.
    pub taken: u64,
    /// Samples without a result.
    pub failed: u64,
    /// Samples that did not fit into the buffer, or waited in it for longer than their class allows.
    pub dropped: u64,
    /// Samples that are larger than `[record] buffer-mib` or the limit of a recording, or whose actions do not fit into one answer.
    pub too_large: u64,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalBody {
    /// The stable name.
    pub name: String,
    /// The message for people.
    pub message: String,
}
