//! The thread that reads the files of a watched folder.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_base::files::Folder;
use hotshoe_config::{After, WatchConfig};
use hotshoe_link::Incoming;
use hotshoe_protocol::event::{EventCause, KnownKind};
use hotshoe_protocol::status::WatchMode;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{Event, EventKind};

use super::WatchError;
use super::entry::{is_unfinished, open, unreadable};
use super::kept;
use super::notifier::{FolderChange, Notifier};
use crate::ending::Ending;
use crate::media::content_type;
use crate::serving::answer::ReplyTo;
use crate::serving::intake::micros_since_epoch;
use crate::watched::{DONE, FAILED, FailedFiles, Verdict, Version, WatchedFile};

/// Pause between two listings of the folder, which find what no event reports: files from other machines on a network file system, a
/// folder that was mounted over this one. A file that only a listing finds is read once two listings have found it unchanged.
const LISTING_PAUSE: Duration = Duration::from_secs(5);
/// The pause is at least this many times as long as the listing took.
const LISTING_SHARE: u32 = 50;

/// Creates the subfolders of processed files where files are moved.
pub(super) fn make_subfolders(config: &WatchConfig) -> Result<(), WatchError> {
    if config.after == After::Keep {
        return Ok(());
    }
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
    Ok(())
}

/// Reads the files of a watched folder.
pub(super) struct Reader<O> {
    config: WatchConfig,
    max_bytes: usize,
    failed_files: Arc<FailedFiles>,
    offer: O,
    notifier: Notifier,
    clock: Clock,
    next_listing: Instant,
    /// The last read version of each file, so that it is read once.
    seen: HashMap<PathBuf, Version>,
    /// Files that are being written by the events, and whether bytes were.
    written: HashMap<PathBuf, bool>,
    /// Versions of read files that differ from the read ones only by a time that was set.
    touched: HashMap<PathBuf, Version>,
    /// What the last listing found for the first time.
    unsettled: HashMap<PathBuf, Version>,
    /// Entries that are not read, each reported once.
    skipped: BTreeMap<PathBuf, String>,
    missed: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl<O: Fn(Incoming<'_>, ReplyTo)> Reader<O> {
    /// A reader of the folder that `notifier` watches. `flags` say that events were missed, and that the watch is stopped.
    pub(super) fn new(
        config: WatchConfig,
        max_bytes: usize,
        failed_files: Arc<FailedFiles>,
        notifier: Notifier,
        flags: (Arc<AtomicBool>, Arc<AtomicBool>),
        clock: Clock,
        offer: O,
    ) -> Self {
        let reader = Self {
            config,
            max_bytes,
            failed_files,
            offer,
            notifier,
            next_listing: clock.now(),
            clock,
            seen: HashMap::new(),
            written: HashMap::new(),
            touched: HashMap::new(),
            unsettled: HashMap::new(),
            skipped: BTreeMap::new(),
            missed: flags.0,
            stopped: flags.1,
        };
        reader.found();
        reader
    }

    /// Reads files until the watch is stopped.
    pub(super) fn run(&mut self, events: &Receiver<Event>) {
        // After a restart of this thread, events were missed.
        self.missed.store(true, Ordering::Release);
        loop {
            let folder = self.failed_files.folder();
            let may_read = folder.await_release(&self.stopped, &self.clock, self.next_listing);
            if self.is_stopped() {
                return;
            }
            if !may_read {
                self.remove_old();
                self.next_listing = self.clock.deadline(LISTING_PAUSE);
                continue;
            }
            for path in self.failed_files.folder().take_dropped() {
                self.seen.remove(&path);
                self.take(&path);
            }
            self.catch_up();
            if let Ok(event) = self.clock.recv_until(events, self.next_listing)
                && !self.is_stopped()
            {
                self.handle(&event);
            }
        }
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn handle(&mut self, event: &Event) {
        for path in &event.paths {
            if path.parent() != Some(&self.config.folder) {
                continue;
            }
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                    self.written.remove(path);
                    self.take(path);
                }
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                    self.forget(path);
                }
                EventKind::Create(_) => self.created(path),
                EventKind::Modify(ModifyKind::Data(_)) => {
                    self.written.insert(path.clone(), true);
                }
                EventKind::Modify(ModifyKind::Metadata(_)) => self.changed_rights(path),
                _ => {}
            }
        }
    }

    /// A new entry. A hard link is complete and is never closed; a new file is closed later.
    fn created(&mut self, path: &Path) {
        let Ok(metadata) = fs::symlink_metadata(path) else {
            return;
        };
        if metadata.is_file() && metadata.nlink() == 1 {
            self.written.insert(path.to_owned(), false);
        } else {
            self.take(path);
        }
    }

    /// Its mode, owner or time was set. A file that could not be read before may be readable now.
    fn changed_rights(&mut self, path: &Path) {
        let Some(seen) = self.seen.get(path) else {
            if !self.written.contains_key(path) {
                self.take(path);
            }
            return;
        };
        let now = fs::symlink_metadata(path).and_then(|metadata| Version::of(&metadata));
        // Where files are moved or deleted, one with another time stays in the folder, and has to be read again.
        if let Ok(now) = now
            && now.differs_in_time_alone(seen)
            && self.config.after == After::Keep
        {
            self.touched.insert(path.to_owned(), now);
        }
    }

    fn forget(&mut self, path: &Path) {
        self.seen.remove(path);
        self.written.remove(path);
        self.touched.remove(path);
        if self.skipped.remove(path).is_some() {
            self.failed_files.folder().set_skipped(self.skipped.len());
        }
    }

    /// Lists the folder if events were missed, as at the start, and from time to time.
    fn catch_up(&mut self) {
        let missed = self.missed.swap(false, Ordering::AcqRel);
        let is_due = self.clock.now() >= self.next_listing;
        if !missed && !is_due && !self.notifier.is_replaced() {
            return;
        }
        let began = self.clock.now();
        let is_same = self.check_folder();
        if missed && is_same {
            self.written.clear();
        }
        let listed = self.list(missed && is_same);
        self.remove_old();
        let pause = self.clock.elapsed(began).saturating_mul(LISTING_SHARE);
        self.next_listing = self.clock.deadline(pause.max(LISTING_PAUSE));
        for path in listed.iter().flatten() {
            if self.is_stopped() {
                return;
            }
            self.take(path);
        }
        if let Err(error) = listed {
            self.lost(&error);
        }
    }

    /// Removes processed files before the time is over for which their class lets the device keep them.
    fn remove_old(&self) {
        let retention = self.failed_files.folder().retention();
        let Some(retention) = retention.filter(|_| self.config.after != After::Keep) else {
            return;
        };
        // There is one more listing before.
        let retention = retention.saturating_sub(2 * LISTING_PAUSE);
        let removed = kept::remove_old(&self.config.folder, retention, self.clock.wall());
        if removed > 0 {
            tracing::info!(removed, "removed processed files: their retention is over");
        }
    }

    /// Watches the folder again if another one stands under its path. False then.
    fn check_folder(&mut self) -> bool {
        match self.notifier.check() {
            FolderChange::None => return true,
            FolderChange::Notified => {
                self.found();
                return true;
            }
            FolderChange::Missing(error) => self.lost(&error),
            FolderChange::Replaced => {
                if let Err(error) = make_subfolders(&self.config) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "processed files stay in the watched folder"
                    );
                }
                self.found();
            }
        }
        // What was seen stays: the same folder may come back, with files that are kept.
        self.written.clear();
        self.touched.clear();
        self.unsettled.clear();
        self.skipped.clear();
        false
    }

    /// Reports that the folder is watched, by listings alone if there is a reason for it.
    fn found(&self) {
        let shortage = self.notifier.shortage().cloned();
        let (mode, kind) = match &shortage {
            None => (WatchMode::Events, KnownKind::FolderWatched),
            Some(_) => (WatchMode::Polling, KnownKind::FolderPolled),
        };
        let reason = shortage.as_ref().map(|cause| cause.message.clone());
        let before = self.failed_files.folder().set_mode(mode, reason);
        if before.is_some() || shortage.is_some() {
            self.failed_files
                .report(kind, &self.config.folder, shortage);
        }
    }

    /// Reports once that the folder is not there or cannot be listed.
    fn lost(&self, error: &io::Error) {
        let reason = Some(error.to_string());
        let before = self
            .failed_files
            .folder()
            .set_mode(WatchMode::Missing, reason);
        if before != Some(WatchMode::Missing) {
            let message = format!("{error}; it is watched again once it exists");
            let cause = EventCause::new("folder_missing", message);
            self.failed_files
                .report(KnownKind::FolderLost, &self.config.folder, Some(cause));
        }
    }

    /// The files that are to be read: all new ones, or those that the last listing has found unchanged.
    fn list(&mut self, all: bool) -> io::Result<Vec<PathBuf>> {
        let names = Folder::open(&self.config.folder)?.entries()?;
        if self.failed_files.folder().is_missing() {
            self.found();
        }
        let before = std::mem::take(&mut self.unsettled);
        let mut due = Vec::new();
        let mut entries = HashSet::new();
        for name in names {
            let path = self.config.folder.join(name);
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            let version = Version::of(&metadata)?;
            entries.insert(path.clone());
            if metadata.is_dir()
                || is_unfinished(&path)
                || self.seen.get(&path) == Some(&version)
                || self.touched.get(&path) == Some(&version)
            {
                continue;
            }
            let is_open = match self.written.get(&path) {
                // A hard link whose other name is gone already is never closed.
                Some(false) => metadata.len() == 0,
                Some(true) => true,
                None => false,
            };
            if all || (before.get(&path) == Some(&version) && !is_open) {
                due.push(path);
            } else {
                self.unsettled.insert(path, version);
            }
        }
        self.seen.retain(|path, _| entries.contains(path));
        self.written.retain(|path, _| entries.contains(path));
        self.touched.retain(|path, _| entries.contains(path));
        self.skipped.retain(|path, _| entries.contains(path));
        self.failed_files.folder().set_skipped(self.skipped.len());
        // Files that are tried alone come first, before others are being processed.
        due.sort_by_key(|path| !self.is_suspect(path));
        Ok(due)
    }

    fn is_suspect(&self, path: &Path) -> bool {
        let version = fs::symlink_metadata(path).and_then(|metadata| Version::of(&metadata));
        version.is_ok_and(|version| self.failed_files.verdict(path, version) == Verdict::TryAlone)
    }

    fn take(&mut self, path: &Path) {
        if is_unfinished(path) {
            return;
        }
        match self.read(path) {
            Ok(Some((payload, version))) => {
                if self.skipped.remove(path).is_some() {
                    self.failed_files.folder().set_skipped(self.skipped.len());
                }
                self.touched.remove(path);
                self.seen.insert(path.to_owned(), version);
                self.offer_file(path, payload, version);
            }
            Ok(None) => {}
            Err(skip) => self.skip(path, skip),
        }
    }

    fn offer_file(&self, path: &Path, payload: Vec<u8>, version: Version) {
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

    /// Reads a file, up to one byte more than the limit, which is enough to refuse it. `None` if it is gone, was read before, or is a
    /// subfolder. A link is not followed.
    fn read(&self, path: &Path) -> Result<Option<(Vec<u8>, Version)>, EventCause> {
        let Some((file, version)) = open(&self.config.folder, path)? else {
            return Ok(None);
        };
        if self.seen.get(path) == Some(&version) {
            return Ok(None);
        }
        let mut payload = Vec::new();
        file.take(self.max_bytes as u64 + 1)
            .read_to_end(&mut payload)
            .map_err(|error| unreadable(&error))?;
        Ok(Some((payload, version)))
    }

    /// Reports once that an entry is not read.
    fn skip(&mut self, path: &Path, cause: EventCause) {
        let name = cause.name.clone();
        if self.skipped.get(path) == Some(&name) {
            return;
        }
        self.skipped.insert(path.to_owned(), name);
        self.failed_files.folder().set_skipped(self.skipped.len());
        self.failed_files
            .report(KnownKind::FileSkipped, path, Some(cause));
    }
}
