//! Watched files: what happens to a file when its sample ends, and the record of those that failed.

mod failed_files;
mod folder_state;

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use hotshoe_config::After;
use hotshoe_egress::Egress;
use uuid::Uuid;

use self::failed_files::InProgressMarker;
use crate::ending::Ending;

pub use failed_files::FailedFiles;
pub(crate) use failed_files::Verdict;

/// Subfolder of files that gave a result.
pub(crate) const DONE: &str = "done";
/// Subfolder of files that failed.
pub(crate) const FAILED: &str = "failed";

/// Identifies one version of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    size: u64,
    /// Time of the last change.
    pub(crate) modified: SystemTime,
    /// A file that was renamed over another may have the same size and time, but has another inode.
    inode: u64,
}

impl Version {
    pub(crate) fn of(metadata: &Metadata) -> io::Result<Self> {
        Ok(Self {
            size: metadata.len(),
            modified: metadata.modified()?,
            inode: metadata.ino(),
        })
    }

    /// Whether it differs from another version in nothing but the time, which can be set without a change of the bytes.
    pub(crate) fn differs_in_time_alone(&self, other: &Self) -> bool {
        (self.size, self.inode) == (other.size, other.inode) && self.modified != other.modified
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
    /// A file that has been read. `ended` is dropped when its sample ends.
    pub(crate) fn new(
        path: &Path,
        version: Version,
        after: After,
        failed_files: &Arc<FailedFiles>,
        ended: Option<SyncSender<()>>,
    ) -> Self {
        Self {
            path: path.to_owned(),
            version,
            after,
            failed_files: Arc::clone(failed_files),
            marker: None,
            _ended: ended,
        }
    }

    /// Records that a worker begins with its sample. If the daemon dies, the next start knows the file.
    pub fn begin(&mut self) {
        self.marker = self.failed_files.begin(&self.path, self.version);
    }

    /// Moves, deletes or keeps the file as `watch.after` says. The file of a dropped sample stays and is read again. A file that has changed
    /// since it was read stays too: it is a new sample. `error` is the error of a sample that failed, as it may leave the device.
    pub fn finish(self, ending: Ending, error: Option<&Egress>) {
        match (self.after, ending) {
            // It waits for the next release, or for the end of the rest.
            (_, Ending::Drop | Ending::Rest) => {
                self.failed_files.folder().dropped(self.path.clone())
            }
            (After::Keep, Ending::Failure) => {
                self.failed_files.refused(&self.path, self.version, error)
            }
            // A failed file is moved away, so its record is not needed.
            (After::Move | After::Delete, Ending::Failure) | (_, Ending::Result | Ending::Skip) => {
                self.failed_files.forget(&self.path, self.version);
            }
        }
        self.put_away_or_warn(ending);
    }

    /// Moves or deletes the file; an error is logged.
    pub(crate) fn put_away_or_warn(&self, ending: Ending) {
        if let Err(error) = self.put_away(ending) {
            tracing::warn!(path = %self.path.display(), %error, "cannot move or delete a processed file");
        }
    }

    fn put_away(&self, ending: Ending) -> io::Result<()> {
        let subfolder = match (self.after, ending) {
            (After::Keep, _) | (_, Ending::Drop | Ending::Rest) => return Ok(()),
            (After::Delete, Ending::Result | Ending::Skip) => None,
            (After::Move, Ending::Result | Ending::Skip) => Some(DONE),
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
