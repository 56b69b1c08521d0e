//! The blobs of a pull that has not ended, which the next pull continues.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use hotshoe_trust::Digest;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use tempfile::TempDir;

/// The folder `.NAME.pull` beside the folder NAME that a pull writes. It is not in the system's temporary folder, which may be too small
/// and is emptied.
pub(super) struct PartialBlobs {
    folder: PathBuf,
    /// Held until the end, so that two pulls do not write the same files.
    _lock: File,
    _temporary: Option<TempDir>,
}

impl PartialBlobs {
    /// Opens the folder for a pull into `out`. If another pull, or somebody else, has it, the folder is a temporary one.
    pub(super) fn beside(out: &Path) -> io::Result<Self> {
        let parent = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let name = out.file_name().unwrap_or(OsStr::new("release"));
        let folder = parent.join(format!(".{}.pull", name.to_string_lossy()));
        if let Some(lock) = lock(&folder)? {
            return Ok(Self {
                folder,
                _lock: lock,
                _temporary: None,
            });
        }
        let temporary = tempfile::Builder::new()
            .prefix(".hotshoe-")
            .tempdir_in(parent)?;
        Ok(Self {
            folder: temporary.path().to_owned(),
            _lock: File::open(temporary.path())?,
            _temporary: Some(temporary),
        })
    }

    /// The file of a blob.
    pub(super) fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.to_string().replace(':', "-"))
    }

    /// Opens the file of a blob, with the bytes that it already has.
    pub(super) fn open(&self, digest: Digest) -> io::Result<File> {
        let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(nofollow)
            .open(self.path(digest))
    }

    /// Removes the file of a blob, if there is one.
    pub(super) fn discard(&self, digest: Digest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the folder with what an earlier pull left.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }
}

impl Drop for PartialBlobs {
    /// Leaves no folder behind in which nothing arrived.
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.metadata().is_ok_and(|it| it.len() == 0) {
                drop(fs::remove_file(entry.path()));
            }
        }
        // It fails for a folder with files, which stay for the next pull.
        drop(fs::remove_dir(&self.folder));
    }
}

/// Creates and locks the folder; none if it is another's.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() {
        return Ok(None);
    }
    let lock = File::open(folder)?;
    Ok(lock.try_lock().is_ok().then_some(lock))
}
