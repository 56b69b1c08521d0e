//! Small files that an operator or the daemon itself wrote, read whole and within bounds.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a regular file. Anything else, such as a pipe or a directory, is [`io::ErrorKind::InvalidInput`]: opening or reading a pipe could
/// wait for ever.
///
/// # Errors
/// Those of the file system, and [`io::ErrorKind::InvalidInput`].
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Without this, opening a pipe waits for a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = options.read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        let message = "it is not a regular file";
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}

/// Reads a text of at most `most` bytes.
///
/// # Errors
/// Those of [`read_bytes`], and [`io::ErrorKind::InvalidData`] if the file is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read_bytes(path, most)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// Those of [`open`], and [`io::ErrorKind::FileTooLarge`] for a larger file.
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_pipe_and_a_directory_are_refused_at_once_and_a_large_file_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let kind = |path: &Path| read_bytes(path, 8).unwrap_err().kind();
        assert_eq!(kind(&path), io::ErrorKind::InvalidInput);
        assert_eq!(kind(folder.path()), io::ErrorKind::InvalidInput);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "12345678").unwrap();
        assert_eq!(read_text(&path, 8).unwrap(), "12345678");
        std::fs::write(&path, "123456789").unwrap();
        assert_eq!(kind(&path), io::ErrorKind::FileTooLarge);
    }
}
