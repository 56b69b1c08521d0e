//! Reader of segment files.

use std::ops::Range;

use hotshoe_base::format::{FileFormat, NewerFormat};

use crate::frame::{Frame, checksum};

/// The format of a segment.
pub(crate) const FORMAT: FileFormat = FileFormat::new(1, 1);
/// What a segment begins with; its version follows.
const PREFIX: &[u8] = b"hotshoe-outbox-";
/// Bytes of the header: the prefix, the version and a line feed, the instance, the epoch, the key, the number, the checksum.
pub(crate) const HEADER_BYTES: usize = PREFIX.len() + 2 + 16 + 2 + 4 + 8 + 4;
/// How many times its own length of a segment may be checksummed in search of the next valid frame after a damaged one. What is left
/// then counts as damaged.
const SEARCH_FACTOR: usize = 16;

/// What the header of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The outbox.
    pub instance: u128,
    /// Its epoch.
    pub epoch: u16,
    /// What the checksums of frames begin with.
    pub key: u32,
    /// The number of the segment.
    pub number: u64,
}

/// What was found in a segment beside its frames.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Its header, if that is valid.
    pub header: Option<Header>,
    /// Valid frames.
    pub frames: usize,
    /// Damaged bytes between valid ones.
    pub damaged: Vec<Range<usize>>,
    /// The end of the last valid byte. What follows is torn, or damaged.
    pub valid_end: usize,
}

impl Header {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = PREFIX.to_vec();
        bytes.extend(format!("{}\n", FORMAT.written()).as_bytes());
        bytes.extend(self.instance.to_le_bytes());
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.key.to_le_bytes());
        bytes.extend(self.number.to_le_bytes());
        let sum = checksum(0, &bytes);
        bytes.extend(sum.to_le_bytes());
        bytes
    }

    /// The header of a segment of this version, also where a bit of the version flipped: the checksum of a newer one does not fit then.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut head = bytes.get(..HEADER_BYTES)?.to_vec();
        let version = head.get_mut(PREFIX.len())?;
        *version = b'1';
        Self::parse(&head)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (checked, sum) = bytes
            .get(..HEADER_BYTES)?
            .split_at_checked(HEADER_BYTES - 4)?;
        if checksum(0, checked).to_le_bytes() != sum {
            return None;
        }
        let (instance, rest) = checked
            .strip_prefix(PREFIX)?
            .strip_prefix(b"1\n")?
            .split_at_checked(16)?;
        let (epoch, rest) = rest.split_at_checked(2)?;
        let (key, number) = rest.split_at_checked(4)?;
        Some(Self {
            instance: u128::from_le_bytes(instance.try_into().ok()?),
            epoch: u16::from_le_bytes(epoch.try_into().ok()?),
            key: u32::from_le_bytes(key.try_into().ok()?),
            number: u64::from_le_bytes(number.try_into().ok()?),
        })
    }
}

/// Checks every frame of a segment. `key` serves where the header is damaged.
///
/// # Errors
/// [`NewerFormat`]
pub fn check(name: &str, bytes: &[u8], key: u32) -> Result<Scan, NewerFormat> {
    scan(name, bytes, key, |_, _, _| {})
}

/// Passes each valid frame to `found`, with its offset and its length in bytes.
///
/// # Errors
/// [`NewerFormat`]
pub(crate) fn scan<'a>(
    name: &str,
    bytes: &'a [u8],
    key: u32,
    mut found: impl FnMut(usize, usize, Frame<'a>),
) -> Result<Scan, NewerFormat> {
    let header = match Header::read(bytes) {
        Some(header) => Some(header),
        None => {
            FORMAT.check_magic(name, bytes, PREFIX)?;
            None
        }
    };
    let key = header.map_or(key, |header| header.key);
    let mut at = if header.is_some() { HEADER_BYTES } else { 0 };
    let mut scan = Scan {
        header,
        valid_end: at,
        ..Scan::default()
    };
    let mut budget = bytes.len().saturating_mul(SEARCH_FACTOR);
    while let Some((start, frame, length)) = next(bytes, at, key, &mut budget) {
        if start > at {
            scan.damaged.push(at..start);
        }
        found(start, length, frame);
        scan.frames += 1;
        at = start + length;
        scan.valid_end = at;
    }
    Ok(scan)
}

/// The first valid frame at `at` or after it.
fn next<'a>(
    bytes: &'a [u8],
    at: usize,
    key: u32,
    budget: &mut usize,
) -> Option<(usize, Frame<'a>, usize)> {
    if let Some((frame, length)) = Frame::read(bytes.get(at..)?, key) {
        return Some((at, frame, length));
    }
    for start in at + 1..bytes.len() {
        let rest = bytes.get(start..)?;
        let Some(length) = Frame::length(rest) else {
            continue;
        };
        *budget = budget.checked_sub(length)?;
        if let Some((frame, length)) = Frame::read(rest, key) {
            return Some((start, frame, length));
        }
    }
    None
}
