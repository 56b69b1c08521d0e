//! One record of a ring, as it is in the file.

use std::array;

use serde::Serialize;

/// Bytes of a record.
pub(crate) const RECORD_BYTES: usize = 160;
/// Bytes before the checksum.
const CHECKED_BYTES: usize = RECORD_BYTES - 4;
/// Longest name of a mode that is kept, in bytes; a longer one is cut.
const MODE_BYTES: usize = 31;
/// Longest text of a mark that is kept, in bytes; a longer one is cut.
const MARK_BYTES: usize = 138;
/// Number of series.
pub(crate) const SERIES: usize = 13;
/// The series in the order of the file, with their units. New ones come last.
pub(crate) const SERIES_NAMES: [&str; SERIES] = [
    "rate_hz",
    "latency_p50_ms",
    "latency_p95_ms",
    "failed_hz",
    "queue",
    "hottest_celsius",
    "charge_ratio",
    "watts",
    "resident_mib",
    "memory_available_mib",
    "load",
    "processor_pressure_ratio",
    "drift",
];

/// What a series was over the time of one record.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Value {
    /// Median.
    pub(crate) median: f32,
    /// Largest value.
    pub(crate) most: f32,
}

/// The series over one slot of time.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Record {
    /// Start of the slot, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) start: u64,
    /// How often the device was looked at in this time.
    pub(crate) count: u32,
    /// The mode in force at the end. Empty without modes.
    pub(crate) mode: String,
    /// The series, as [`SERIES_NAMES`] has them. `None` for what was not known.
    pub(crate) values: [Option<Value>; SERIES],
}

/// What happened to the releases or the mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Mark {
    /// When, in seconds since 1970-01-01T00:00:00Z.
    pub(crate) at: u64,
    /// The kind of the event, in snake case.
    pub(crate) kind: String,
    /// What it was about.
    pub(crate) label: String,
}

impl Record {
    pub(crate) fn to_bytes(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.extend(self.start.to_le_bytes());
        bytes.extend(self.count.to_le_bytes());
        put_text(&mut bytes, &self.mode, MODE_BYTES);
        for value in self.values {
            let value = value.unwrap_or(Value {
                median: f32::NAN,
                most: f32::NAN,
            });
            bytes.extend(value.median.to_le_bytes());
            bytes.extend(value.most.to_le_bytes());
        }
        sealed(bytes)
    }

    /// Reads a record. `None` for an empty or damaged one.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = checked(bytes)?;
        let start = u64::from_le_bytes(take(&mut rest)?);
        let count = u32::from_le_bytes(take(&mut rest)?);
        let mode = take_text(&mut rest, MODE_BYTES)?;
        let mut values = [None; SERIES];
        for value in &mut values {
            let median = f32::from_le_bytes(take(&mut rest)?);
            let most = f32::from_le_bytes(take(&mut rest)?);
            *value = (!median.is_nan() && !most.is_nan()).then_some(Value { median, most });
        }
        Some(Self {
            start,
            count,
            mode,
            values,
        })
    }
}

impl Mark {
    pub(crate) fn to_bytes(&self, sequence: u64) -> [u8; RECORD_BYTES] {
        let mut bytes = Vec::with_capacity(RECORD_BYTES);
        bytes.extend(self.at.to_le_bytes());
        bytes.extend(sequence.to_le_bytes());
        put_text(
            &mut bytes,
            &format!("{}\t{}", self.kind, self.label),
            MARK_BYTES,
        );
        sealed(bytes)
    }

    /// Reads a mark with its number. `None` for an empty or damaged one.
    pub(crate) fn read(bytes: &[u8]) -> Option<(u64, Self)> {
        let mut rest = checked(bytes)?;
        let at = u64::from_le_bytes(take(&mut rest)?);
        let sequence = u64::from_le_bytes(take(&mut rest)?);
        let text = take_text(&mut rest, MARK_BYTES)?;
        let (kind, label) = text.split_once('\t').unwrap_or((&text, ""));
        let mark = Self {
            at,
            kind: kind.to_owned(),
            label: label.to_owned(),
        };
        Some((sequence, mark))
    }
}

/// Fills a record up, and adds its checksum.
fn sealed(mut bytes: Vec<u8>) -> [u8; RECORD_BYTES] {
    bytes.resize(CHECKED_BYTES, 0);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    let mut bytes = bytes.into_iter();
    array::from_fn(|_| bytes.next().unwrap_or_default())
}

/// The bytes before a right checksum.
fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let (checked, checksum) = bytes.split_at_checked(CHECKED_BYTES)?;
    let checksum = u32::from_le_bytes(checksum.try_into().ok()?);
    (crc32fast::hash(checked) == checksum).then_some(checked)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

/// Writes a length of one byte, then `most` bytes.
fn put_text(bytes: &mut Vec<u8>, text: &str, most: usize) {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(0);
    let text = text.get(..end).unwrap_or_default();
    bytes.push(u8::try_from(end).unwrap_or_default());
    bytes.extend(text.as_bytes());
    bytes.resize(bytes.len() + most - end, 0);
}

fn take_text(rest: &mut &[u8], most: usize) -> Option<String> {
    let [len] = take::<1>(rest)?;
    let (text, left) = rest.split_at_checked(most)?;
    *rest = left;
    let text = text.get(..usize::from(len))?;
    Some(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    fn record() -> Record {
        let mut record = Record {
            start: 1_790_000_010,
            count: 3,
            mode: "saving".to_owned(),
            ..Record::default()
        };
        record.values[0] = Some(Value {
            median: 2.5,
            most: 4.0,
        });
        record.values[SERIES - 1] = Some(Value {
            median: 0.0,
            most: -1.0,
        });
        record
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let bytes = record().to_bytes();
        assert_eq!(Record::read(&bytes), Some(record()));
    }

    #[test]
    fn any_changed_byte_and_any_missing_one_is_found() {
        let bytes = record().to_bytes();
        for place in 0..RECORD_BYTES {
            let mut damaged = bytes;
            damaged[place] ^= 0x10;
            assert_eq!(Record::read(&damaged), None, "byte {place}");
            assert_eq!(Record::read(&bytes[..place]), None, "{place} bytes");
        }
        assert_eq!(Record::read(&[0; RECORD_BYTES]), None);
        assert_eq!(Record::read(&[0xff; RECORD_BYTES]), None);
    }

    #[test]
    fn a_mark_has_its_number_and_a_long_text_is_cut_between_characters() {
        let mark = Mark {
            at: 7,
            kind: "release_swapped".to_owned(),
            label: "labels 12".to_owned(),
        };
        assert_eq!(Mark::read(&mark.to_bytes(9)), Some((9, mark.clone())));
        let long = Mark {
            label: "é".repeat(200),
            ..mark
        };
        let (_, read) = Mark::read(&long.to_bytes(0)).unwrap();
        // 15 bytes of kind and a tab leave 122 bytes: 61 characters of two bytes.
        assert_eq!(read.label, "é".repeat(61));
    }
}
