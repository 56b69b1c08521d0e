//! Reads a data folder beside the process that has it locked. The ledger is replaced whole, and blobs do not change.

use std::path::Path;

use hotshoe_trust::{MAX_TRUST_BYTES, Package};

use crate::{
    blob_error::BlobError,
    blobs::BlobStore,
    ledger::{Ledger, LedgerError, Slot},
    store::{ReadError, package},
};

/// The live release of a data folder. Nothing says yet that it is verified.
#[derive(Debug)]
pub struct LiveRelease {
    /// Its slot.
    pub slot: Slot,
    /// Its bytes, for `hotshoe_trust::verify_installed`.
    pub package: Package,
    /// The version and the text of the trusted keys of a rotation, if there was one.
    pub trust: Option<(u64, Vec<u8>)>,
}

/// Why the live release could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The ledger could not be read.
    #[error("the data folder's ledger cannot be read")]
    Ledger(#[from] LedgerError),
    /// The release could not be read.
    #[error(transparent)]
    Release(#[from] ReadError),
    /// The trusted keys could not be read.
    #[error("the trusted keys of a rotation cannot be read")]
    Trust(#[source] BlobError),
}

impl LiveError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ledger(error) => error.name(),
            Self::Release(error) => error.name(),
            Self::Trust(error) => error.name(),
        }
    }
}

/// Reads the live release; `None` before the first one. It changes nothing, and needs no lock.
///
/// # Errors
/// [`LiveError`]
pub fn read_live(folder: &Path) -> Result<Option<LiveRelease>, LiveError> {
    let path = folder.join("ledger.json");
    if !path.exists() {
        return Ok(None);
    }
    let ledger = Ledger::read(&path)?;
    let Some(slot) = ledger.live else {
        return Ok(None);
    };
    let blobs = BlobStore::beside(folder);
    let package = package(&blobs, &slot)?;
    let trust = ledger
        .trust
        .map(|entry| {
            let text = blobs.read_any(entry.file, MAX_TRUST_BYTES);
            text.map(|text| (entry.version, text))
        })
        .transpose()
        .map_err(LiveError::Trust)?;
    Ok(Some(LiveRelease {
        slot,
        package,
        trust,
    }))
}
