//! Regular files, read within bounds: by a path that is trusted, or by a name in a [`Folder`] that is not.

mod folder;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::{fs::OFlags, io::Errno};

pub use folder::{Folder, FolderError};

/// Without this, opening a pipe waits for a writer.
const NO_WAIT: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// Opens a regular file. Anything else, such as a pipe or a directory, is [`io::ErrorKind::InvalidInput`]: opening or reading a pipe could
/// wait for ever.
///
/// # Errors
/// Those of the file system, and [`io::ErrorKind::InvalidInput`].
pub fn open(path: &Path) -> io::Result<File> {
    regular(
        OpenOptions::new()
            .read(true)
            .custom_flags(NO_WAIT)
            .open(path),
    )
}

/// Passes a regular file on, and refuses anything else.
fn regular(opened: io::Result<File>) -> io::Result<File> {
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        // A socket cannot be opened at all.
        Err(error) if error.raw_os_error() != Some(Errno::NXIO.raw_os_error()) => Err(error),
        _ => {
            let message = "it is not a regular file";
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
    }
}

/// Reads a text of at most `most` bytes.
///
/// # Errors
/// Those of [`read_bytes`], and [`io::ErrorKind::InvalidData`] if the file is not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    text(read_bytes(path, most)?)
}

/// The text of a file, which is UTF-8.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is not, with what to do about UTF-16.
pub fn text(bytes: Vec<u8>) -> io::Result<String> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(invalid(
            "it is UTF-16 text; save it as UTF-8, the encoding of all text files of Hotshoe".into(),
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        invalid(Box::<dyn std::error::Error + Send + Sync>::from(
            error.utf8_error(),
        ))
    })
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// Those of [`open`], and [`io::ErrorKind::FileTooLarge`] for a larger file.
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_open(open(path)?, most)
}

/// Reads an open file of at most `most` bytes. It may grow while it is read.
fn read_open(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
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
    fn text_in_utf_16_is_named() {
        let utf_16 = [0xff, 0xfe, b's', 0, b'i', 0];
        for bytes in [utf_16.to_vec(), vec![0xfe, 0xff, 0, b's']] {
            let error = text(bytes).unwrap_err();
            assert!(error.to_string().contains("save it as UTF-8"), "{error}");
        }
        assert_eq!(text(b"site".to_vec()).unwrap(), "site");
        let error = text(vec![b's', 0xff]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

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
