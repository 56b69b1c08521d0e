//! The files of the log: which there are, and the lines in them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hotshoe_base::{disk, files};
use hotshoe_trust::Digest;

use crate::error::{AuditError, at};
use crate::head::Head;
use crate::record::{MAX_LINE_BYTES, Record};

/// The log's folder in the data folder.
pub const FOLDER: &str = "audit";
/// The file of the last signed head, in the log's folder.
pub const HEAD: &str = "head.json";
/// Largest file of the log that is read, in bytes: 64 MiB.
pub const MAX_FILE_BYTES: u64 = 64 << 20;
/// Extension of a file with records.
const EXTENSION: &str = "jsonl";

/// One file of the log, as it was read.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// One complete line of a file.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Its number in the file, from 1.
    pub number: usize,
    /// Its bytes, without the line end.
    pub bytes: &'a [u8],
}

impl Line<'_> {
    /// The record on it. `None` if it is not a record.
    pub fn record(&self) -> Option<Record> {
        if self.bytes.len() > MAX_LINE_BYTES {
            return None;
        }
        serde_json::from_slice(self.bytes).ok()
    }

    /// The digest that the next record names.
    pub fn hash(&self) -> Digest {
        Digest::of(self.bytes)
    }
}

impl Segment {
    /// Its complete lines.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = Line<'_>> {
        let (whole, _) = self.split();
        let lines: Vec<&[u8]> = whole.split_inclusive(|&byte| byte == b'\n').collect();
        lines.into_iter().enumerate().map(|(at, bytes)| Line {
            number: at + 1,
            bytes: bytes.strip_suffix(b"\n").unwrap_or(bytes),
        })
    }

    /// The complete lines, and the incomplete one at the end.
    pub(crate) fn split(&self) -> (&[u8], &[u8]) {
        let end = self.bytes.iter().rposition(|&byte| byte == b'\n');
        let end = end.map_or(0, |at| at + 1);
        self.bytes.split_at_checked(end).unwrap_or_default()
    }

    /// The head after its last complete line. The number of a line that is not a record follows from the lines before it.
    pub(crate) fn head(&self) -> Option<Head> {
        let mut after = 0;
        let mut hash = None;
        for line in self.lines().rev() {
            hash = hash.or_else(|| Some(line.hash()));
            if let Some(record) = line.record() {
                let sequence = record.sequence.saturating_add(after);
                return hash.map(|hash| Head { sequence, hash });
            }
            after += 1;
        }
        let first = self.name.split('.').next().and_then(|it| it.parse().ok());
        let before = first.unwrap_or(1_u64).saturating_sub(1);
        let sequence = before.saturating_add(after);
        hash.map(|hash| Head { sequence, hash })
    }
}

/// The path of the file that begins with a record.
pub(crate) fn path_of(folder: &Path, first: u64) -> PathBuf {
    // As many digits as any number has, so that the names sort by number.
    folder.join(format!("{first:020}.{EXTENSION}"))
}

/// The files with records, oldest first. None if the folder is missing.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, AuditError> {
    let mut found = disk::files(folder).map_err(at(folder))?;
    found.retain(|path| path.extension().is_some_and(|it| it == EXTENSION));
    Ok(found)
}

/// Reads one file.
pub(crate) fn read(path: &Path) -> Result<Segment, AuditError> {
    let bytes = files::read_bytes(path, MAX_FILE_BYTES).map_err(at(path))?;
    let name = path.file_name().unwrap_or_default();
    Ok(Segment {
        name: name.to_string_lossy().into_owned(),
        bytes,
    })
}

/// Reads the files of a log, oldest first. None if the folder is missing.
///
/// # Errors
/// [`AuditError::Io`] names the file.
pub fn read_segments(folder: &Path) -> Result<Vec<Segment>, AuditError> {
    let mut segments = Vec::new();
    for path in list(folder)? {
        match read(&path) {
            // The daemon has removed it meanwhile; a later record says so.
            Err(AuditError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            read => segments.push(read?),
        }
    }
    Ok(segments)
}
