//! The file of the history: rings of fixed size, in [`FILE_BYTES`] bytes.
//!
//! ```text
//! 64 bytes       "hotshoe history 1\n", then zeros
//! 240 records    the last hour, 15 s each
//! 288 records    the last day, 5 minutes each
//! 372 records    the last 31 days, 2 hours each
//! 256 marks      the last swaps, rollbacks, refusals and changes of the mode
//! ```
//! A record is at the place of its time, and a mark at that of its number. Each has a checksum, so a torn write costs one record.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use hotshoe_base::disk::{Disk, parent};
use hotshoe_base::files;
use hotshoe_base::format::{FileFormat, NewerFormat};
use serde::Serialize;

use super::record::{Mark, RECORD_BYTES, Record};

const FORMAT: FileFormat = FileFormat::new(1, 1);
/// What a file begins with, before its version.
const MAGIC: &[u8] = b"hotshoe history ";
/// Bytes before the first ring.
const HEAD_BYTES: usize = 64;
/// Most marks.
const MARKS: usize = 256;
/// Size of the file, in bytes. It never changes.
pub(crate) const FILE_BYTES: usize = HEAD_BYTES + RECORD_BYTES * (240 + 288 + 372 + MARKS);
/// How often the file is written, in seconds: about 600 writes and 1 MB each day. A power cut costs the history of this time, and the records
/// whose slots have not ended: at most 5 minutes of the day and 2 hours of the month.
pub(crate) const WRITE_EVERY_S: u64 = 300;

/// A ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Span {
    /// The last hour.
    Hour,
    /// The last day.
    Day,
    /// The last 31 days.
    Month,
}

impl Span {
    pub(crate) const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    /// The ring of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "hour" => Some(Self::Hour),
            "day" => Some(Self::Day),
            "month" => Some(Self::Month),
            _ => None,
        }
    }

    /// The time of one record, in seconds.
    pub(crate) const fn slot_s(self) -> u64 {
        match self {
            Self::Hour => 15,
            Self::Day => 300,
            Self::Month => 7_200,
        }
    }

    /// Number of records.
    pub(crate) const fn records(self) -> usize {
        match self {
            Self::Hour => 240,
            Self::Day => 288,
            Self::Month => 372,
        }
    }

    /// The time of all records, in seconds.
    pub(crate) const fn seconds(self) -> u64 {
        self.slot_s() * self.records() as u64
    }

    /// The place of the record that starts at this second.
    fn place(self, start: u64) -> usize {
        usize::try_from(start / self.slot_s() % self.records() as u64).unwrap_or_default()
    }

    const fn offset(self) -> usize {
        let before = match self {
            Self::Hour => 0,
            Self::Day => 240,
            Self::Month => 240 + 288,
        };
        HEAD_BYTES + before * RECORD_BYTES
    }
}

/// Why the history cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryFileError {
    /// A newer version of Hotshoe wrote it.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl HistoryFileError {
    /// The stable name, in snake case.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Newer(error) => error.name(),
            Self::Read { .. } | Self::Write { .. } => "io",
        }
    }
}

/// One ring in memory, with the places that are not on the disk yet.
#[derive(Debug)]
struct Ring<T> {
    offset: usize,
    places: Vec<Option<T>>,
    unwritten: BTreeSet<usize>,
}

/// The history, in memory and in its file.
#[derive(Debug)]
pub(crate) struct HistoryFile {
    path: PathBuf,
    disk: Disk,
    /// `None` until it could be opened with its full size.
    file: Option<File>,
    rings: [(Span, Ring<Record>); 3],
    marks: Ring<(u64, Mark)>,
    next_mark: u64,
}

impl HistoryFile {
    /// Opens the file, or begins a new one. Records that are damaged or missing are empty.
    ///
    /// # Errors
    /// [`HistoryFileError`]; a file of a newer version is left as it is.
    pub(crate) fn open(path: &Path, disk: Disk) -> Result<Self, HistoryFileError> {
        let bytes = match files::read_bytes(path, FILE_BYTES as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            // A longer file is not ours; what is in its place is ours.
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Vec::new(),
            Err(source) => {
                let path = path.to_owned();
                return Err(HistoryFileError::Read { path, source });
            }
        };
        FORMAT.check_magic(path.display(), &bytes, MAGIC)?;
        // Of another file, nothing is a record.
        let ours = if bytes.starts_with(&head()) {
            bytes
        } else {
            Vec::new()
        };
        let rings = Span::ALL.map(|span| (span, read_ring(span, &ours)));
        let marks = read_marks(&ours);
        let newest = marks.places.iter().flatten().map(|(number, _)| *number);
        let next_mark = newest.max().map_or(0, |newest| newest.saturating_add(1));
        Ok(Self {
            path: path.to_owned(),
            disk,
            file: None,
            rings,
            marks,
            next_mark,
        })
    }

    /// Puts a record in the place of its time. Of a slot that a restart has cut in two, the part with more statuses stays. It is on the disk after
    /// [`Self::flush`].
    pub(crate) fn add(&mut self, span: Span, record: Record) {
        let place = span.place(record.start);
        for (_, ring) in self.rings.iter_mut().filter(|(it, _)| *it == span) {
            let kept = ring.places.get(place).and_then(Option::as_ref);
            let has_more = |kept: &Record| kept.start == record.start && kept.count > record.count;
            if kept.is_some_and(has_more) {
                continue;
            }
            ring.put(place, record.clone());
        }
    }

    /// Adds a mark. It is on the disk after [`Self::flush`].
    pub(crate) fn mark(&mut self, mark: Mark) {
        let place = mark_place(self.next_mark);
        self.marks.put(place, (self.next_mark, mark));
        self.next_mark = self.next_mark.saturating_add(1);
    }

    /// The records of a ring up to `now`, in seconds since 1970, oldest first.
    pub(crate) fn records(&self, span: Span, now: u64) -> Vec<&Record> {
        let rings = self.rings.iter().filter(|(it, _)| *it == span);
        let places = rings.flat_map(|(_, ring)| ring.places.iter().flatten());
        let mut records: Vec<_> = places
            .filter(|record| is_within(record.start, span, now))
            .collect();
        records.sort_by_key(|record| record.start);
        records
    }

    /// The marks in the time of a ring up to `now`, oldest first.
    pub(crate) fn marks(&self, span: Span, now: u64) -> Vec<&Mark> {
        let places = self.marks.places.iter().flatten();
        let mut marks: Vec<_> = places
            .filter(|(_, mark)| is_within(mark.at, span, now))
            .collect();
        marks.sort_by_key(|(number, _)| *number);
        marks.into_iter().map(|(_, mark)| mark).collect()
    }

    /// Writes what is new. Returns the number of writes. What could not be written is tried again the next time.
    ///
    /// # Errors
    /// [`HistoryFileError::Write`]
    pub(crate) fn flush(&mut self) -> Result<usize, HistoryFileError> {
        let written = self.try_flush();
        if written.is_err() {
            // Opened again, in case that it was removed.
            self.file = None;
        }
        written.map_err(|source| HistoryFileError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn try_flush(&mut self) -> io::Result<usize> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let (file, is_whole) = prepared(&self.disk, &self.path)?;
                if !is_whole {
                    // What was written before is lost.
                    self.rings.iter_mut().for_each(|(_, ring)| ring.rewrite());
                    self.marks.rewrite();
                }
                file
            }
        };
        let (disk, mut writes) = (&self.disk, 0);
        for (_, ring) in &mut self.rings {
            writes += ring.flush(disk, &file, Record::to_bytes)?;
        }
        let to_bytes = |(number, mark): &(u64, Mark)| mark.to_bytes(*number);
        writes += self.marks.flush(disk, &file, to_bytes)?;
        self.file = Some(file);
        Ok(writes)
    }
}

impl<T> Ring<T> {
    fn put(&mut self, place: usize, value: T) {
        if let Some(kept) = self.places.get_mut(place) {
            *kept = Some(value);
            self.unwritten.insert(place);
        }
    }

    /// Has everything written by the next flush.
    fn rewrite(&mut self) {
        let places = self.places.iter().enumerate();
        let kept = places.filter(|(_, value)| value.is_some());
        self.unwritten = kept.map(|(place, _)| place).collect();
    }

    /// Writes neighbours at once.
    fn flush(
        &mut self,
        disk: &Disk,
        file: &File,
        to_bytes: impl Fn(&T) -> [u8; RECORD_BYTES],
    ) -> io::Result<usize> {
        let mut writes = 0;
        while let Some(first) = self.unwritten.first().copied() {
            let run: Vec<usize> = (first..)
                .take_while(|place| self.unwritten.contains(place))
                .collect();
            let mut bytes = Vec::with_capacity(run.len() * RECORD_BYTES);
            for place in &run {
                if let Some(Some(value)) = self.places.get(*place) {
                    bytes.extend(to_bytes(value));
                }
            }
            let offset = self.offset + first * RECORD_BYTES;
            disk.write_at(file, &bytes, offset as u64)?;
            for place in run {
                self.unwritten.remove(&place);
            }
            writes += 1;
        }
        Ok(writes)
    }
}

/// The file with its head and its full size, and whether it had both.
fn prepared(disk: &Disk, path: &Path) -> io::Result<(File, bool)> {
    disk.make_folder(parent(path))?;
    let file = disk.open(path)?;
    let mut found = [0; HEAD_BYTES];
    let has_head = file.read_exact_at(&mut found, 0).is_ok() && found.starts_with(&head());
    if !has_head {
        disk.truncate(&file, 0)?;
    }
    let is_whole = file.metadata()?.len() == FILE_BYTES as u64;
    if !is_whole {
        disk.set_len(&file, FILE_BYTES as u64)?;
    }
    if !has_head {
        disk.write_at(&file, &head(), 0)?;
    }
    disk.sync(&file)?;
    Ok((file, is_whole))
}

fn head() -> Vec<u8> {
    let version = format!("{}\n", FORMAT.written());
    [MAGIC, version.as_bytes()].concat()
}

fn read_ring(span: Span, bytes: &[u8]) -> Ring<Record> {
    let places = (0..span.records()).map(|place| {
        let record = Record::read(at(bytes, span.offset(), place)?)?;
        (span.place(record.start) == place).then_some(record)
    });
    Ring {
        offset: span.offset(),
        places: places.collect(),
        unwritten: BTreeSet::new(),
    }
}

fn read_marks(bytes: &[u8]) -> Ring<(u64, Mark)> {
    let offset = FILE_BYTES - MARKS * RECORD_BYTES;
    let places = (0..MARKS).map(|place| {
        let (number, mark) = Mark::read(at(bytes, offset, place)?)?;
        (mark_place(number) == place).then_some((number, mark))
    });
    Ring {
        offset,
        places: places.collect(),
        unwritten: BTreeSet::new(),
    }
}

fn at(bytes: &[u8], offset: usize, place: usize) -> Option<&[u8]> {
    let start = offset + place * RECORD_BYTES;
    bytes.get(start..start + RECORD_BYTES)
}

fn mark_place(number: u64) -> usize {
    usize::try_from(number % MARKS as u64).unwrap_or_default()
}

/// Whether a time is in the ring's time up to `now`. Others are left from before the clock was set.
const fn is_within(at: u64, span: Span, now: u64) -> bool {
    at <= now && at.saturating_add(span.seconds()) > now
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
