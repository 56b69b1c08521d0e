//! Every write to the file system. Each step goes through [`Faults`], so that a test can cut the power, or fill
//! the disk, at any step.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, IoSlice, Write},
    os::unix::fs::{
        DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _,
        PermissionsExt as _,
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, MutexGuard};

/// File extension of a file until it is completely written.
pub const PART: &str = "part";

/// Most pieces of one write: Linux takes 1024.
const MAX_PIECES: usize = 1024;

/// What a step needs, which decides the faults that it meets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Free space on the disk.
    Space,
    /// Power alone: renames, removals, truncations and syncs.
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Cut,
    Full,
    ReadOnly,
    Broken,
}

/// A fault to inject: a power cut, a full disk, a disk that became read-only or one that fails, after a number of steps. That step and
/// all later ones fail. A power cut also takes half of what each file got since it was synced.
#[derive(Debug, Clone)]
pub struct Faults {
    left: Arc<AtomicU64>,
    kind: Kind,
    files: Arc<Mutex<Tracked>>,
}

/// What a power cut would take, by inode.
#[derive(Debug, Default)]
struct Tracked {
    /// Files with bytes that were not synced.
    unsynced: HashMap<u64, File>,
    /// Their length in bytes when they were last synced.
    synced: HashMap<u64, u64>,
}

impl Faults {
    const NEVER: u64 = u64::MAX;

    fn new(kind: Kind, steps: u64) -> Self {
        Self {
            left: Arc::new(AtomicU64::new(steps)),
            kind,
            files: Arc::default(),
        }
    }

    /// No fault.
    pub fn never() -> Self {
        Self::new(Kind::Cut, Self::NEVER)
    }

    /// Cuts the power after `steps` more steps.
    pub fn after(steps: u64) -> Self {
        Self::new(Kind::Cut, steps)
    }

    /// Fills the disk after `steps` more steps that need space. Removing and reading still work.
    pub fn full_after(steps: u64) -> Self {
        Self::new(Kind::Full, steps)
    }

    /// Makes the disk read-only after `steps` more steps. Reading still works.
    pub fn read_only_after(steps: u64) -> Self {
        Self::new(Kind::ReadOnly, steps)
    }

    /// Lets the disk fail with an I/O error after `steps` more steps. Reading still works.
    pub fn broken_after(steps: u64) -> Self {
        Self::new(Kind::Broken, steps)
    }

    /// Ends the fault: from now on every step succeeds.
    pub fn end(&self) {
        self.left.store(Self::NEVER, Ordering::Relaxed);
    }

    fn step(&self, needs: Needs) -> io::Result<()> {
        if self.kind == Kind::Full && needs == Needs::Power {
            return Ok(());
        }
        let count_down = |left: u64| match left {
            Self::NEVER => Some(left),
            left => left.checked_sub(1),
        };
        let counted = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count_down);
        match (counted, self.kind) {
            (Ok(_), _) => Ok(()),
            (Err(_), Kind::Cut) => {
                self.lose_unsynced()?;
                Err(io::Error::other("injected power cut"))
            }
            (Err(_), Kind::Full) => Err(io::ErrorKind::StorageFull.into()),
            (Err(_), Kind::ReadOnly) => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            (Err(_), Kind::Broken) => Err(io::Error::other("injected I/O error")),
        }
    }

    /// Records that a file was written to, or synced.
    fn note(&self, file: &File, synced: bool) -> io::Result<()> {
        if self.kind != Kind::Cut || self.left.load(Ordering::Relaxed) == Self::NEVER {
            return Ok(());
        }
        let about = file.metadata()?;
        let mut files = self.files();
        if synced {
            files.unsynced.remove(&about.ino());
            files.synced.insert(about.ino(), about.len());
        } else {
            let file = file.try_clone()?;
            files.unsynced.insert(about.ino(), file);
        }
        Ok(())
    }

    /// Records that nothing of a file is durable: it is new, or was emptied.
    fn note_empty(&self, file: &File) -> io::Result<()> {
        if self.kind == Kind::Cut && self.left.load(Ordering::Relaxed) != Self::NEVER {
            let inode = file.metadata()?.ino();
            self.files().synced.remove(&inode);
        }
        Ok(())
    }

    fn lose_unsynced(&self) -> io::Result<()> {
        let mut files = self.files();
        let Tracked { unsynced, synced } = &mut *files;
        for (inode, file) in unsynced.drain() {
            let len = file.metadata()?.len();
            let durable = synced.get(&inode).map_or(0, |synced| *synced.min(&len));
            file.set_len(durable + (len - durable) / 2)?;
        }
        Ok(())
    }

    fn files(&self) -> MutexGuard<'_, Tracked> {
        self.files.lock()
    }
}

/// Access mode of the files of a data folder.
const OWNER_FILE: u32 = 0o600;
/// Access mode of a data folder and the folders in it.
const OWNER_FOLDER: u32 = 0o700;

/// The file system with fault injection.
#[derive(Debug, Clone)]
pub struct Disk {
    faults: Faults,
    /// Access modes of new files and new folders, less the umask of the process.
    modes: (u32, u32),
}

impl Disk {
    /// A disk with these faults, for a data folder: what it creates is for its owner alone, under any umask.
    pub fn new(faults: Faults) -> Self {
        Self {
            faults,
            modes: (OWNER_FILE, OWNER_FOLDER),
        }
    }

    /// A disk without faults for files that people hand on, such as releases. The umask of the process decides who can read them.
    pub fn shared() -> Self {
        Self {
            faults: Faults::never(),
            modes: (0o666, 0o777),
        }
    }

    /// Creates `folder` and its missing parents.
    pub fn make_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        self.faults.step(Needs::Space)?;
        let missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|it| !it.as_os_str().is_empty() && !it.is_dir())
            .collect();
        DirBuilder::new()
            .recursive(true)
            .mode(self.modes.1)
            .create(folder)?;
        // The entry of each new one.
        missing
            .into_iter()
            .rev()
            .try_for_each(|made| self.sync_folder(parent(made)))
    }

    /// Opens `path` for writing, empty.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        self.faults.step(Needs::Space)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(self.modes.0)
            .open(path)?;
        self.faults.note_empty(&file)?;
        Ok(file)
    }

    /// Opens `path` for reading and writing without truncating it; creates it if it is missing.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        if !path.exists() {
            self.faults.step(Needs::Space)?;
        }
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(self.modes.0)
            .open(path)
    }

    /// Opens a file to append to it. What it has is durable already.
    pub fn open_end(&self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        self.faults.note(&file, true)?;
        Ok(file)
    }

    /// Writes `piece` at the file's position.
    pub fn write(&self, file: &mut File, piece: &[u8]) -> io::Result<()> {
        let whole = self.faults.step(Needs::Space);
        file.write_all(written(piece, &whole))?;
        self.faults.note(file, false)?;
        whole
    }

    /// Writes `piece` at `offset`.
    pub fn write_at(&self, file: &File, piece: &[u8], offset: u64) -> io::Result<()> {
        let whole = self.faults.step(Needs::Space);
        file.write_all_at(written(piece, &whole), offset)?;
        self.faults.note(file, false)?;
        whole
    }

    /// Writes `pieces` one after the other at `offset`, with as few calls as the system allows.
    pub fn write_all_at(&self, file: &File, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        let [piece] = pieces else {
            let whole = self.faults.step(Needs::Space);
            match &whole {
                Ok(()) => write_pieces(file, pieces, offset)?,
                Err(_) => file.write_all_at(written(&pieces.concat(), &whole), offset)?,
            }
            self.faults.note(file, false)?;
            return whole;
        };
        self.write_at(file, piece, offset)
    }

    /// Sets the length of a file in bytes; new bytes are zero.
    pub fn set_len(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.faults.step(Needs::Space)?;
        file.set_len(bytes)?;
        self.faults.note(file, false)
    }

    /// Cuts a file to its first `bytes` bytes. This needs no space.
    pub fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.faults.step(Needs::Power)?;
        file.set_len(bytes)?;
        self.faults.note(file, false)
    }

    /// Syncs `file` and renames it from `part` to `path`.
    pub fn finish(&self, file: &File, part: &Path, path: &Path) -> io::Result<()> {
        self.sync(file)?;
        self.rename(part, path)
    }

    /// Lets the owner execute a file that is being written.
    pub fn make_executable(&self, file: &File) -> io::Result<()> {
        self.faults.step(Needs::Power)?;
        file.set_permissions(fs::Permissions::from_mode(self.modes.1))
    }

    /// Makes the contents of a file durable.
    pub fn sync(&self, file: &File) -> io::Result<()> {
        self.faults.step(Needs::Power)?;
        file.sync_all()?;
        self.faults.note(file, true)
    }

    /// Makes the contents and the length of a file durable, and not its times: `fdatasync`.
    pub fn sync_data(&self, file: &File) -> io::Result<()> {
        self.faults.step(Needs::Power)?;
        file.sync_data()?;
        self.faults.note(file, true)
    }

    /// Renames `from` to `to`, durably.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.step(Needs::Power)?;
        fs::rename(from, to)?;
        self.sync_folder(parent(to))
    }

    /// Removes a file; a missing file is not an error.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.faults.step(Needs::Power)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Replaces the contents of `path` atomically.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace_with(path, |file| self.write(file, bytes))
    }

    /// Replaces the contents of `path` atomically by what `write` writes to the file that it gets.
    pub fn replace_with<T>(
        &self,
        path: &Path,
        write: impl FnOnce(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        let part = part_of(path);
        let written = self.create(&part).and_then(|mut file| {
            let done = write(&mut file)?;
            self.finish(&file, &part, path)?;
            Ok(done)
        });
        if written.is_err() {
            // The disk may be full, so leave nothing behind. A file that cannot be removed now is removed at the next start.
            let _ = self.remove(&part);
        }
        written
    }

    /// Makes the directory entries of `folder` durable.
    pub fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.faults.step(Needs::Power)?;
        File::open(folder)?.sync_all()
    }

    /// Removes incomplete files from `folder`, which a power cut left.
    pub fn sweep(&self, folder: &Path) -> io::Result<()> {
        for file in files(folder)? {
            if file.extension().is_some_and(|extension| extension == PART) {
                self.remove(&file)?;
            }
        }
        Ok(())
    }
}

/// The access mode of a file or folder that gives others any of these `bits`: `0o077` for any access, `0o022` for writing. `None` if it gives
/// none of them, or if the mode cannot be read.
pub fn wider_mode(path: &Path, bits: u32) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & bits != 0).then_some(mode)
}

/// The part of `piece` that reaches the disk: half of it if a fault interrupts the write, nothing on a read-only disk.
fn written<'a>(piece: &'a [u8], whole: &io::Result<()>) -> &'a [u8] {
    match whole {
        Ok(()) => piece,
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => &[],
        Err(_) => piece.get(..piece.len() / 2).unwrap_or_default(),
    }
}

/// Writes `pieces` one after the other at `offset`.
fn write_pieces(file: &File, pieces: &[&[u8]], mut offset: u64) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    let mut left = slices.as_mut_slice();
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let most = left.len().min(MAX_PIECES);
        match rustix::io::pwritev(file, left.get(..most).unwrap_or_default(), offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => {
                offset += bytes as u64;
                IoSlice::advance_slices(&mut left, bytes);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The files in `folder`, sorted; none if the folder is missing.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// The folder that holds `path`.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The temporary name of `path` while it is written.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(PART);
    name.into()
}

#[cfg(test)]
mod tests;
