//! The ledger: the live, previous and staged release, the trial, floors and failed releases.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use hotshoe_base::{
    disk::Disk,
    format::{FileFormat, NewerFormat},
};
use hotshoe_trust::{
    Digest, Floor, Time,
    strict_json::{self, JsonError},
};
use serde::{Deserialize, Serialize};

use crate::{
    blob_error::{BlobError, read_file},
    phase::{Cause, Phase},
};

/// Largest file of a ledger: 1 MiB, which is enough for thousands of release names.
const LEDGER_BYTES: u64 = 1 << 20;
/// The format of the record. Version 1 has slots and floors only.
const FORMAT: FileFormat = FileFormat::new(2, 2);

/// Why a ledger could not be read or written. A device without a readable ledger accepts no release.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A folder with blobs and no ledger.
    #[error("{} is missing although blobs exist; restore it, or begin with an empty data folder", path.display())]
    Missing {
        /// The ledger's file.
        path: PathBuf,
    },
    /// An I/O error, or the file is too large.
    #[error("the ledger cannot be read")]
    Read(#[source] BlobError),
    /// Not a ledger.
    #[error("{} is damaged; restore it, or begin with an empty data folder", path.display())]
    Damaged {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<JsonError>,
    },
    /// A newer version of Hotshoe wrote it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// No version of Hotshoe wrote this format.
    #[error("{} has format {found}, which does not exist; restore it, or begin with an empty data folder", path.display())]
    Version {
        /// The ledger's file.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// The record could not be made into JSON.
    #[error("the ledger cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The record would be too large to be read.
    #[error("the ledger would have {bytes} bytes, more than the {LEDGER_BYTES} allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// An I/O error, or the disk is full.
    #[error("the ledger cannot be written")]
    Write(#[source] BlobError),
}

impl LedgerError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Write(error) => error.name(),
            Self::Newer(error) => error.name(),
            _ => "unusable_ledger",
        }
    }
}

/// An installed release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Slot {
    /// The digest of its manifest.
    pub release: Digest,
    /// The digests of the signature bundles it was installed with.
    pub bundles: Vec<Digest>,
    /// Its name.
    pub name: String,
    /// Its generation.
    pub generation: u64,
    /// When it was installed, by the device's clock.
    pub installed: Time,
}

/// A release on trial: it serves, but is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Trial {
    /// The release.
    pub slot: Slot,
    /// Further starts of the daemon in which it may serve unconfirmed.
    pub tries_left: u32,
    /// When the trial began, by the device's clock.
    pub since: Time,
}

impl Trial {
    /// Upper bound of `tries_left` in a ledger: 100. A safeguard only: [`hotshoe_trust::ReleaseLimits::TRIES`] (10) bounds the
    /// `tries` of every checked release and configuration.
    pub const MAX_TRIES: u32 = 100;
}

/// A release that failed on this device: it and all lower generations of its name are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FailedRelease {
    /// The digest of its manifest.
    pub release: Digest,
    /// Its generation.
    pub generation: u64,
    /// Its last phase: refused, failed or rolled back.
    pub phase: Phase,
    /// Why.
    pub cause: Cause,
    /// When, by the device's clock.
    pub at: Time,
}

/// An event in the history: a release, a floor, or the trusted keys changed. Only verified releases are recorded. Releases that fail
/// verification appear only in the log and the status, since every peer could fill the history with them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Event {
    /// When, by the device's clock.
    pub at: Time,
    /// The release; `None` if a floor was set, or the trusted keys were replaced.
    pub release: Option<Digest>,
    /// The release's name, or [`crate::TRUST`].
    pub name: String,
    /// Its generation, the floor, or the version of the trusted keys.
    pub generation: u64,
    /// Its new phase.
    pub phase: Phase,
    /// The cause, if there is one.
    pub cause: Option<Cause>,
}

/// The lowest generation of one release name that is still accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FloorEntry {
    /// The generation.
    pub generation: u64,
    /// Its manifest: the same generation with another manifest is refused. `None` if the floor was set by hand or by new trusted
    /// keys.
    #[serde(default)]
    pub release: Option<Digest>,
}

/// The version of the trusted keys that this device holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrustEntry {
    /// The version.
    pub version: u64,
    /// The blob that holds its text.
    pub file: Digest,
}

/// The slots and floors of a device. Only [`crate::Store`] changes it, by [transitions](crate::Transition).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ledger {
    /// The confirmed release. It serves unless a trial does, and serves again when a trial fails.
    pub live: Option<Slot>,
    /// The release that was live before, for a rollback.
    pub previous: Option<Slot>,
    /// The release that is complete on disk and waits for its trial.
    #[serde(default)]
    pub staged: Option<Slot>,
    /// The staged release, if it goes on trial as soon as possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activate: Option<Digest>,
    /// Number of times that loading and testing the staged release began and did not finish.
    #[serde(default)]
    pub proofs: u32,
    /// The release on trial.
    #[serde(default)]
    pub trial: Option<Trial>,
    /// The failed release of the highest generation, by name.
    #[serde(default)]
    pub failed: BTreeMap<String, FailedRelease>,
    /// The floor of each release name seen.
    pub floor: BTreeMap<String, FloorEntry>,
    /// The latest issue time of an accepted release: the clock cannot be before it.
    pub clock_floor: Option<Time>,
    /// The trusted keys, if they were replaced over the network.
    #[serde(default)]
    pub trust: Option<TrustEntry>,
    /// The issue time of the newest statement on each release name; the 1,000 newest.
    #[serde(default)]
    pub statement_seen: BTreeMap<String, Time>,
    /// The last 100 events, newest last.
    #[serde(default)]
    pub history: Vec<Event>,
}

/// The contents of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Record {
    version: u32,
    ledger: Ledger,
}

impl Ledger {
    /// The floor for [`hotshoe_trust::verify`].
    pub fn floor(&self) -> Floor {
        self.floor.iter().fold(
            Floor::none().with_clock(self.clock_floor),
            |floor, (name, entry)| floor.with(name, entry.generation, entry.release),
        )
    }

    /// The failure that blocks this release: it, or a later generation of `name`, failed here.
    pub fn remembers(
        &self,
        name: &str,
        generation: u64,
        release: Digest,
    ) -> Option<&FailedRelease> {
        let failed = self.failed.get(name)?;
        (generation <= failed.generation || release == failed.release).then_some(failed)
    }

    /// Why the release in this slot was rolled back, if it was and has not served since.
    pub fn rolled_back(&self, slot: &Slot) -> Option<&Cause> {
        let failed = self.remembers(&slot.name, slot.generation, slot.release)?;
        if failed.release == slot.release && failed.phase == Phase::RolledBack {
            return Some(&failed.cause);
        }
        // The failed release of this name may be of a later generation.
        let its = |event: &&Event| event.release == Some(slot.release);
        let last = self.history.iter().rev().find(its)?;
        let cause = last.cause.as_ref();
        cause.filter(|_| last.phase == Phase::RolledBack)
    }

    /// Whether a statement on `name` issued then is older than the newest one seen.
    pub fn is_replayed(&self, name: &str, issued: Time) -> bool {
        self.statement_seen
            .get(name)
            .is_some_and(|newest| issued < *newest)
    }

    /// All occupied slots: live, previous, staged and trial.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        let trial = self.trial.as_ref().map(|trial| &trial.slot);
        [
            self.live.as_ref(),
            self.previous.as_ref(),
            self.staged.as_ref(),
            trial,
        ]
        .into_iter()
        .flatten()
    }

    /// Whether the floor still allows this generation of `name` with this manifest.
    pub(crate) fn allows(&self, name: &str, generation: u64, release: Digest) -> bool {
        self.floor.get(name).is_none_or(|entry| {
            generation > entry.generation
                || (generation == entry.generation
                    && entry.release.is_none_or(|known| known == release))
        })
    }

    pub(crate) fn read(path: &Path) -> Result<Self, LedgerError> {
        let bytes = read_file(path, LEDGER_BYTES).map_err(|error| match error {
            BlobError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                LedgerError::Missing {
                    path: path.to_owned(),
                }
            }
            other => LedgerError::Read(other),
        })?;
        let damaged = |source| LedgerError::Damaged {
            path: path.to_owned(),
            source: Box::new(source),
        };
        FORMAT.check_json(path.display(), &bytes)?;
        let record: Record = strict_json::parse(&bytes, LEDGER_BYTES).map_err(damaged)?;
        if record.version == 0 {
            return Err(LedgerError::Version {
                path: path.to_owned(),
                found: record.version,
            });
        }
        Ok(record.ledger)
    }

    pub(crate) fn write(&self, disk: &Disk, path: &Path) -> Result<(), LedgerError> {
        let record = Record {
            version: FORMAT.written(),
            ledger: self.clone(),
        };
        let text = serde_json::to_vec_pretty(&record).map_err(LedgerError::Encode)?;
        let bytes = text.len() as u64;
        if bytes > LEDGER_BYTES {
            return Err(LedgerError::TooLarge { bytes });
        }
        disk.replace(path, &text)
            .map_err(|source| LedgerError::Write(BlobError::write(path)(source)))
    }
}
