//! The ledger: which release is live, which was before, and below which generation none is accepted.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use hotshoe_trust::{
    Digest, Floor, Release, Time, Verified,
    strict_json::{self, JsonError},
};
use serde::{Deserialize, Serialize};

use crate::{
    blobs::{BlobError, read_file},
    disk::Disk,
};

/// The ledger's file may have 1 MiB: some thousands of release names.
const LEDGER_BYTES: u64 = 1 << 20;
/// The version of the record's format.
const VERSION: u32 = 1;

/// Why a ledger could not be read or written. A device whose ledger is not readable accepts nothing.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A folder with blobs and no ledger.
    #[error("{} is missing beside the blobs it ruled; restore it, or begin with an empty data folder", path.display())]
    Missing {
        /// The ledger's file.
        path: PathBuf,
    },
    /// The disk refused, or the file is too large.
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
    /// A ledger that a later Hotshoe wrote.
    #[error("{} has format {found}, and this Hotshoe reads format {VERSION}; update it", path.display())]
    Version {
        /// The ledger's file.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// The record could not be made into JSON.
    #[error("the ledger cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
    /// The disk refused.
    #[error("cannot write {}", path.display())]
    Write {
        /// The ledger's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
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

/// The lowest generation of one release name that is still accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FloorEntry {
    /// The generation.
    pub generation: u64,
    /// The manifest that it had: the same generation with another is refused.
    pub release: Digest,
}

/// A device's slots and floors. Read-only to others: only the [`crate::Store`] changes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ledger {
    /// The release that serves.
    pub live: Option<Slot>,
    /// The release that served before it, to go back to.
    pub previous: Option<Slot>,
    /// The floor of each release name seen.
    pub floor: BTreeMap<String, FloorEntry>,
    /// The latest issue time of an installed release: the clock cannot stand before it.
    pub clock_floor: Option<Time>,
}

/// The record as it stands in the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Record {
    version: u32,
    ledger: Ledger,
}

impl Ledger {
    /// What [`hotshoe_trust::verify`] takes as its floor.
    pub fn floor(&self) -> Floor {
        self.floor.iter().fold(
            Floor::none().with_clock(self.clock_floor),
            |floor, (name, entry)| floor.with(name, entry.generation, Some(entry.release)),
        )
    }

    /// Whether this ledger's floor still allows `release`.
    pub(crate) fn allows(&self, release: &Verified<Release>) -> bool {
        self.floor.get(&release.name).is_none_or(|entry| {
            release.generation > entry.generation
                || (release.generation == entry.generation && release.digest() == entry.release)
        })
    }

    /// The ledger once `release` has become live. The same release again only renews its bundles.
    pub(crate) fn with_live(
        &self,
        release: &Verified<Release>,
        bundles: Vec<Digest>,
        now: Time,
    ) -> (Self, Slot) {
        let mut next = self.clone();
        let slot = Slot {
            release: release.digest(),
            bundles,
            name: release.name.clone(),
            generation: release.generation,
            installed: now,
        };
        let live = next.live.replace(slot.clone());
        if live
            .as_ref()
            .is_none_or(|live| live.release != slot.release)
        {
            next.previous = live;
        }
        let entry = FloorEntry {
            generation: release.generation,
            release: release.digest(),
        };
        next.floor.insert(release.name.clone(), entry);
        next.clock_floor = next.clock_floor.max(Some(release.issued));
        (next, slot)
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
        let record: Record = strict_json::parse(&bytes, LEDGER_BYTES).map_err(damaged)?;
        if record.version != VERSION {
            return Err(LedgerError::Version {
                path: path.to_owned(),
                found: record.version,
            });
        }
        Ok(record.ledger)
    }

    pub(crate) fn write(&self, disk: &Disk, path: &Path) -> Result<(), LedgerError> {
        let record = Record {
            version: VERSION,
            ledger: self.clone(),
        };
        let bytes = serde_json::to_vec_pretty(&record).map_err(LedgerError::Encode)?;
        disk.replace(path, &bytes)
            .map_err(|source| LedgerError::Write {
                path: path.to_owned(),
                source,
            })
    }
}
