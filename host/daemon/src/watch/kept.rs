//! Removes processed files that the class of pictures does not let the device keep any longer.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use hotshoe_base::files;

use crate::watched::{DONE, FAILED};

/// Removes the files of the subfolders that were written `retention` or longer before `now`. One with a time after `now` gets that of `now`.
/// Returns how many were removed.
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
    let about = entry.metadata()?;
    if !about.is_file() {
        return Ok(false);
    }
    let Ok(age) = now.duration_since(about.modified()?) else {
        // A clock was wrong. The file would be kept until that time and the retention after it.
        files::open(&entry.path())?.set_modified(now)?;
        return Ok(false);
    };
    let is_old = age >= retention;
    if is_old {
        fs::remove_file(entry.path())?;
    }
    Ok(is_old)
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

    #[test]
    fn a_file_from_the_future_is_kept_for_its_retention_from_now_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ahead");
        fs::write(&path, "ahead").unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        let now = written - 60 * MINUTE;
        let removed_at = |now| remove_from(folder.path(), 10 * MINUTE, now).unwrap();
        assert_eq!(removed_at(now), 0);
        assert_eq!(removed_at(now + 9 * MINUTE), 0);
        assert_eq!(removed_at(now + 11 * MINUTE), 1);
    }
}
