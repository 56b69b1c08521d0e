//! Samples from a watched folder. Only complete files are read: closed after writing, renamed or hard linked into the folder, or, where
//! the system reports no events, unchanged between two listings.

mod entry;
mod kept;
mod notifier;
mod reader;

use std::io;
use std::path::{PathBuf, absolute};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::WatchConfig;
use hotshoe_link::Incoming;
use notify::Event;

use self::notifier::Notifier;
use self::reader::{Reader, make_subfolders};
use crate::serving::answer::ReplyTo;
use crate::watched::FailedFiles;

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
    failed_files: Arc<FailedFiles>,
    wake: SyncSender<Event>,
    thread: JoinHandle<()>,
}

impl FolderWatch {
    /// Offers every complete file, existing files first. Files wait while no release serves. `offer` may block; files wait in the folder
    /// meanwhile. A file that killed the daemon twice, or was refused twice, is set aside: moved to `failed`, or skipped if files are kept.
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
        make_subfolders(config)?;
        let failed = |source| WatchError::Watch {
            folder: config.folder.clone(),
            source,
        };
        let mut config = config.clone();
        // Events have absolute paths. A listing has the same.
        config.folder = absolute(&config.folder).map_err(|error| failed(error.into()))?;
        let (sender, events) = sync_channel(MAX_EVENTS);
        let missed = Arc::new(AtomicBool::new(true));
        let stopped = Arc::new(AtomicBool::new(false));
        let mut notifier =
            Notifier::new(config.folder.clone(), sender.clone(), Arc::clone(&missed));
        notifier.start().map_err(failed)?;
        let mut reader = Reader::new(
            config,
            max_bytes,
            Arc::clone(&failed_files),
            notifier,
            (missed, Arc::clone(&stopped)),
            supervisor.clock().clone(),
            offer,
        );
        let thread = supervisor
            .restarted("watch", move || {
                reader.run(&events);
                Ok(())
            })
            .map_err(WatchError::Thread)?;
        Ok(Self {
            stopped,
            failed_files,
            wake: sender,
            thread,
        })
    }

    /// Stops reading files. Call [`FolderWatch::join`] once `offer` can no longer block.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.failed_files.folder().wake();
        let _ = self.wake.try_send(Event::default()); // a full queue is read anyway
    }

    /// Waits for the thread to end.
    pub fn join(self) {
        self.stop();
        let _ = self.thread.join();
    }
}
