//! What a recorder and a device say to each other, as JSON under the device's key `record`.

use std::collections::BTreeSet;

use hotshoe_store::{RecordStage, RecordedEntry, RecordedPart, RecordedRelease};
use hotshoe_trust::{Blob, RecordKind};
use serde::{Deserialize, Serialize};

/// What a recorder asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// To record from now on.
    Open {
        /// From where on it is to be replayed.
        stage: RecordStage,
        /// What is left out.
        #[serde(default)]
        without: BTreeSet<RecordKind>,
        /// How many samples.
        count: u64,
    },
    /// The sample after number `after`, which has arrived and may be forgotten.
    Next {
        /// Of which recording.
        session: String,
        /// 0 at first.
        after: u64,
    },
    /// A piece of a file of sample number `number`. The answer is its bytes.
    Read {
        /// Of which recording.
        session: String,
        /// Of which sample.
        number: u64,
        /// Which of its files, from 0.
        file: usize,
        /// From which byte on.
        offset: u64,
        /// How many bytes fit.
        most: u64,
    },
    /// To record no more; what waits may still be asked for.
    End {
        /// Which recording.
        session: String,
    },
}

/// The answer to [`Request::Open`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// Its name.
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
    /// What there is.
    pub what: NextItem,
    /// What became of samples so far.
    pub counts: Counts,
}

/// What there is for a recorder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum NextItem {
    /// A sample, whose files are to be asked for.
    Entry {
        /// From 1.
        number: u64,
        /// What it is.
        entry: RecordedEntry,
        /// Its files.
        files: Vec<FileHead>,
    },
    /// Nothing yet.
    Waiting,
    /// Nothing more.
    Ended {
        /// Why.
        reason: EndReason,
    },
}

/// A file of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHead {
    /// What it is.
    pub part: RecordedPart,
    /// Size and digest.
    pub blob: Blob,
}

/// Why a recording has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// As many samples as were asked for.
    Count,
    /// The recorder said so.
    Asked,
    /// Another release serves, which may have another data contract.
    ReleaseChanged,
}

/// What became of the samples that a recording saw.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Recorded.
    pub taken: u64,
    /// Not recorded, since they gave no result.
    pub failed: u64,
    /// Not recorded, since too much waited for its recorder.
    pub dropped: u64,
    /// Not recorded, since one alone has more bytes than `[record] buffer-mib`, or than a file of a recording may have; or since what its
    /// policies decided, messages included, has more than fits into one answer.
    pub too_large: u64,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalBody {
    /// A stable word.
    pub name: String,
    /// For people.
    pub message: String,
}
