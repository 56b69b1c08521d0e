//! The data folder of a device: its blobs, its ledger, and the folder of compiled code.
//!
//! ```text
//! lock              locked while a process uses the folder; contains its process id
//! ledger.json       the only mutable record
//! blobs/sha256/...  manifests, configs, signatures, components, models, data, chunk indexes, trusted keys
//! parts/...         partial blobs
//! state/...         state of the components of a release
//! aot/              compiled components; the engine's
//! watched.json      watched files that killed the daemon or were refused; watching/ has those being processed; the daemon's
//! starts.json       how often the daemon ended soon after a start with the live release; the daemon's
//! backends.json     the measured choice of a backend for each model; the daemon's
//! ```

use std::path::{Path, PathBuf};

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_sealing::{AtRest, SECRETS_FILE};
use hotshoe_trust::{
    Blob, Digest, Package, Release, ReleaseLimits, Time, Verified, manifest::Manifest,
};

use crate::{
    blob_error::BlobError,
    blobs::BlobStore,
    illegal_transition::IllegalTransition,
    layout::Layout,
    ledger::{Ledger, LedgerError, Slot},
    open::{OpenError, lock},
    transition::Transition,
};

/// Why a release could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A blob could not be stored.
    #[error("the release's blobs cannot be stored")]
    Blob(#[from] BlobError),
    /// The floor has risen since the release was verified.
    #[error("the release is no longer accepted")]
    Illegal(#[from] IllegalTransition),
    /// The ledger could not be written. After reopening, the folder has the old release or the new one.
    #[error("the release cannot be recorded")]
    Ledger(#[from] LedgerError),
}

impl InstallError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Blob(error) => error.name(),
            Self::Illegal(error) => error.name(),
            Self::Ledger(error) => error.name(),
        }
    }
}

/// Why a transition was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It is not allowed in the current state of the ledger.
    #[error("this transition is not allowed now")]
    Illegal(#[from] IllegalTransition),
    /// The ledger could not be written. After reopening, the folder has the ledger before the transition or after it.
    #[error("the change cannot be recorded")]
    Ledger(#[from] LedgerError),
}

impl ApplyError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Illegal(error) => error.name(),
            Self::Ledger(error) => error.name(),
        }
    }
}

impl From<ApplyError> for InstallError {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Illegal(error) => Self::Illegal(error),
            ApplyError::Ledger(error) => Self::Ledger(error),
        }
    }
}

/// A data folder that this process has locked.
#[derive(Debug)]
pub struct Store {
    ledger_path: PathBuf,
    aot: PathBuf,
    blobs: BlobStore,
    ledger: Ledger,
}

impl Store {
    /// Opens the data folder, creates it if it is missing, and locks it against other processes.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Faults::never())
    }

    /// Opens the data folder of a device whose files may be sealed, with the key that they are sealed with. Blobs that are not sealed yet become
    /// so.
    pub fn open_at_rest(folder: &Path, at_rest: AtRest) -> Result<Self, OpenError> {
        let store = Self::open_unchanged(folder, at_rest)?;
        store.blobs.seal_plain().map_err(OpenError::Blobs)?;
        Ok(store)
    }

    /// [`Self::open`] with injected faults, for tests.
    #[doc(hidden)]
    pub fn open_with(folder: &Path, faults: Faults) -> Result<Self, OpenError> {
        Self::open_on(folder, faults, AtRest::plain())
    }

    /// [`Self::open_at_rest`] for a look: blobs stay as they are.
    pub fn open_unchanged(folder: &Path, at_rest: AtRest) -> Result<Self, OpenError> {
        let store = Self::open_on(folder, Faults::never(), at_rest)?;
        let own = ["device.key", SECRETS_FILE].map(|name| folder.join(name));
        let blobs = store.blobs.paths().map_err(OpenError::Blobs)?;
        let checked = store.at_rest().check_key(own.into_iter().chain(blobs));
        checked.map_err(|source| OpenError::Key {
            folder: folder.to_owned(),
            source,
        })?;
        Ok(store)
    }

    /// [`Self::open_at_rest`] with injected faults, for tests. Nothing is sealed that is there.
    #[doc(hidden)]
    pub fn open_on(folder: &Path, faults: Faults, at_rest: AtRest) -> Result<Self, OpenError> {
        let disk = Disk::new(faults);
        let lock = lock(&disk, folder)?;
        let blobs = BlobStore::locked(folder, disk.clone(), at_rest, lock);
        for swept in [folder, &blobs.state_folder()] {
            disk.sweep(swept).map_err(|source| OpenError::Io {
                path: swept.to_owned(),
                source,
            })?;
        }
        let ledger_path = folder.join("ledger.json");
        let in_folder = |source| OpenError::Ledger {
            folder: folder.to_owned(),
            source: Box::new(source),
        };
        // A new folder gets its ledger before its blobs, so that blobs without a ledger mean that it was lost.
        let ledger = if ledger_path.exists() || folder.join("blobs").exists() {
            Ledger::read(&ledger_path).map_err(in_folder)?
        } else {
            let ledger = Ledger::default();
            ledger.write(&disk, &ledger_path).map_err(in_folder)?;
            ledger
        };
        blobs.prepare().map_err(OpenError::Blobs)?;
        Ok(Self {
            ledger_path,
            aot: folder.join("aot"),
            blobs,
            ledger,
        })
    }

    /// The data folder itself.
    pub fn folder(&self) -> &Path {
        self.blobs.root()
    }

    /// The folder of compiled code. The engine creates it, with access for its owner only.
    pub fn aot_dir(&self) -> &Path {
        &self.aot
    }

    /// How its files are kept.
    pub fn at_rest(&self) -> AtRest {
        self.blobs.at_rest()
    }

    /// The ledger.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A handle to the blobs, for other threads.
    pub fn blobs(&self) -> BlobStore {
        self.blobs.clone()
    }

    /// Reads a blob, and checks its size and digest.
    pub fn blob(&self, blob: &Blob) -> Result<Vec<u8>, BlobError> {
        self.blobs.read(blob)
    }

    /// Hashes every blob of `release`, including unused ones.
    pub fn check(&self, release: &Release) -> Result<(), BlobError> {
        release.blobs().try_for_each(|blob| self.blobs.check(&blob))
    }

    /// The bytes of an installed release, for `hotshoe_trust::verify_installed`.
    pub fn read_package(&self, slot: &Slot) -> Result<Package, ReadError> {
        package(&self.blobs, slot)
    }

    /// Applies a transition to the ledger, in one durable commit. After an error the ledger is unchanged in memory and, unless the
    /// power failed, on disk. `now` is the device's clock.
    pub fn apply(&mut self, transition: &Transition, now: Time) -> Result<(), ApplyError> {
        let ledger = self.ledger.after(transition, now)?;
        ledger.write(self.blobs.disk(), &self.ledger_path)?;
        self.ledger = ledger;
        Ok(())
    }

    /// Stores the manifest, config and signatures of a verified release. Returns the slot for a transition.
    pub fn keep_package(&self, release: &Verified<Release>, now: Time) -> Result<Slot, BlobError> {
        let package = release.package();
        self.blobs.put(&package.config)?;
        self.blobs.put(&package.manifest)?;
        let bundles = package.bundles.iter();
        let bundles = bundles.map(|bundle| Ok(self.blobs.put(bundle)?.digest));
        Ok(Slot {
            release: release.digest(),
            bundles: bundles.collect::<Result<_, BlobError>>()?,
            name: release.name.clone(),
            generation: release.generation,
            installed: now,
        })
    }

    /// Copies the blobs of a verified release from its folder and makes it live; see [`Transition::Install`].
    pub fn install(
        &mut self,
        from: &Layout,
        release: &Verified<Release>,
        now: Time,
    ) -> Result<Slot, InstallError> {
        let slot = Slot {
            release: release.digest(),
            bundles: Vec::new(),
            name: release.name.clone(),
            generation: release.generation,
            installed: now,
        };
        // Checked before anything is copied.
        self.ledger
            .after(&Transition::Install(slot, release.issued), now)?;
        for blob in release.blobs() {
            self.blobs.copy(&from.blobs, &blob)?;
        }
        // From the verified bytes, since the folder may have changed.
        let slot = self.keep_package(release, now)?;
        self.apply(&Transition::Install(slot.clone(), release.issued), now)?;
        Ok(slot)
    }
}

/// The bytes of the release in a slot.
pub(crate) fn package(blobs: &BlobStore, slot: &Slot) -> Result<Package, ReadError> {
    let manifest = blobs.read_any(slot.release, ReleaseLimits::MANIFEST_BYTES)?;
    let config = Manifest::parse(&manifest)?.config;
    let config = blobs.read_any(config.digest, ReleaseLimits::CONFIG_BYTES)?;
    let bundles = slot
        .bundles
        .iter()
        .map(|bundle| blobs.read_any(*bundle, ReleaseLimits::BUNDLE_BYTES));
    Ok(Package {
        manifest,
        config,
        bundles: bundles.collect::<Result<_, _>>()?,
    })
}

/// The document of a release in the data folder, as JSON, for a reader beside the process that has it locked. Each byte is that of the
/// digest, and nothing says that it was verified: only a slot does.
///
/// # Errors
/// [`ReadError`]
pub fn read_release(
    folder: &Path,
    at_rest: &AtRest,
    manifest: Digest,
) -> Result<Vec<u8>, ReadError> {
    let blobs = BlobStore::beside(folder, at_rest.clone());
    let manifest = blobs.read_any(manifest, ReleaseLimits::MANIFEST_BYTES)?;
    let config = Manifest::parse(&manifest)?.config;
    Ok(blobs.read_any(config.digest, ReleaseLimits::CONFIG_BYTES)?)
}

/// The ledger of a data folder, for a reader beside the process that has it locked.
///
/// # Errors
/// [`LedgerError`]; [`LedgerError::Missing`] where there is none.
pub fn read_ledger(folder: &Path) -> Result<Ledger, LedgerError> {
    Ledger::read(&folder.join("ledger.json"))
}

/// A blob of a data folder, for a reader beside the process that has it locked. Its size and digest are checked.
///
/// # Errors
/// [`BlobError`]
pub fn read_blob(folder: &Path, at_rest: &AtRest, blob: &Blob) -> Result<Vec<u8>, BlobError> {
    BlobStore::beside(folder, at_rest.clone()).read(blob)
}

/// Why an installed release could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A blob of it is missing or damaged.
    #[error("the installed release is damaged")]
    Blob(#[from] BlobError),
    /// Its manifest is not valid.
    #[error("the installed release's manifest cannot be read")]
    Manifest(#[from] hotshoe_trust::strict_json::JsonError),
}

impl ReadError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Blob(error) => error.name(),
            Self::Manifest(_) => "malformed",
        }
    }
}
