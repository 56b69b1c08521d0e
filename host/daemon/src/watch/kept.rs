//! Removes processed files that the class of pictures does not let the device keep any longer.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::watched::{DONE, FAILED};

/// Removes the files of the subfolders that were written `retention` or longer before `now`. Returns how many.
pub(super) fn remove_old(folder: &Path, retention: Duration, now: SystemTime) -> u64 {
    let mut removed = 0;
    for name in [DONE, FAILED] {
        match remove_from(&folder.join(name), retention, now) {
            Ok(count) => removed += count,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(
                    folder = name,
                    %error,
                    "processed files are kept for longer than their class allows"
                );
            }
        }
    }
    removed
}

fn remove_from(folder: &Path, retention: Duration, now: SystemTime) -> io::Result<u64> {
    // A link could lead to files that are not from the watched folder.
    if !fs::symlink_metadata(folder)?.is_dir() {
        return Ok(0);
    }
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_old(&entry, retention, now)? {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Whether it is a regular file of that age. One with a time in the future is not.
fn is_old(entry: &DirEntry, retention: Duration, now: SystemTime) -> io::Result<bool> {
    let about = entry.metadata()?;
    let age = now.duration_since(about.modified()?);
    Ok(about.is_file() && age.is_ok_and(|age| age >= retention))
}
