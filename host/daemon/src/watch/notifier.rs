//! File events of the folder at a path, also after that folder was replaced. Without a free inotify instance or watch there are none.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;

use hotshoe_protocol::event::EventCause;
use notify::event::{AccessKind, AccessMode, ModifyKind, RenameMode};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Too many open files in the system (ENFILE) or the process (EMFILE), which is also the error of the limit of inotify instances.
const NO_INSTANCE: [i32; 2] = [23, 24];
/// No space (ENOSPC), which is the error of the limit of inotify watches.
const NO_WATCH: i32 = 28;

/// The device and inode of a folder.
type Identity = (u64, u64);

/// Sends the file events of one folder.
pub(super) struct Notifier {
    folder: PathBuf,
    sender: SyncSender<Event>,
    /// Set when events were lost.
    missed: Arc<AtomicBool>,
    /// Set when the folder itself was deleted, moved or unmounted.
    replaced: Arc<AtomicBool>,
    watcher: Option<RecommendedWatcher>,
    /// Why there is no watcher.
    shortage: Option<EventCause>,
    identity: Option<Identity>,
}

/// What has changed since the last check.
#[derive(Debug)]
pub(super) enum FolderChange {
    /// Nothing.
    None,
    /// There is no such folder.
    Missing(io::Error),
    /// Another folder stands under the path.
    Replaced,
    /// The same folder has events from now on.
    Notified,
}

impl Notifier {
    /// For events of `folder`, an absolute path. [`Notifier::start`] starts them.
    pub(super) fn new(folder: PathBuf, sender: SyncSender<Event>, missed: Arc<AtomicBool>) -> Self {
        Self {
            folder,
            sender,
            missed,
            replaced: Arc::default(),
            watcher: None,
            shortage: None,
            identity: None,
        }
    }

    /// Watches the folder for the first time. Where the system has no more events to give, [`Self::shortage`] says so.
    pub(super) fn start(&mut self) -> Result<(), notify::Error> {
        self.identity = Some(identity(&self.folder).map_err(notify::Error::io)?);
        self.watch().or_else(|error| {
            self.shortage = Some(shortage(&error).ok_or(error)?);
            Ok(())
        })
    }

    /// Why the folder has no events.
    pub(super) const fn shortage(&self) -> Option<&EventCause> {
        self.shortage.as_ref()
    }

    /// Whether the folder itself was deleted, moved or unmounted since the last check.
    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// Watches the folder that stands under the path now, if it is another one, or had no events.
    pub(super) fn check(&mut self) -> FolderChange {
        let was_replaced = self.replaced.swap(false, Ordering::AcqRel);
        let found = match identity(&self.folder) {
            Ok(found) => found,
            Err(error) => {
                (self.watcher, self.identity) = (None, None);
                return FolderChange::Missing(error);
            }
        };
        if self.identity == Some(found) && !was_replaced {
            let is_notified = self.watcher.is_none() && self.watch().is_ok();
            return if is_notified {
                FolderChange::Notified
            } else {
                FolderChange::None
            };
        }
        (self.watcher, self.identity) = (None, Some(found));
        if let Err(error) = self.watch() {
            let other = || EventCause::new("inotify_failed", error.to_string());
            self.shortage = Some(shortage(&error).unwrap_or_else(other));
        }
        FolderChange::Replaced
    }

    fn watch(&mut self) -> Result<(), notify::Error> {
        let (folder, sender) = (self.folder.clone(), self.sender.clone());
        let (missed, replaced) = (Arc::clone(&self.missed), Arc::clone(&self.replaced));
        let mut last_written = None;
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let event = match event {
                Ok(event) if !event.need_rescan() => event,
                _ => {
                    missed.store(true, Ordering::Release);
                    let _ = sender.try_send(Event::default()); // a full queue is read anyway
                    return;
                }
            };
            let is_about_folder = event.paths.contains(&folder);
            if is_about_folder && is_end(event.kind) {
                replaced.store(true, Ordering::Release);
            } else if is_about_folder || !is_used(event.kind) {
                return;
            }
            // A large file is written in many parts.
            let written = is_write(event.kind).then(|| event.paths.clone());
            if written.is_some() && written == last_written {
                return;
            }
            last_written = written;
            if sender.try_send(event).is_err() {
                missed.store(true, Ordering::Release);
            }
        })?;
        watcher.watch(&self.folder, RecursiveMode::NonRecursive)?;
        (self.watcher, self.shortage) = (Some(watcher), None);
        Ok(())
    }
}

/// The folder that a path leads to.
fn identity(folder: &Path) -> io::Result<Identity> {
    let found = fs::metadata(folder)?;
    if !found.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok((found.dev(), found.ino()))
}

const fn is_end(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
    )
}

const fn is_write(kind: EventKind) -> bool {
    matches!(kind, EventKind::Modify(ModifyKind::Data(_)))
}

const fn is_used(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Create(_)
            | EventKind::Remove(_)
            | EventKind::Modify(
                ModifyKind::Data(_)
                    | ModifyKind::Metadata(_)
                    | ModifyKind::Name(RenameMode::From | RenameMode::To)
            )
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    )
}

/// The cause, if no inotify instance or watch is free.
fn shortage(error: &notify::Error) -> Option<EventCause> {
    let code = match &error.kind {
        ErrorKind::MaxFilesWatch => NO_WATCH,
        ErrorKind::Io(error) => error.raw_os_error()?,
        _ => return None,
    };
    if code == NO_WATCH {
        let message = "no inotify watch is left for this user; raise `fs.inotify.max_user_watches` with sysctl";
        return Some(EventCause::new("no_inotify_watch", message));
    }
    NO_INSTANCE.contains(&code).then(|| {
        let message = "no inotify instance is left for this user, or no file descriptor; raise `fs.inotify.max_user_instances` with \
             sysctl, or the limit of open files of this process and of the system";
        EventCause::new("no_inotify_instance", message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_shortage_names_the_limit_that_is_reached() {
        let of = |error| shortage(&error).map(|cause| (cause.name, cause.message));
        let io = |code| notify::Error::io(io::Error::from_raw_os_error(code));
        for code in NO_INSTANCE {
            let (name, message) = of(io(code)).unwrap();
            assert_eq!(name, "no_inotify_instance");
            assert!(message.contains("max_user_instances"), "{message}");
        }
        for error in [io(NO_WATCH), notify::Error::new(ErrorKind::MaxFilesWatch)] {
            let (name, message) = of(error).unwrap();
            assert_eq!(name, "no_inotify_watch");
            assert!(message.contains("max_user_watches"), "{message}");
        }
        let other = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(of(notify::Error::io(other)).is_none());
    }
}
