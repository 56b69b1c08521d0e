//! Samples from a watched folder. Only complete files are read: closed after writing, or renamed into the folder.

mod aside;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::{After, WatchConfig};
use hotshoe_link::Incoming;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use uuid::Uuid;

use self::aside::{Note, Verdict};
use crate::answer::{Answer, Ending};
use crate::intake::micros_since_epoch;
use crate::media::content_type;

pub use aside::Aside;

/// Events that may wait. When there are more, the folder is listed anew instead.
const MAX_EVENTS: usize = 1_024;
/// Subfolder of files that gave a result.
const DONE: &str = "done";
/// Subfolder of files that gave none.
const FAILED: &str = "failed";

/// Why a folder cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A subfolder cannot be made.
    #[error("cannot make the folder {folder}, where watched files go afterwards")]
    Folder {
        /// The subfolder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder cannot be watched.
    #[error("cannot watch the folder {folder}; make it, or change `watch.folder`")]
    Watch {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: notify::Error,
    },
    /// There is no thread for it.
    #[error("cannot start the thread that reads watched files")]
    Thread(#[source] io::Error),
}

/// Tells one content of a path from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    size: u64,
    modified: SystemTime,
    /// A file that was renamed over another may have the other's size and time, but has a number of its own.
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

/// A file whose sample is on its way.
#[derive(Debug)]
pub struct WatchedFile {
    path: PathBuf,
    version: Version,
    after: After,
    aside: Arc<Aside>,
    /// While it is being processed.
    note: Option<Note>,
    /// Dropped with the file, for whoever waits until it has ended.
    _ended: Option<SyncSender<()>>,
}

impl WatchedFile {
    /// A worker begins to process its sample. Should the daemon die of it, the next start knows which file it was.
    pub fn begin(&mut self) {
        self.note = self.aside.begin(&self.path, self.version);
    }

    /// Does with the file what `watch.after` says. The file of a dropped sample stays, and so does one that was
    /// overwritten or replaced since it was read: that is another sample, which is read in its turn. `body` is the JSON of the error.
    pub fn finish(self, ending: Ending, body: &[u8]) {
        match (self.after, ending) {
            (_, Ending::Drop) => {}
            (After::Keep, Ending::Failure) => self.aside.refused(&self.path, self.version, body),
            // One that fails goes away from the others, at once.
            (After::Move | After::Delete, Ending::Failure) | (_, Ending::Result) => {
                self.aside.forget(&self.path, self.version);
            }
        }
        self.leave(ending);
    }

    fn leave(&self, ending: Ending) {
        if let Err(error) = self.put_away(ending) {
            tracing::warn!(path = %self.path.display(), %error, "a watched file could not be put away");
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
            // Whoever moved it away wants it elsewhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        }
        match subfolder {
            Some(subfolder) => self.move_to(subfolder),
            None => fs::remove_file(&self.path),
        }
    }

    /// A file of the same name that is there already keeps it: this one gets a prefix.
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

/// A folder that is being watched.
pub struct Watch {
    stopped: Arc<AtomicBool>,
    watcher: RecommendedWatcher,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Offers every complete file, those that are there already first. `offer` may block; files wait in the folder meanwhile. A file
    /// that killed the daemon twice, or was refused twice, is left aside: moved to `failed`, or else passed over.
    ///
    /// # Errors
    /// [`WatchError`] names the folder.
    pub fn start<O>(
        config: &WatchConfig,
        max_bytes: usize,
        aside: Arc<Aside>,
        parts: &Supervisor,
        offer: O,
    ) -> Result<Self, WatchError>
    where
        O: Fn(Incoming<'_>, Answer) + Send + 'static,
    {
        if config.after != After::Keep {
            for name in [DONE, FAILED] {
                let folder = config.folder.join(name);
                // The watched folder itself must be there: one that is made for a misspelt name would stay empty.
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
            aside,
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
        let thread = parts
            .restarted("watch", move || reader.run(&events))
            .map_err(WatchError::Thread)?;
        Ok(Self {
            stopped,
            watcher,
            thread,
        })
    }

    /// Reads no further file. Call [`Watch::join`] once nothing can block in `offer` any more.
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
    aside: Arc<Aside>,
    offer: O,
    /// What was read of each file, so that it is read once.
    seen: HashMap<PathBuf, Version>,
    missed: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl<O: Fn(Incoming<'_>, Answer)> Reader<O> {
    fn run(&mut self, events: &Receiver<Event>) -> Result<(), String> {
        // Where it begins again, events were missed.
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
        Err("no events come from the system any more".to_owned())
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

    /// Lists the folder where events were missed, as they always were before the start.
    fn catch_up(&mut self) {
        if !self.missed.swap(false, Ordering::AcqRel) {
            return;
        }
        self.seen.retain(|path, _| path.exists());
        let entries = match fs::read_dir(&self.config.folder) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(folder = %self.config.folder.display(), %error, "the watched folder cannot be listed");
                return;
            }
        };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        // Those that have to be alone, before others are on their way.
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
        version.is_ok_and(|version| self.aside.verdict(path, version) == Verdict::TryAlone)
    }

    fn take(&mut self, path: &Path) {
        if is_unfinished(path) {
            return;
        }
        match read(path, self.max_bytes) {
            Ok(Some((payload, version))) => {
                if self.seen.insert(path.to_owned(), version) == Some(version) {
                    return;
                }
                let verdict = self.aside.verdict(path, version);
                let (ended, wait) = sync_channel(0);
                let file = WatchedFile {
                    path: path.to_owned(),
                    version,
                    after: self.config.after,
                    aside: Arc::clone(&self.aside),
                    note: None,
                    _ended: (verdict == Verdict::TryAlone).then_some(ended),
                };
                if verdict == Verdict::Aside {
                    file.leave(Ending::Failure);
                    return;
                }
                let incoming = Incoming {
                    source: path.display().to_string(),
                    id: None,
                    content_type: content_type(path).map(str::to_owned),
                    timestamp_us: Some(micros_since_epoch(version.modified)),
                    payload: Cow::Owned(payload),
                };
                (self.offer)(incoming, Answer::File(file));
                // The end of a file is told by nothing but the end of its channel.
                let _ = wait.recv();
            }
            Ok(None) => {}
            // It was moved away again: whoever did that does not want it read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a watched file cannot be read");
            }
        }
    }
}

/// One byte more than the limit is read at most, which is enough to refuse it. `None` for what is no regular file.
fn read(path: &Path, max_bytes: usize) -> io::Result<Option<(Vec<u8>, Version)>> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = File::open(path)?;
    // Before the bytes: what is written while they are read makes another version.
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
