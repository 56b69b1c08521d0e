//! A device's data folder: its blobs, its ledger, and the folder for ahead-of-time code.
//!
//! ```text
//! lock              held while a process uses the folder; its text is that process's id
//! ledger.json       the one record that changes
//! blobs/sha256/...  manifests, configs, signatures, components, models, data
//! aot/              compiled components; the engine's
//! ```

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use hotshoe_trust::{Blob, Package, Release, ReleaseLimits, Time, Verified, manifest::Manifest};

use crate::{
    blobs::{BlobError, Blobs},
    disk::{Disk, Faults},
    layout::Layout,
    ledger::{Ledger, LedgerError, Slot},
};

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data folder {} is in use by {}; stop it, or choose another folder", folder.display(), who(*holder))]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, where it left its id.
        holder: Option<u32>,
    },
    /// The disk refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The blobs' folder could not be made.
    #[error("the data folder cannot be prepared")]
    Blobs(#[source] BlobError),
    /// The ledger cannot be read or begun. Nothing runs without it: it holds the floor.
    #[error("the data folder {} has no usable ledger", folder.display())]
    Ledger {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Box<LedgerError>,
    },
}

impl OpenError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "in_use",
            Self::Io { .. } => "io",
            Self::Blobs(error) => error.name(),
            Self::Ledger { .. } => "unusable_ledger",
        }
    }
}

fn who(holder: Option<u32>) -> String {
    holder.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    )
}

/// Why a release could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A blob could not be taken in.
    #[error("the release's blobs cannot be stored")]
    Blob(#[from] BlobError),
    /// The floor has risen since the release was verified.
    #[error(
        "generation {generation} of `{name}` is below this device's floor, or differs from what it was"
    )]
    Floor {
        /// The release's name.
        name: String,
        /// Its generation.
        generation: u64,
    },
    /// The ledger could not be written. Opened again, the folder has the old release or the new one.
    #[error("the ledger cannot be written")]
    Ledger(#[from] LedgerError),
}

impl InstallError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Blob(error) => error.name(),
            Self::Floor { .. } => "below_floor",
            Self::Ledger(_) => "unusable_ledger",
        }
    }
}

/// A data folder that this process holds.
#[derive(Debug)]
pub struct Store {
    ledger_path: PathBuf,
    aot: PathBuf,
    blobs: Blobs,
    ledger: Ledger,
    disk: Disk,
    /// Held for as long as the store lives.
    _lock: File,
}

impl Store {
    /// Opens the data folder, makes it where it is missing, and holds it against other processes.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        Self::open_with(folder, Faults::never())
    }

    /// [`Self::open`] with a power cut to come, for tests.
    #[doc(hidden)]
    pub fn open_with(folder: &Path, faults: Faults) -> Result<Self, OpenError> {
        let disk = Disk::new(faults);
        disk.make_folder(folder).map_err(|source| OpenError::Io {
            path: folder.to_owned(),
            source,
        })?;
        let lock = lock(folder)?;
        let blobs = Blobs::under(folder);
        let ledger_path = folder.join("ledger.json");
        let in_folder = |source| OpenError::Ledger {
            folder: folder.to_owned(),
            source: Box::new(source),
        };
        // A new folder gets its ledger before its blobs: blobs without a ledger mean that it was lost.
        let ledger = if ledger_path.exists() || folder.join("blobs").exists() {
            Ledger::read(&ledger_path).map_err(in_folder)?
        } else {
            let ledger = Ledger::default();
            ledger.write(&disk, &ledger_path).map_err(in_folder)?;
            ledger
        };
        blobs.prepare(&disk).map_err(OpenError::Blobs)?;
        Ok(Self {
            ledger_path,
            aot: folder.join("aot"),
            blobs,
            ledger,
            disk,
            _lock: lock,
        })
    }

    /// The folder for ahead-of-time code. The engine makes it, for its owner alone.
    pub fn aot_dir(&self) -> &Path {
        &self.aot
    }

    /// Slots and floors.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Reads a blob, and checks its size and digest.
    pub fn blob(&self, blob: &Blob) -> Result<Vec<u8>, BlobError> {
        self.blobs.read(blob)
    }

    /// Hashes every blob of `release` again, whether its pipeline uses it or not.
    pub fn check(&self, release: &Release) -> Result<(), BlobError> {
        release.blobs().try_for_each(|blob| self.blobs.check(&blob))
    }

    /// The bytes of an installed release, for `hotshoe_trust::verify_installed`.
    pub fn read_package(&self, slot: &Slot) -> Result<Package, ReadError> {
        let manifest = self
            .blobs
            .read_any(slot.release, ReleaseLimits::MANIFEST_BYTES)?;
        let config = Manifest::parse(&manifest)?.config.blob();
        let config = self
            .blobs
            .read_any(config.digest, ReleaseLimits::CONFIG_BYTES)?;
        let bundles = slot
            .bundles
            .iter()
            .map(|bundle| self.blobs.read_any(*bundle, ReleaseLimits::BUNDLE_BYTES));
        Ok(Package {
            manifest,
            config,
            bundles: bundles.collect::<Result<_, _>>()?,
        })
    }

    /// Takes the blobs of a verified release in from its folder and makes it live; the release that was
    /// live becomes the previous one, and the floor rises to it. `now` is the device's clock.
    pub fn install(
        &mut self,
        from: &Layout,
        release: &Verified<Release>,
        now: Time,
    ) -> Result<Slot, InstallError> {
        if !self.ledger.allows(release) {
            return Err(InstallError::Floor {
                name: release.name.clone(),
                generation: release.generation,
            });
        }
        for blob in release.blobs() {
            self.blobs.copy(&self.disk, &from.blobs, &blob)?;
        }
        // From the verified bytes, not from the folder, which may have changed since.
        let package = release.package();
        self.blobs.put(&self.disk, &package.config)?;
        self.blobs.put(&self.disk, &package.manifest)?;
        let mut bundles = Vec::new();
        for bundle in &package.bundles {
            bundles.push(self.blobs.put(&self.disk, bundle)?.digest);
        }
        let (ledger, slot) = self.ledger.with_live(release, bundles, now);
        ledger.write(&self.disk, &self.ledger_path)?;
        self.ledger = ledger;
        Ok(slot)
    }
}

/// Why an installed release could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A blob of it is missing or damaged.
    #[error("the installed release is damaged")]
    Blob(#[from] BlobError),
    /// Its manifest is not one.
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

/// Locks the folder, and leaves this process's id for whoever else would open it.
fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let io = |source| OpenError::Io {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // A holder that left no readable id is still a holder.
            let read = file.take(16).read_to_string(&mut text);
            let holder = read.ok().and_then(|_| text.trim().parse().ok());
            return Err(OpenError::InUse {
                folder: folder.to_owned(),
                holder,
            });
        }
        Err(TryLockError::Error(source)) => return Err(io(source)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(io)?;
    Ok(file)
}
