//! The writer of the log.

use std::fs::{File, TryLockError};
use std::io::{Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hotshoe_base::disk::{Disk, Faults};
use hotshoe_base::files;
use hotshoe_trust::{Digest, Time};

use crate::error::{AuditError, at};
use crate::head::{Checkpoint, Head, Removed, SignedHead, Signer};
use crate::record::{AuditKind, Entry};
use crate::segments::{self, FOLDER, HEAD, path_of};

/// Largest file of a signed head, in bytes.
pub(crate) const MAX_HEAD_BYTES: u64 = 64 << 10;

/// How large the log grows, and how often the device signs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of a file in bytes after which the next one begins: 1 MiB. A file has at least the records of one write.
    pub file_bytes: u64,
    /// Size of all files in bytes above which the oldest are removed: 16 MiB. The current file always stays.
    pub total_bytes: u64,
    /// Records after which a checkpoint is due: 64.
    pub checkpoint_records: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 20,
            total_bytes: 16 << 20,
            checkpoint_records: 64,
        }
    }
}

/// The open log. One process writes it; others may read its files meanwhile.
#[derive(Debug)]
pub struct AuditLog {
    folder: PathBuf,
    disk: Disk,
    limits: Limits,
    signer: Option<Arc<Signer>>,
    _lock: File,
    path: PathBuf,
    file: File,
    /// Bytes of complete records in the file.
    bytes: u64,
    head: Head,
    /// A failed write may have left part of a line behind them.
    is_torn: bool,
    /// The files may be larger than allowed.
    is_trim_due: bool,
    /// Records since the last checkpoint.
    since_checkpoint: u64,
}

/// The end of the log on disk.
struct Tail {
    head: Head,
    /// The last file.
    path: Option<PathBuf>,
    /// Its complete lines.
    whole: Vec<u8>,
    /// Its incomplete line.
    torn: Vec<u8>,
}

impl AuditLog {
    /// Opens the log in a data folder, and creates it if it is missing. An incomplete line at its end, which a power cut leaves, is
    /// replaced by a record that says so. `now` is the device's clock.
    ///
    /// # Errors
    /// [`AuditError::InUse`] if another process writes it; [`AuditError::Io`] names the file.
    pub fn open(
        data: &Path,
        disk: Disk,
        limits: Limits,
        signer: Option<Arc<Signer>>,
        now: Time,
    ) -> Result<Self, AuditError> {
        let folder = data.join(FOLDER);
        disk.make_folder(&folder).map_err(at(&folder))?;
        let lock_path = folder.join("lock");
        let lock = disk.open(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditError::InUse { folder }),
            Err(TryLockError::Error(source)) => return Err(at(&lock_path)(source)),
        }
        disk.sweep(&folder).map_err(at(&folder))?;
        let tail = tail(&folder)?;
        let first = match (&tail.path, tail.torn.is_empty()) {
            (None, _) => Some(Entry::new(AuditKind::LogCreated, now)),
            (Some(_), false) => Some(repaired(&tail.torn, now)),
            (Some(_), true) => None,
        };
        let path = tail.path.unwrap_or_else(|| path_of(&folder, 1));
        let (mut head, mut whole) = (tail.head, tail.whole);
        if let Some(entry) = first {
            push(&mut whole, &mut head, &entry, None).map_err(at(&path))?;
            // One step, so that no power cut removes the line without the record.
            disk.replace(&path, &whole).map_err(at(&path))?;
        }
        let mut file = disk.open(&path).map_err(at(&path))?;
        file.seek(SeekFrom::End(0)).map_err(at(&path))?;
        let mut log = Self {
            disk,
            limits,
            signer,
            _lock: lock,
            path,
            file,
            bytes: whole.len() as u64,
            head,
            is_torn: false,
            is_trim_due: true,
            since_checkpoint: 1,
            folder,
        };
        log.compare_with_head(now)?;
        Ok(log)
    }

    /// The last record.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// Whether [`Limits::checkpoint_records`] are reached.
    pub const fn is_checkpoint_due(&self) -> bool {
        self.since_checkpoint >= self.limits.checkpoint_records
    }

    /// Whether there are records since the last checkpoint.
    pub const fn has_unsigned(&self) -> bool {
        self.since_checkpoint > 0
    }

    /// Appends entries durably, all or none. `now` is the device's clock.
    ///
    /// # Errors
    /// Nothing was appended; try again later.
    pub fn append(&mut self, entries: &[Entry], now: Time) -> Result<(), AuditError> {
        if self.bytes > 0 && self.bytes >= self.limits.file_bytes {
            self.rotate()?;
        }
        if self.is_trim_due {
            self.trim(now)?;
        }
        self.write(entries, None)
    }

    /// Appends a signed checkpoint, and stores the signed head of the log beside it. Without a key there is only the head.
    ///
    /// # Errors
    /// The head was not stored; try again later.
    pub fn checkpoint(&mut self, now: Time) -> Result<Option<SignedHead>, AuditError> {
        let Some(signer) = &self.signer else {
            self.since_checkpoint = 0;
            return Ok(None);
        };
        let checkpoint = signer.checkpoint(self.head, None)?;
        let entry = Entry::new(AuditKind::Checkpoint, now);
        self.write(std::slice::from_ref(&entry), Some(&checkpoint))?;
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let head = signer.head(self.head)?;
        let path = self.folder.join(HEAD);
        let text = serde_json::to_vec(&head).map_err(|error| at(&path)(error.into()))?;
        self.disk.replace(&path, &text).map_err(at(&path))?;
        self.since_checkpoint = 0;
        Ok(Some(head))
    }

    /// Writes and syncs records.
    fn write(
        &mut self,
        entries: &[Entry],
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(), AuditError> {
        self.drop_torn()?;
        let (mut lines, mut head) = (Vec::new(), self.head);
        for entry in entries {
            push(&mut lines, &mut head, entry, checkpoint).map_err(at(&self.path))?;
        }
        self.is_torn = true;
        let written = self.disk.write(&mut self.file, &lines);
        written
            .and_then(|()| self.disk.sync(&self.file))
            .map_err(at(&self.path))?;
        self.is_torn = false;
        self.bytes += lines.len() as u64;
        self.since_checkpoint += entries.len() as u64;
        self.head = head;
        Ok(())
    }

    /// Removes what a failed write of this process has left.
    fn drop_torn(&mut self) -> Result<(), AuditError> {
        if self.is_torn {
            let cut = self.disk.set_len(&self.file, self.bytes);
            cut.and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)).map(drop))
                .map_err(at(&self.path))?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Begins the next file.
    fn rotate(&mut self) -> Result<(), AuditError> {
        self.drop_torn()?;
        let path = path_of(&self.folder, self.head.sequence.saturating_add(1));
        let file = self.disk.create(&path).map_err(at(&path))?;
        let synced = self.disk.sync_folder(&self.folder);
        synced.map_err(at(&self.folder))?;
        (self.path, self.file, self.bytes) = (path, file, 0);
        self.is_trim_due = true;
        Ok(())
    }

    /// Removes the oldest files above the limit, after a record that says what was removed.
    fn trim(&mut self, now: Time) -> Result<(), AuditError> {
        let mut sizes = Vec::new();
        for path in segments::list(&self.folder)? {
            let bytes = path.metadata().map_err(at(&path))?.len();
            sizes.push((path, bytes));
        }
        let mut total: u64 = sizes.iter().map(|(_, bytes)| bytes).sum();
        for (path, bytes) in sizes {
            if total <= self.limits.total_bytes || path == self.path {
                break;
            }
            self.remove(&path, now)?;
            total = total.saturating_sub(bytes);
        }
        self.is_trim_due = false;
        Ok(())
    }

    /// Removes the oldest file. It has a record of its own, so that the chain begins behind such a record after each power cut.
    fn remove(&mut self, path: &Path, now: Time) -> Result<(), AuditError> {
        let segment = segments::read(path)?;
        let records = segment.lines().count() as u64;
        if let Some(head) = segment.head() {
            let removed = Removed { head, records };
            let checkpoint = match &self.signer {
                Some(signer) => signer.checkpoint(self.head, Some(removed))?,
                None => Checkpoint::unsigned(removed),
            };
            let entry = Entry::new(AuditKind::FilesRemoved, now);
            self.write(std::slice::from_ref(&entry), Some(&checkpoint))?;
        }
        self.disk.remove(path).map_err(at(path))?;
        let synced = self.disk.sync_folder(&self.folder);
        synced.map_err(at(&self.folder))
    }

    /// Records that the log does not reach its signed head.
    fn compare_with_head(&mut self, now: Time) -> Result<(), AuditError> {
        let text = files::read_bytes(&self.folder.join(HEAD), MAX_HEAD_BYTES);
        let stored = text
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        let Some(SignedHead { head, .. }) = stored else {
            return Ok(());
        };
        // A repair may have taken the place of the lost record.
        if head.sequence < self.head.sequence || head == self.head {
            return Ok(());
        }
        let entry = Entry::new(AuditKind::RecordsLost, now)
            .with("cause", "head_not_found")
            .with("last", self.head.sequence.to_string())
            .with("head", head.to_string());
        self.write(&[entry], None)?;
        // In place of the old head, which is not in the log any more.
        self.checkpoint(now).map(drop)
    }
}

/// Records something in the log of a data folder that no daemon uses.
///
/// # Errors
/// [`AuditError`]; nothing was recorded.
pub fn append_offline(data: &Path, entry: &Entry, now: Time) -> Result<(), AuditError> {
    let disk = Disk::new(Faults::never());
    // Without the device's key, the record of a removal would not be signed: the daemon removes files at its next start.
    let limits = Limits {
        total_bytes: u64::MAX,
        ..Limits::default()
    };
    let mut log = AuditLog::open(data, disk, limits, None, now)?;
    log.append(std::slice::from_ref(entry), now)
}

/// Adds the line of an entry.
fn push(
    lines: &mut Vec<u8>,
    head: &mut Head,
    entry: &Entry,
    checkpoint: Option<&Checkpoint>,
) -> std::io::Result<()> {
    let sequence = head.sequence.saturating_add(1);
    let line = entry.line(sequence, head.hash, checkpoint.cloned())?;
    *head = Head {
        sequence,
        hash: Digest::of(line.as_bytes()),
    };
    lines.extend_from_slice(line.as_bytes());
    lines.push(b'\n');
    Ok(())
}

/// The record of a repair.
fn repaired(torn: &[u8], now: Time) -> Entry {
    Entry::new(AuditKind::TailRepaired, now)
        .with("bytes", torn.len().to_string())
        .with("digest", Digest::of(torn).to_string())
}

/// Finds the last record.
fn tail(folder: &Path) -> Result<Tail, AuditError> {
    let mut tail = Tail {
        head: Head::START,
        path: None,
        whole: Vec::new(),
        torn: Vec::new(),
    };
    for path in segments::list(folder)?.into_iter().rev() {
        let segment = segments::read(&path)?;
        if tail.path.is_none() {
            let (whole, torn) = segment.split();
            (tail.whole, tail.torn) = (whole.to_vec(), torn.to_vec());
            tail.path = Some(path);
        }
        if let Some(head) = segment.head() {
            tail.head = head;
            break;
        }
    }
    Ok(tail)
}
