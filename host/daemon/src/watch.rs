//! Samples from a watched folder. Only complete files are read: closed after writing, or renamed into the folder.

mod failed_files;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use hotshoe_base::files::{Folder, FolderError};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{After, WatchConfig};
use hotshoe_link::Incoming;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use uuid::Uuid;

use self::failed_files::{InProgressMarker, Verdict};
use crate::answer::{Ending, ReplyTo};
use crate::intake::micros_since_epoch;
use crate::media::content_type;

pub use failed_files::FailedFiles;

/// Most queued events. Beyond it, the folder is listed again.
const MAX_EVENTS: usize = 1_024;
/// Subfolder of files that gave a result.
const DONE: &str = "done";
/// Subfolder of files that failed.
const FAILED: &str = "failed";

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A subfolder cannot be created.
    #[error("cannot create the folder {folder} for processed files")]
    Folder {
        /// The subfolder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be watched.
    #[error("cannot watch the folder {folder}; create it, or change `watch.folder`")]
    Watch {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: notify::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start the thread that reads watched files")]
    Thread(#[source] io::Error),
}

/// Identifies one version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: SystemTime,
    /// A file that was renamed over another may have the same size and time, but has another inode.
    inode: u64,
}

impl Version {
    fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self {
            size: metadata.len(),
            modified: metadata.modified()?,
            inode: metadata.ino(),
        })
    }
}

/// A file whose sample is being processed.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    version: Version,
    after: After,
    failed_files: Arc<FailedFiles>,
    /// `Some` while a worker processes it.
    marker: Option<InProgressMarker>,
    /// Dropped with the file, which wakes the thread that waits for its end.
    _ended: Option<SyncSender<()>>,
}

impl WatchedFile {
    /// Records that a worker begins with its sample. If the daemon dies, the next start knows the file.
    pub fn begin(&mut self) {
        self.marker = self.failed_files.begin(&self.path, self.version);
    }

    /// Moves, deletes or keeps the file as `watch.after` says. The file of a dropped sample stays, and so does a file that has changed
    /// since it was read: it is a new sample. `body` is the JSON of the error.
    pub fn finish(self, ending: Ending, body: &[u8]) {
        match (self.after, ending) {
            (_, Ending::Drop) => {}
            (After::Keep, Ending::Failure) => {
                self.failed_files.refused(&self.path, self.version, body)
            }
            // A failed file is moved away, so its record is not needed.
            (After::Move | After::Delete, Ending::Failure) | (_, Ending::Result) => {
                self.failed_files.forget(&self.path, self.version);
            }
        }
        self.put_away_or_warn(ending);
    }

    fn put_away_or_warn(&self, ending: Ending) {
        if let Err(error) = self.put_away(ending) {
            tracing::warn!(path = %self.path.display(), %error, "cannot move or delete a processed file");
        }
    }

    fn put_away(&self, ending: Ending) -> io::Result<()> {
        let subfolder = match (self.after, ending) {
            (After::Keep, _) | (_, Ending::Drop) => return Ok(()),
            (After::Delete, Ending::Result) => None,
            (After::Move, Ending::Result) => Some(DONE),
            (After::Move | After::Delete, Ending::Failure) => Some(FAILED),
        };
        match fs::symlink_metadata(&self.path) {
            Ok(metadata) if Version::of(&metadata)? == self.version => {}
            Ok(_) => return Ok(()),
            // It was moved or deleted meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        match subfolder {
            Some(subfolder) => self.move_to(subfolder),
            None => fs::remove_file(&self.path),
        }
    }

    /// Moves the file to a subfolder, with a prefix if the name is taken.
    fn move_to(&self, subfolder: &str) -> io::Result<()> {
        let (Some(folder), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let folder = folder.join(subfolder);
        let mut target = folder.join(name);
        if target.try_exists()? {
            target = folder.join(format!("{}-{}", Uuid::now_v7(), name.to_string_lossy()));
        }
        fs::rename(&self.path, target)
    }
}

/// A running watch of a folder.
pub struct FolderWatch {
    stopped: Arc<AtomicBool>,
    watcher: RecommendedWatcher,
    thread: JoinHandle<()>,
}

impl FolderWatch {
    /// Offers every complete file, existing files first. `offer` may block; files wait in the folder meanwhile. A file that killed the
    /// daemon twice, or was refused twice, is set aside: moved to `failed`, or skipped if files are kept.
    ///
    /// # Errors
    /// [`WatchError`] names the folder.
    pub fn start<O>(
        config: &WatchConfig,
        max_bytes: usize,
        failed_files: Arc<FailedFiles>,
        supervisor: &Supervisor,
        offer: O,
    ) -> Result<Self, WatchError>
    where
        O: Fn(Incoming<'_>, ReplyTo) + Send + 'static,
    {
        if config.after != After::Keep {
            for name in [DONE, FAILED] {
                let folder = config.folder.join(name);
                // Not `create_dir_all`: a watched folder that was created for a misspelt name would stay empty.
                match fs::create_dir(&folder) {
                    Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(WatchError::Folder { folder, source });
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }
        let failed = |source| WatchError::Watch {
            folder: config.folder.clone(),
            source,
        };
        let (sender, events) = sync_channel(MAX_EVENTS);
        let missed = Arc::new(AtomicBool::new(true));
        let stopped = Arc::new(AtomicBool::new(false));
        let mut reader = Reader {
            config: config.clone(),
            max_bytes,
            failed_files,
            offer,
            seen: HashMap::new(),
            missed: Arc::clone(&missed),
            stopped: Arc::clone(&stopped),
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let lost = event.as_ref().map_or(true, Event::need_rescan);
            if lost || sender.try_send(event.unwrap_or_default()).is_err() {
                missed.store(true, Ordering::Release);
            }
        })
        .map_err(failed)?;
        watcher
            .watch(&config.folder, RecursiveMode::NonRecursive)
            .map_err(failed)?;
        let thread = supervisor
            .restarted("watch", move || reader.run(&events))
            .map_err(WatchError::Thread)?;
        Ok(Self {
            stopped,
            watcher,
            thread,
        })
    }

    /// Stops reading files. Call [`FolderWatch::join`] once `offer` can no longer block.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Waits for the thread to end.
    pub fn join(self) {
        self.stop();
        drop(self.watcher);
        let _ = self.thread.join();
    }
}

struct Reader<O> {
    config: WatchConfig,
    max_bytes: usize,
    failed_files: Arc<FailedFiles>,
    offer: O,
    /// The last read version of each file, so that it is read once.
    seen: HashMap<PathBuf, Version>,
    missed: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl<O: Fn(Incoming<'_>, ReplyTo)> Reader<O> {
    fn run(&mut self, events: &Receiver<Event>) -> Result<(), String> {
        // After a restart of this thread, events were missed.
        self.missed.store(true, Ordering::Release);
        self.catch_up();
        while let Ok(event) = events.recv() {
            if self.stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            self.handle(event);
            self.catch_up();
        }
        if self.stopped.load(Ordering::Acquire) {
            return Ok(());
        }
        Err("the system sends no more file events".to_owned())
    }

    fn handle(&mut self, event: Event) {
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                event.paths.iter().for_each(|path| self.take(path));
            }
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                for path in &event.paths {
                    self.seen.remove(path);
                }
            }
            _ => {}
        }
    }

    /// Lists the folder if events were missed, as before the start.
    fn catch_up(&mut self) {
        if !self.missed.swap(false, Ordering::AcqRel) {
            return;
        }
        self.seen.retain(|path, _| path.exists());
        let listed = Folder::open(&self.config.folder).and_then(|folder| folder.entries());
        let names = match listed {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(folder = %self.config.folder.display(), %error, "cannot list the watched folder");
                return;
            }
        };
        let names = names.iter();
        let mut paths: Vec<PathBuf> = names.map(|it| self.config.folder.join(it)).collect();
        // Files that are tried alone come first, before others are being processed.
        paths.sort_by_key(|path| !self.is_suspect(path));
        for path in &paths {
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            self.take(path);
        }
    }

    fn is_suspect(&self, path: &Path) -> bool {
        let version = fs::symlink_metadata(path).and_then(|metadata| Version::of(&metadata));
        version.is_ok_and(|version| self.failed_files.verdict(path, version) == Verdict::TryAlone)
    }

    fn take(&mut self, path: &Path) {
        if is_unfinished(path) {
            return;
        }
        match read(&self.config.folder, path, self.max_bytes) {
            Ok(Some((payload, version))) => {
                if self.seen.insert(path.to_owned(), version) == Some(version) {
                    return;
                }
                let verdict = self.failed_files.verdict(path, version);
                let (ended, wait) = sync_channel(0);
                let file = WatchedFile {
                    path: path.to_owned(),
                    version,
                    after: self.config.after,
                    failed_files: Arc::clone(&self.failed_files),
                    marker: None,
                    _ended: (verdict == Verdict::TryAlone).then_some(ended),
                };
                if verdict == Verdict::SetAside {
                    file.put_away_or_warn(Ending::Failure);
                    return;
                }
                let incoming = Incoming {
                    source: path.display().to_string(),
                    id: None,
                    content_type: content_type(path).map(str::to_owned),
                    timestamp_us: Some(micros_since_epoch(version.modified)),
                    payload: Cow::Owned(payload),
                };
                (self.offer)(incoming, ReplyTo::File(file));
                // Waits for the end of a file that is tried alone; for others the channel is closed already.
                let _ = wait.recv();
            }
            Ok(None) => {}
            // It was moved or deleted meanwhile.
            Err(FolderError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read a watched file");
            }
        }
    }
}

/// Reads a file, up to one byte more than the limit, which is enough to refuse it. `None` if it is not a regular file. A link is not
/// followed; one that leads out of the folder is an error.
fn read(
    folder: &Path,
    path: &Path,
    max_bytes: usize,
) -> Result<Option<(Vec<u8>, Version)>, FolderError> {
    let name = path.strip_prefix(folder).unwrap_or(path);
    let folder = Folder::open(folder)?;
    let found = folder.symlink_metadata(name)?;
    if found.is_symlink() {
        return match folder.open_file(name) {
            Err(error @ FolderError::LinkLeadsOut { .. }) => Err(error),
            _ => Ok(None),
        };
    }
    if !found.is_file() {
        return Ok(None);
    }
    let file = folder.open_file(name)?;
    // Before the bytes: a write during the read gives another version.
    let version = Version::of(&file.metadata()?)?;
    let mut payload = Vec::new();
    file.take(max_bytes as u64 + 1).read_to_end(&mut payload)?;
    Ok(Some((payload, version)))
}

fn is_unfinished(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    hidden
        || path.extension().is_some_and(|extension| {
            extension.eq_ignore_ascii_case("part") || extension.eq_ignore_ascii_case("tmp")
        })
}
