//! The slots on the disk.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hotshoe_base::chain;
use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::files::read_bytes;
use hotshoe_base::format::{FileFormat, NewerFormat};
use hotshoe_trust::{Blob, Digest, Hasher};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::slots::{Choice, Happened, Installed, SlotName, Slots, Trial, Wanted};

/// Largest program, in bytes.
pub const MAX_PROGRAM_BYTES: u64 = hotshoe_trust::ReleaseLimits::PROGRAM_BYTES;
/// Largest record, in bytes.
const MAX_RECORD_BYTES: u64 = 64 << 10;
/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;
/// The format of the records.
const FORMAT: FileFormat = FileFormat::new(1, 1);

/// Why the folder of the slots could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// An I/O error.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record that cannot be read.
    #[error("{} is damaged; remove it to start the program that the supervisor was given", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A newer supervisor wrote it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// A program with other bytes.
    #[error("{} is not the program that was put there", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl FolderError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => "io",
            Self::Record { .. } => "unusable_slots",
            Self::Newer(error) => error.name(),
            Self::Damaged { .. } => "damaged",
        }
    }
}

/// A program that is about to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its path.
    pub path: PathBuf,
    /// Its slot; `None` for the program that the supervisor was given.
    pub installed: Option<Installed>,
    /// Its trial, if it is not confirmed.
    pub trial: Option<Trial>,
}

/// The contents of `verdict.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    number: u64,
    is_good: bool,
}

/// The folder `host` in a data folder.
#[derive(Debug, Clone)]
pub struct HostFolder {
    path: PathBuf,
    disk: Disk,
}

impl HostFolder {
    /// The folder in this data folder. It is made where it is missing.
    ///
    /// # Errors
    /// [`FolderError::Io`]
    pub fn open(data: &Path) -> Result<Self, FolderError> {
        Self::open_with(data, Faults::never())
    }

    /// [`Self::open`] with injected faults, for tests.
    #[doc(hidden)]
    pub fn open_with(data: &Path, faults: Faults) -> Result<Self, FolderError> {
        let (path, disk) = (data.join("host"), Disk::new(faults));
        disk.make_folder(&path).map_err(at(&path))?;
        Ok(Self { path, disk })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The record; that of a new folder if there is none.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn slots(&self) -> Result<Slots, FolderError> {
        Ok(self.read("slots.json")?.unwrap_or_default())
    }

    /// Copies a program into a slot, and checks its bytes. The daemon does, and not into the live slot.
    ///
    /// # Errors
    /// [`FolderError::Damaged`] if `from` has other bytes, and [`FolderError::Io`].
    pub fn put(
        &self,
        from: impl io::Read,
        slot: SlotName,
        program: Blob,
    ) -> Result<Installed, FolderError> {
        let path = self.path.join(slot.file());
        let part = self.path.join(format!("{slot}.part"));
        let copied = self.copy(from, &part, &path, program);
        if !matches!(copied, Ok(true)) {
            // The disk may be full. What cannot be removed now is replaced by the next program.
            let _ = self.disk.remove(&part);
        }
        match copied {
            Ok(true) => Ok(Installed { slot, program }),
            Ok(false) => Err(FolderError::Damaged { path }),
            Err(source) => Err(FolderError::Io { path, source }),
        }
    }

    /// Copies a program by way of `part`. Whether it has the right bytes.
    fn copy(
        &self,
        from: impl io::Read,
        part: &Path,
        path: &Path,
        program: Blob,
    ) -> io::Result<bool> {
        let mut source = from.take(program.size.saturating_add(1));
        let mut file = self.disk.create(part)?;
        let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE]);
        loop {
            let count = source.read(&mut piece)?;
            match piece.get(..count) {
                Some(read) if !read.is_empty() => {
                    hasher.update(read);
                    self.disk.write(&mut file, read)?;
                }
                _ => break,
            }
        }
        if hasher.finish() != program.digest {
            return Ok(false);
        }
        self.disk.make_executable(&file)?;
        self.disk.finish(&file, part, path)?;
        Ok(true)
    }

    /// Orders the trial of a program that was [put](Self::put) into its slot. The supervisor takes the order at its next start of a
    /// daemon.
    ///
    /// # Errors
    /// [`FolderError::Io`]
    pub fn want(&self, wanted: &Wanted) -> Result<(), FolderError> {
        self.write("wanted.json", wanted)
    }

    /// Says that the trial of this order is good. The supervisor records it soon after.
    ///
    /// # Errors
    /// [`FolderError::Io`]
    pub fn confirm(&self, number: u64) -> Result<(), FolderError> {
        let is_good = true;
        self.write("verdict.json", &Verdict { number, is_good })
    }

    /// Says that the trial of this order is not good: the supervisor goes back at the next start.
    ///
    /// # Errors
    /// [`FolderError::Io`]
    pub fn refuse(&self, number: u64) -> Result<(), FolderError> {
        let is_good = false;
        self.write("verdict.json", &Verdict { number, is_good })
    }

    /// Takes what the daemon ordered and confirmed into the record. Only the supervisor does. An order or a word that cannot be read
    /// is left out.
    ///
    /// # Errors
    /// [`FolderError`] if the record cannot be read or written.
    pub fn take(&self) -> Result<Slots, FolderError> {
        let slots = self.slots()?;
        let mut next = slots.clone();
        // Before the order, which may be a later one.
        if let Ok(Some(Verdict { number, is_good })) = self.read("verdict.json") {
            next = next.after(match is_good {
                true => Happened::Confirmed(number),
                false => Happened::Refused(number),
            });
        }
        if let Ok(Some(wanted)) = self.read("wanted.json") {
            next = next.after(Happened::Wanted(wanted));
        }
        if next != slots {
            self.write("slots.json", &next)?;
        }
        Ok(next)
    }

    /// The path of a program, whose bytes are hashed.
    ///
    /// # Errors
    /// [`FolderError::Damaged`], or [`FolderError::Io`] if it cannot be read.
    pub fn checked(&self, installed: &Installed) -> Result<PathBuf, FolderError> {
        let path = self.path.join(installed.slot.file());
        let digest = digest_of(&path, installed.program.size).map_err(at(&path))?;
        if digest == Some(installed.program.digest) {
            Ok(path)
        } else {
            Err(FolderError::Damaged { path })
        }
    }

    /// The program that is started next, after its bytes were hashed; `None` for the one that the supervisor was given. A start of a trial
    /// is counted. Only the supervisor calls this. `say` gets what goes wrong on the way.
    ///
    /// # Errors
    /// [`FolderError`] if the record cannot be read or written.
    pub fn next(&self, say: &dyn Fn(&str)) -> Result<Option<Program>, FolderError> {
        let mut slots = self.take()?;
        loop {
            if slots.is_used_up() {
                say("the new program ended as often as is allowed; going back");
                slots = self.change(Happened::GaveUp("died_in_trial"))?;
            }
            let (installed, trial) = match slots.choice() {
                Choice::Given => return Ok(None),
                Choice::Confirmed(installed) => (installed, None),
                Choice::Trial(trial) => (trial.installed, Some(trial)),
            };
            let path = match self.checked(&installed) {
                Ok(path) => path,
                Err(error) => {
                    say(&chain(&error));
                    slots = self.change(Happened::Damaged(installed.slot))?;
                    continue;
                }
            };
            if trial.is_some() {
                // Before it is started: a power cut must count as well.
                self.change(Happened::Started)?;
            }
            return Ok(Some(Program {
                path,
                installed: Some(installed),
                trial,
            }));
        }
    }

    /// Records that something happened. Only the supervisor does.
    ///
    /// # Errors
    /// [`FolderError`]
    pub fn change(&self, happened: Happened) -> Result<Slots, FolderError> {
        let next = self.slots()?.after(happened);
        self.write("slots.json", &next)?;
        Ok(next)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FolderError> {
        let path = self.path.join(name);
        let bytes = match read_bytes(&path, MAX_RECORD_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(at(&path))?,
        };
        FORMAT.check_json(path.display(), &bytes)?;
        let value = serde_json::from_slice(&bytes);
        value
            .map(Some)
            .map_err(|source| FolderError::Record { path, source })
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let text = serde_json::to_vec_pretty(value).map_err(|source| FolderError::Record {
            path: path.clone(),
            source,
        })?;
        self.disk.replace(&path, &text).map_err(at(&path))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::Io { path, source }
}

/// The digest of a file of this size; `None` if it has another one.
fn digest_of(path: &Path, bytes: u64) -> io::Result<Option<Digest>> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if !about.is_file() || about.len() != bytes {
        return Ok(None);
    }
    let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE]);
    loop {
        let count = file.read(&mut piece)?;
        match piece.get(..count) {
            Some(read) if !read.is_empty() => hasher.update(read),
            _ => return Ok(Some(hasher.finish())),
        }
    }
}
