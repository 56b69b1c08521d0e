//! Samples from a watched folder. Only complete files are read: closed after writing, or renamed into the folder.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use hotshoe_base::files::{Folder, FolderError};
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{After, WatchConfig};
use hotshoe_link::Incoming;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::ending::Ending;
use crate::media::content_type;
use crate::serving::answer::ReplyTo;
use crate::serving::intake::micros_since_epoch;
use crate::watched::{DONE, FAILED, FailedFiles, Verdict, Version, WatchedFile};

/// Most queued events. Beyond it, the folder is listed again.
const MAX_EVENTS: usize = 1_024;

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
                let file = WatchedFile::new(
                    path,
                    version,
                    self.config.after,
                    &self.failed_files,
                    (verdict == Verdict::TryAlone).then_some(ended),
                );
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
    // The notifications have absolute paths, also of a folder that the configuration names by a relative one.
    let name = Path::new(path.file_name().unwrap_or_default());
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
