//! Reads and writes files, with errors that name them.
use anyhow::{Context, bail};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// The maximum size in bytes of a key, a `trust.toml` or another small text.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Reads a small text file.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    String::from_utf8(read_bytes(path)?).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Reads a small file.
pub fn read_bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    read_limited(path, MAX_TEXT_BYTES)
}

/// Reads a file of at most `limit` bytes.
pub fn read_limited(path: &Path, limit: u64) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path)
        .with_context(cannot)?
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    if bytes.len() as u64 > limit {
        bail!(
            "{} is larger than {limit} bytes; check that it is the right file",
            path.display()
        );
    }
    Ok(bytes)
}

/// Who may read a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Only its owner.
    Owner,
    /// Everyone that the process's umask allows.
    Anyone,
}

/// Writes a new file that appears complete or not at all. Fails if it exists, unless `force` is set.
pub fn write_new(path: &Path, bytes: &[u8], readers: Readers, force: bool) -> anyhow::Result<()> {
    if !force && path.exists() {
        bail!(
            "{} already exists; give --force to overwrite it",
            path.display()
        );
    }
    let cannot = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(cannot)?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    // A leftover of an earlier run may have other permissions.
    if Path::new(&part).exists() {
        fs::remove_file(&part).with_context(cannot)?;
    }
    let mut file = options(readers).open(&part).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.sync_all().with_context(cannot)?;
    fs::rename(&part, path).with_context(cannot)
}

fn options(readers: Readers) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if readers == Readers::Owner {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_is_kept_unless_forced_and_a_secret_is_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/a.key");
        write_new(&path, b"one", Readers::Owner, false).unwrap();
        let error = write_new(&path, b"two", Readers::Owner, false).unwrap_err();
        assert!(error.to_string().contains("--force"), "{error}");
        assert_eq!(read_text(&path).unwrap(), "one");
        write_new(&path, b"two", Readers::Owner, true).unwrap();
        assert_eq!(read_text(&path).unwrap(), "two");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }
}
