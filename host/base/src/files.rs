//! Reading small files of an operator or of the daemon, with a size limit.

use std::fs;
use std::io;
use std::path::Path;

/// Reads a text file of at most `most` bytes; a larger file is [`io::ErrorKind::FileTooLarge`].
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    check_size(path, most)?;
    fs::read_to_string(path)
}

/// Reads a file of at most `most` bytes; a larger file is [`io::ErrorKind::FileTooLarge`].
pub fn read_bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    check_size(path, most)?;
    fs::read(path)
}

fn check_size(path: &Path, most: u64) -> io::Result<()> {
    if fs::metadata(path)?.len() > most {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(())
}
