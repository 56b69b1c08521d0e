//! The markers of a JPEG file: where the picture ends, and which Huffman tables it lacks.

use crate::{Budget, BudgetError, Claim};

const SOF_BASELINE: u8 = 0xC0;
const SOF_EXTENDED: u8 = 0xC1;
const DHT: u8 = 0xC4;
const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
/// Bytes of a marker.
const MARKER_BYTES: usize = 2;

/// Number of codes of each length from 1 to 16 bits, and the values: ITU-T T.81, tables K.3 to K.6.
struct Table {
    /// Class (0 DC, 1 AC) in the higher four bits, identifier in the lower.
    id: u8,
    counts: [u8; 16],
    values: &'static [u8],
}

const STANDARD: [Table; 4] = [
    Table {
        id: 0x00,
        counts: [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0],
        values: &DC_VALUES,
    },
    Table {
        id: 0x01,
        counts: [0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
        values: &DC_VALUES,
    },
    Table {
        id: 0x10,
        counts: [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D],
        values: &AC_LUMINANCE_VALUES,
    },
    Table {
        id: 0x11,
        counts: [0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77],
        values: &AC_CHROMINANCE_VALUES,
    },
];

const DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

#[rustfmt::skip]
const AC_LUMINANCE_VALUES: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xA1,
    0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26,
    0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56,
    0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85,
    0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA,
    0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6,
    0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9,
    0xFA,
];

#[rustfmt::skip]
const AC_CHROMINANCE_VALUES: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42,
    0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1, 0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19,
    0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55,
    0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x82, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8,
    0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4,
    0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9,
    0xFA,
];

/// What the markers of the first picture in a file say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Markers {
    /// Position after its end-of-image marker. `None` if it is cut off.
    pub(super) end: Option<usize>,
    /// Huffman tables that its first scan uses and that are not defined, of a sequential picture. A bit for each of [`STANDARD`].
    missing: u8,
}

impl Markers {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut markers = Self::default();
        markers.end = markers.walk(bytes);
        markers
    }

    /// Goes from marker to marker, over segments by their lengths. Bytes between two segments are passed over, as decoders do.
    fn walk(&mut self, bytes: &[u8]) -> Option<usize> {
        let (mut sequential, mut in_scan, mut defined) = (false, false, 0_u8);
        let mut at = MARKER_BYTES;
        loop {
            let (kind, after) = next_marker(bytes, at)?;
            at = after;
            match kind {
                EOI if in_scan => return Some(at),
                // Another picture begins before this one ends.
                SOI if in_scan => return None,
                EOI => return None,
                // Without a segment, or not assigned: damage, which the decoder judges.
                0x01..=0xBF | 0xD0..=0xD7 | SOI => continue,
                _ => {}
            }
            let (length, rest) = bytes.get(at..)?.split_first_chunk::<2>()?;
            let length = usize::from(u16::from_be_bytes(*length));
            let segment = rest.get(..length.checked_sub(2)?)?;
            match kind {
                SOF_BASELINE | SOF_EXTENDED => sequential = true,
                DHT => defined |= tables_of(segment),
                SOS if !in_scan => {
                    in_scan = true;
                    if sequential {
                        self.missing = tables_used(segment) & !defined;
                    }
                }
                _ => {}
            }
            at += length;
        }
    }

    /// A copy of the file with the standard's tables before its other segments, if it lacks some: frames of Motion JPEG may leave them out.
    /// Tables that the file has replace those.
    pub(super) fn with_tables<'b>(
        &self,
        bytes: &[u8],
        budget: &'b Budget<'_>,
    ) -> Result<Option<(Vec<u8>, Claim<'b>)>, BudgetError> {
        if self.missing == 0 {
            return Ok(None);
        }
        let segment_bytes = |table: &Table| table.counts.len() + table.values.len() + 5;
        let added: usize = STANDARD.iter().map(segment_bytes).sum();
        let (mut whole, claim) = budget.list(bytes.len() + added)?;
        let (start, rest) = bytes.split_at(MARKER_BYTES.min(bytes.len()));
        whole.extend_from_slice(start);
        for table in &STANDARD {
            let length = (segment_bytes(table) - MARKER_BYTES) as u16; // at most 181
            whole.extend_from_slice(&[0xFF, DHT]);
            whole.extend_from_slice(&length.to_be_bytes());
            whole.push(table.id);
            whole.extend_from_slice(&table.counts);
            whole.extend_from_slice(table.values);
        }
        whole.extend_from_slice(rest);
        Ok(Some((whole, claim)))
    }
}

/// The next marker from `at` on, and the position after it. A byte 0xFF of picture data is followed by 0x00; 0xFF may also fill.
fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        let skipped = bytes.get(at..)?.iter().position(|&byte| byte == 0xFF)?;
        at += skipped + 1;
        match *bytes.get(at)? {
            0x00 => at += 1,
            0xFF => {}
            kind => return Some((kind, at + 1)),
        }
    }
}

/// The bit of a table in [`Markers::missing`]; 0 for one that the standard does not have.
fn bit(id: u8) -> u8 {
    let position = STANDARD.iter().position(|table| table.id == id);
    position.map_or(0, |position| 1 << position)
}

/// The tables that a DHT segment defines.
fn tables_of(mut segment: &[u8]) -> u8 {
    let mut defined = 0;
    while let Some((&[id, ref counts @ ..], rest)) = segment.split_first_chunk::<17>() {
        defined |= bit(id);
        let values: usize = counts.iter().copied().map(usize::from).sum();
        segment = rest.get(values..).unwrap_or_default();
    }
    defined
}

/// The tables that an SOS segment names for its components.
fn tables_used(segment: &[u8]) -> u8 {
    let Some((&count, rest)) = segment.split_first() else {
        return 0;
    };
    let components = rest.as_chunks::<2>().0.iter().take(count.into());
    components.fold(0, |used, &[_, ids]| {
        used | bit(ids >> 4) | bit(0x10 | (ids & 0x0F))
    })
}
