//! NumPy's `.npy` files and `.npz` archives, as far as tensors need them. They may be untrusted: sizes are limited before and during
//! unpacking.
//!
//! The format is numpy.lib.format's, versions 1 to 3: the magic, two bytes of version, the length of the header, the header (a
//! Python dictionary with `descr`, `fortran_order` and `shape`), the elements. Existing crates include a parser of
//! Python literals for these three keys.

mod sample;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{Cursor, Read, Seek, Write};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::{ElementType, Tensor, TensorError};

pub use sample::{Parts, split, with_sample, without_sample};

/// The media type of an archive.
pub const CONTENT_TYPE: &str = "application/x-npz";
/// The member with the payload of the sample that the tensors were made of: `u8`, one dimension.
pub const SAMPLE: &str = "sample";
/// The member with that sample's media type: UTF-8 in `u8`, one dimension.
pub const SAMPLE_TYPE: &str = "content-type";

const MAGIC: &[u8] = b"\x93NUMPY";
/// The header is padded so that the elements begin at a multiple of this.
const ALIGNMENT: usize = 64;
/// Longest header, in bytes; enough for a rank of a thousand.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// Most dimensions of an array, as in NumPy 2.
const MAX_RANK: usize = 64;

/// Limits of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most members of any kind.
    pub arrays: usize,
    /// Most unpacked bytes of all members together.
    pub bytes: u64,
}

impl Limits {
    /// For a sample or a result: 1,024 arrays, 64 MiB. A language model of 100 layers has 200 arrays of keys and values.
    pub const SAMPLE: Self = Self {
        arrays: 1_024,
        bytes: 64 << 20,
    };
    /// For a file on the command line: 1,024 arrays, 1 GiB.
    pub const FILE: Self = Self {
        arrays: 1_024,
        bytes: 1 << 30,
    };
}

/// Why an archive or an array cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NpzError {
    /// It is not an archive, or truncated.
    #[error("it is not a complete .npz file")]
    Archive(#[source] ZipError),
    /// Too many members.
    #[error("it has {count} arrays; at most {most} are allowed")]
    Arrays {
        /// Number of members.
        count: usize,
        /// The limit.
        most: usize,
    },
    /// The unpacked size exceeds the limit.
    #[error("its arrays have more than {most} bytes together, which is the limit")]
    Bytes {
        /// The limit.
        most: u64,
    },
    /// Two members of one name.
    #[error("it has two arrays `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// A member that cannot be read.
    #[error("its array `{name}` cannot be read")]
    Member {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<Self>,
    },
    /// A member that cannot be unpacked.
    #[error("it cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    /// It is not an array, or truncated.
    #[error("it is not a complete .npy file")]
    Array,
    /// An unsupported element type.
    #[error(
        "its elements are {found}; supported are bool, u8, i8, and little-endian i16, u16, i32, u32, i64, f16, f32, f64"
    )]
    Elements {
        /// The type in NumPy's notation.
        found: String,
    },
    /// Column-major order.
    #[error("its elements are in column-major order; save numpy.ascontiguousarray(it)")]
    Fortran,
    /// The elements are not a valid tensor.
    #[error("it is not a valid tensor")]
    Tensor(#[from] TensorError),
}

/// Reads a `.npy`. Tensors do not have `i16`, `u16` and `u32`: the first two become `i32`, the last `i64`.
///
/// # Errors
/// [`NpzError`]
pub fn read_array(bytes: &[u8]) -> Result<Tensor, NpzError> {
    let broken = || NpzError::Array;
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(broken)?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk().ok_or_else(broken)?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk().ok_or_else(broken)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| broken())?;
        (length, rest)
    };
    if length > MAX_HEADER_BYTES {
        return Err(broken());
    }
    let (header, elements) = rest.split_at_checked(length).ok_or_else(broken)?;
    let header = str::from_utf8(header).map_err(|_| broken())?;
    let (element_type, widen) = element_type(header)?;
    let shape = shape(header)
        .filter(|shape| shape.len() <= MAX_RANK)
        .ok_or_else(broken)?;
    match value(header, "fortran_order") {
        Some(order) if order.starts_with("False") => {}
        Some(order) if order.starts_with("True") && shape.len() < 2 => {}
        Some(order) if order.starts_with("True") => return Err(NpzError::Fortran),
        _ => return Err(broken()),
    }
    let elements = match widen {
        None => Cow::Borrowed(elements),
        Some(widen) => Cow::Owned(widen(elements).ok_or_else(broken)?),
    };
    Ok(Tensor::from_bytes(element_type, &shape, &elements)?)
}

/// Writes elements as those of a wider type; `None` if the last one is incomplete.
type Widen = fn(&[u8]) -> Option<Vec<u8>>;

fn widened<const N: usize, const M: usize>(
    bytes: &[u8],
    each: impl Fn([u8; N]) -> [u8; M],
) -> Option<Vec<u8>> {
    let (elements, rest) = bytes.as_chunks::<N>();
    let wide = || elements.iter().flat_map(|&element| each(element)).collect();
    rest.is_empty().then(wide)
}

/// The text after a key of the header.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    Some(rest.trim_start())
}

fn element_type(header: &str) -> Result<(ElementType, Option<Widen>), NpzError> {
    let text = value(header, "descr").ok_or(NpzError::Array)?;
    let name = text.strip_prefix('\'').and_then(|it| it.split('\'').next());
    let whole = |element_type| (element_type, None);
    Ok(match name {
        Some("<i2") => {
            let widen: Widen =
                |it| widened(it, |it| i32::from(i16::from_le_bytes(it)).to_le_bytes());
            (ElementType::I32, Some(widen))
        }
        Some("<u2") => {
            let widen: Widen =
                |it| widened(it, |it| i32::from(u16::from_le_bytes(it)).to_le_bytes());
            (ElementType::I32, Some(widen))
        }
        Some("<u4") => {
            let widen: Widen =
                |it| widened(it, |it| i64::from(u32::from_le_bytes(it)).to_le_bytes());
            (ElementType::I64, Some(widen))
        }
        Some("|b1") => whole(ElementType::Bool),
        Some("|u1") => whole(ElementType::U8),
        Some("|i1") => whole(ElementType::I8),
        Some("<i4") => whole(ElementType::I32),
        Some("<i8") => whole(ElementType::I64),
        Some("<f2") => whole(ElementType::F16),
        Some("<f4") => whole(ElementType::F32),
        Some("<f8") => whole(ElementType::F64),
        _ => {
            let found = name.map_or_else(
                || "a structure".to_owned(),
                |name| name.chars().take(16).collect(),
            );
            return Err(NpzError::Elements { found });
        }
    })
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let text = value(header, "shape")?.strip_prefix('(')?;
    let (sizes, _) = text.split_once(')')?;
    let sizes = sizes.split(',').map(str::trim).filter(|it| !it.is_empty());
    sizes.map(|size| size.parse().ok()).collect()
}

/// A tensor as a `.npy`, version 1.
fn write_array(tensor: &Tensor, to: &mut impl Write) -> std::io::Result<()> {
    let descr = match tensor.element_type() {
        ElementType::Bool => "|b1",
        ElementType::U8 => "|u1",
        ElementType::I8 => "|i1",
        ElementType::I32 => "<i4",
        ElementType::I64 => "<i8",
        ElementType::F16 => "<f2",
        ElementType::F32 => "<f4",
        ElementType::F64 => "<f8",
    };
    let sizes: String = tensor
        .shape()
        .iter()
        .map(|size| format!("{size}, "))
        .collect();
    // A tuple of one is `(3,)`; with more elements, a trailing comma is valid too.
    let sizes = sizes.trim_end();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let before = MAGIC.len() + 2 + size_of::<u16>();
    let whole = (before + header.len() + 1).next_multiple_of(ALIGNMENT);
    header.extend(std::iter::repeat_n(' ', whole - before - header.len() - 1));
    header.push('\n');
    to.write_all(MAGIC)?;
    to.write_all(&[1, 0])?;
    // The length of a header depends on the rank, and is far below 65,536.
    let length = u16::try_from(header.len()).unwrap_or(u16::MAX);
    to.write_all(&length.to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    to.write_all(tensor.bytes())
}

/// Reads all arrays of a `.npz` with their names. Members that are not `.npy` are skipped.
///
/// # Errors
/// [`NpzError`]
pub fn read(bytes: &[u8], limits: Limits) -> Result<Vec<(String, Tensor)>, NpzError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(NpzError::Archive)?;
    if archive.len() > limits.arrays {
        return Err(NpzError::Arrays {
            count: archive.len(),
            most: limits.arrays,
        });
    }
    let too_large = || NpzError::Bytes { most: limits.bytes };
    let mut left = limits.bytes;
    let mut names = BTreeSet::new();
    let mut arrays = Vec::new();
    for position in 0..archive.len() {
        let file = archive.by_index(position).map_err(NpzError::Archive)?;
        let Some(name) = file.name().strip_suffix(".npy").map(str::to_owned) else {
            continue;
        };
        // The size in the archive may be wrong, but reading is limited as well.
        if file.size() > left {
            return Err(too_large());
        }
        if !names.insert(name.clone()) {
            return Err(NpzError::Twice { name });
        }
        let member = |source| NpzError::Member {
            name: name.clone(),
            source: Box::new(source),
        };
        let mut bytes = Vec::new();
        file.take(left.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| member(NpzError::Unpack(error)))?;
        left = left.checked_sub(bytes.len() as u64).ok_or_else(too_large)?;
        let tensor = read_array(&bytes).map_err(member)?;
        arrays.push((name, tensor));
    }
    Ok(arrays)
}

/// Writes a `.npz` for numpy.load. The bytes are deterministic.
///
/// # Errors
/// [`NpzError::Archive`], [`NpzError::Twice`]
pub fn write(to: impl Write + Seek, arrays: &[(String, Tensor)]) -> Result<(), NpzError> {
    let mut archive = ZipWriter::new(to);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut names = BTreeSet::new();
    for (name, tensor) in arrays {
        if !names.insert(name) {
            let name = name.clone();
            return Err(NpzError::Twice { name });
        }
        archive
            .start_file(format!("{name}.npy"), options)
            .map_err(NpzError::Archive)?;
        write_array(tensor, &mut archive).map_err(|error| NpzError::Archive(error.into()))?;
    }
    archive.finish().map_err(NpzError::Archive)?;
    Ok(())
}

/// As [`write()`], to memory.
///
/// # Errors
/// The same.
pub fn to_bytes(arrays: &[(String, Tensor)]) -> Result<Vec<u8>, NpzError> {
    let mut file = Cursor::new(Vec::new());
    write(&mut file, arrays)?;
    Ok(file.into_inner())
}

#[cfg(test)]
mod tests;
