//! Series of integers, packed for sending: differences of neighbours as variable-length integers, then zstd.

use std::io;

/// Most values of a packed series.
pub const MAX_VALUES: usize = 1 << 20;

/// First byte of a series that is only differences.
const DELTA: u8 = 1;
/// First byte of one that zstd made smaller.
const DELTA_ZSTD: u8 = 2;
/// Bytes of a packed length.
const LENGTH_BYTES: usize = 4;
/// Most bytes of a variable-length integer of 64 bits.
const MAX_VARINT_BYTES: usize = 10;
/// Level of zstd.
const LEVEL: i32 = 3;

/// A packed series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// Bytes of the values as 64-bit integers.
    pub raw_bytes: usize,
}

/// Why a series cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// Rows of different lengths.
    #[error("row {row} of the series has {found} values, and row 0 has {expected}")]
    Row {
        /// The row, from 0.
        row: usize,
        /// Its values.
        found: usize,
        /// Those of the first row.
        expected: usize,
    },
    /// More values than [`MAX_VALUES`].
    #[error("the series has more than {MAX_VALUES} values; send it in parts")]
    TooLong,
    /// Bytes that are not a packed series.
    #[error("the bytes are not a packed series")]
    Malformed,
    /// zstd refuses.
    #[error("zstd cannot process the series")]
    Zstd(#[source] io::Error),
}

impl SeriesError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Row { .. } => "rows_of_different_lengths",
            Self::TooLong => "series_too_long",
            Self::Malformed => "malformed_series",
            Self::Zstd(_) => "series_compression",
        }
    }
}

impl Packed {
    /// Bytes that packing saved; zero if it saved none.
    pub fn saved_bytes(&self) -> usize {
        self.raw_bytes.saturating_sub(self.bytes.len())
    }
}

/// Packs rows of equal length, such as the cells of a figure over several windows. A value is stored as its difference to the one in the row
/// before.
///
/// # Errors
/// [`SeriesError`], but for [`SeriesError::Malformed`].
pub fn pack(rows: &[Vec<i64>]) -> Result<Packed, SeriesError> {
    let expected = rows.first().map_or(0, Vec::len);
    let wrong = rows.iter().position(|row| row.len() != expected);
    if let Some(row) = wrong {
        let found = rows.get(row).map_or(0, Vec::len);
        return Err(SeriesError::Row {
            row,
            found,
            expected,
        });
    }
    let values = rows.len().saturating_mul(expected.max(1));
    if values > MAX_VALUES {
        return Err(SeriesError::TooLong);
    }
    let mut plain = Vec::with_capacity(2 * LENGTH_BYTES + 2 * values);
    for length in [rows.len(), expected] {
        let length = u32::try_from(length).map_err(|_| SeriesError::TooLong)?;
        plain.extend(length.to_le_bytes());
    }
    // Column by column: the differences of one cell are alike.
    for column in 0..expected {
        let mut before = 0_i64;
        for value in rows.iter().filter_map(|row| row.get(column)) {
            push_varint(&mut plain, zigzag(value.wrapping_sub(before)));
            before = *value;
        }
    }
    let shrunk = zstd::bulk::compress(&plain, LEVEL).map_err(SeriesError::Zstd)?;
    let (kind, body) = if shrunk.len() < plain.len() {
        (DELTA_ZSTD, shrunk)
    } else {
        (DELTA, plain)
    };
    let mut bytes = vec![kind];
    bytes.extend(body);
    Ok(Packed {
        bytes,
        raw_bytes: rows.len() * expected * size_of::<i64>(),
    })
}

/// Unpacks a series.
///
/// # Errors
/// [`SeriesError::Malformed`], [`SeriesError::TooLong`] and [`SeriesError::Zstd`].
pub fn unpack(bytes: &[u8]) -> Result<Vec<Vec<i64>>, SeriesError> {
    match bytes.split_first() {
        Some((&DELTA, plain)) => unpack_plain(plain),
        Some((&DELTA_ZSTD, shrunk)) => {
            let most = 2 * LENGTH_BYTES + MAX_VALUES * MAX_VARINT_BYTES;
            let plain = zstd::bulk::decompress(shrunk, most).map_err(SeriesError::Zstd)?;
            unpack_plain(&plain)
        }
        _ => Err(SeriesError::Malformed),
    }
}

fn unpack_plain(mut plain: &[u8]) -> Result<Vec<Vec<i64>>, SeriesError> {
    let rows = take_length(&mut plain)?;
    let columns = take_length(&mut plain)?;
    let values = rows
        .checked_mul(columns.max(1))
        .filter(|values| *values <= MAX_VALUES)
        .ok_or(SeriesError::TooLong)?;
    // Each value takes at least a byte: a short text does not allocate a long series.
    if columns > 0 && plain.len() < values {
        return Err(SeriesError::Malformed);
    }
    let mut series = vec![Vec::new(); rows];
    for _ in 0..columns {
        let mut before = 0_i64;
        for row in &mut series {
            before = before.wrapping_add(unzigzag(take_varint(&mut plain)?));
            row.push(before);
        }
    }
    if plain.is_empty() {
        Ok(series)
    } else {
        Err(SeriesError::Malformed)
    }
}

fn take_length(bytes: &mut &[u8]) -> Result<usize, SeriesError> {
    let (length, rest) = bytes
        .split_first_chunk::<LENGTH_BYTES>()
        .ok_or(SeriesError::Malformed)?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*length)).map_err(|_| SeriesError::TooLong)
}

/// Small magnitudes of both signs become small numbers.
fn zigzag(value: i64) -> u64 {
    value.wrapping_shl(1).cast_unsigned() ^ (value >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, SeriesError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(SeriesError::Malformed)?;
        *bytes = rest;
        let low = u64::from(byte & 0x7f);
        let shifted = low << shift;
        if shifted >> shift != low {
            return Err(SeriesError::Malformed);
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(SeriesError::Malformed)
}
