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
    Ok(remove_entries(fs::read_dir(folder)?, retention, now))
}

/// Removes those that are old. One that cannot be removed does not keep the others.
fn remove_entries(
    entries: impl Iterator<Item = io::Result<DirEntry>>,
    retention: Duration,
    now: SystemTime,
) -> u64 {
    let mut removed = 0;
    for entry in entries {
        match entry.and_then(|entry| remove_if_old(&entry, retention, now)) {
            Ok(is_removed) => removed += u64::from(is_removed),
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%error, "a processed file is kept for longer than its class allows");
            }
        }
    }
    removed
}

fn remove_if_old(entry: &DirEntry, retention: Duration, now: SystemTime) -> io::Result<bool> {
    let is_old = is_old(entry, retention, now)?;
    if is_old {
        fs::remove_file(entry.path())?;
    }
    Ok(is_old)
}

/// Whether it is a regular file of that age. One with a time in the future is not.
fn is_old(entry: &DirEntry, retention: Duration, now: SystemTime) -> io::Result<bool> {
    let about = entry.metadata()?;
    let age = now.duration_since(about.modified()?);
    Ok(about.is_file() && age.is_ok_and(|age| age >= retention))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_file_that_is_gone_does_not_keep_the_others() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one", "two", "three"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let entries: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        let first = entries.first().unwrap().as_ref().unwrap();
        fs::remove_file(first.path()).unwrap();
        let later = SystemTime::now() + 11 * MINUTE;
        assert_eq!(remove_entries(entries.into_iter(), 10 * MINUTE, later), 2);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
