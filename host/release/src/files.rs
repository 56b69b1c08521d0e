//! Reads and writes files, with errors that name them.
use anyhow::{Context, bail};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// The maximum size in bytes of a key, a `trust.toml` or another small text.
const MAX_TEXT_BYTES: u64 = 1 << 20;

/// Reads a small text file.
pub fn read_text(path: &Path) -> anyhow::Result<String> {
    hotshoe_base::files::text(read_bytes(path)?)
        .with_context(|| format!("{} is not UTF-8", path.display()))
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
    let cannot = || format!("cannot write {}", path.display());
    match fs::symlink_metadata(path) {
        Ok(_) if !force => bail!(
            "{} already exists; give --force to overwrite it",
            path.display()
        ),
        // The rename below would replace the link, and leave the file that it leads to as it is.
        Ok(found) if found.is_symlink() => {
            let target = fs::canonicalize(path).with_context(cannot)?;
            return write_new(&target, bytes, readers, force);
        }
        Ok(found) if !found.is_file() => bail!("{} is not a regular file", path.display()),
        _ => {}
    }
    if let Some(folder) = path.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        if readers == Readers::Owner {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(folder).with_context(cannot)?;
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

    #[test]
    fn a_link_is_followed_and_what_is_not_a_file_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_new(&link, b"new", Readers::Anyone, true).unwrap();
        assert_eq!(read_text(&file).unwrap(), "new");
        assert!(link.is_symlink());
        let error = write_new(Path::new("/dev/null"), b"new", Readers::Anyone, true).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
