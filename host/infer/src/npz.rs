//! NumPy's `.npy` files and `.npz` archives of them, as far as tensors need them. They may come from anybody: what is read is
//! bounded before it is unpacked, and while it is.
//!
//! The format is numpy.lib.format's, versions 1 to 3: the magic, two bytes of version, the length of the header, the header (a
//! Python dictionary with `descr`, `fortran_order` and `shape`), the elements. The crates that read it bring a parser of
//! Python literals for these three keys.

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Seek, Write};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::{ElementType, Tensor, TensorError};

/// The media type of an archive.
pub const CONTENT_TYPE: &str = "application/x-npz";
/// The member that holds the payload of the sample which the tensors were made of: `u8`, one dimension.
pub const SAMPLE: &str = "sample";
/// The member that holds that sample's media type: UTF-8 in `u8`, one dimension.
pub const SAMPLE_TYPE: &str = "content-type";

const MAGIC: &[u8] = b"\x93NUMPY";
/// The header is padded so that the elements begin at a multiple of this.
const ALIGNMENT: usize = 64;
/// Longest header that is read, in bytes: a rank of a thousand has less.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// Most dimensions of an array, as in NumPy 2.
const MAX_RANK: usize = 64;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members, whatever they are.
    pub arrays: usize,
    /// All members together as they are unpacked, in bytes.
    pub bytes: u64,
}

impl Limits {
    /// Of a sample or a result: 64 arrays, 64 MiB.
    pub const SAMPLE: Self = Self {
        arrays: 64,
        bytes: 64 << 20,
    };
    /// Of a file that somebody at this machine named: 1,024 arrays, 1 GiB.
    pub const FILE: Self = Self {
        arrays: 1_024,
        bytes: 1 << 30,
    };
}

/// Why an archive or an array cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NpzError {
    /// It is no archive, or not whole.
    #[error("it is no whole .npz file")]
    Archive(#[source] ZipError),
    /// It holds more members than the limit.
    #[error("it holds {count} arrays; at most {most} are read")]
    Arrays {
        /// How many it holds.
        count: usize,
        /// How many are read.
        most: usize,
    },
    /// What it holds is larger than the limit.
    #[error("its arrays have more than {most} bytes together, which is the limit")]
    Bytes {
        /// The limit.
        most: u64,
    },
    /// Two members of one name.
    #[error("it holds two arrays `{name}`")]
    Twice {
        /// The name.
        name: String,
    },
    /// A member that cannot be read.
    #[error("its array `{name}` cannot be read")]
    Member {
        /// Its name.
        name: String,
        /// Why not.
        #[source]
        source: Box<Self>,
    },
    /// A member that cannot be unpacked.
    #[error("it cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    /// It is no array, or not whole.
    #[error("it is no whole .npy file")]
    Array,
    /// Elements that no tensor has.
    #[error(
        "its elements are {found}; a tensor has bool, u8, i8, or little-endian i32, i64, f16, f32, f64"
    )]
    Elements {
        /// What NumPy calls them.
        found: String,
    },
    /// Elements that stand column by column.
    #[error("its elements are column by column; save numpy.ascontiguousarray(it)")]
    Fortran,
    /// Elements that do not make a tensor.
    #[error("it makes no tensor")]
    Tensor(#[from] TensorError),
}

/// Reads a `.npy`.
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
    let element_type = element_type(header)?;
    let shape = shape(header)
        .filter(|shape| shape.len() <= MAX_RANK)
        .ok_or_else(broken)?;
    match value(header, "fortran_order") {
        Some(order) if order.starts_with("False") => {}
        Some(order) if order.starts_with("True") && shape.len() < 2 => {}
        Some(order) if order.starts_with("True") => return Err(NpzError::Fortran),
        _ => return Err(broken()),
    }
    Ok(Tensor::from_bytes(element_type, &shape, elements)?)
}

/// What follows a key of the header.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    Some(rest.trim_start())
}

fn element_type(header: &str) -> Result<ElementType, NpzError> {
    let text = value(header, "descr").ok_or(NpzError::Array)?;
    let name = text.strip_prefix('\'').and_then(|it| it.split('\'').next());
    Ok(match name {
        Some("|b1") => ElementType::Bool,
        Some("|u1") => ElementType::U8,
        Some("|i1") => ElementType::I8,
        Some("<i4") => ElementType::I32,
        Some("<i8") => ElementType::I64,
        Some("<f2") => ElementType::F16,
        Some("<f4") => ElementType::F32,
        Some("<f8") => ElementType::F64,
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
    // A tuple of one is `(3,)`; of more, a comma at the end does no harm.
    let sizes = sizes.trim_end();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    let before = MAGIC.len() + 2 + size_of::<u16>();
    let whole = (before + header.len() + 1).next_multiple_of(ALIGNMENT);
    header.extend(std::iter::repeat_n(' ', whole - before - header.len() - 1));
    header.push('\n');
    to.write_all(MAGIC)?;
    to.write_all(&[1, 0])?;
    // A header is as long as a rank of dozens makes it: far below 65,536.
    let length = u16::try_from(header.len()).unwrap_or(u16::MAX);
    to.write_all(&length.to_le_bytes())?;
    to.write_all(header.as_bytes())?;
    to.write_all(tensor.bytes())
}

/// Reads all arrays of a `.npz`, by their names. Members that are no `.npy` are passed over.
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
        // The size that stands in the archive may be a lie, but then it is one that helps nobody.
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

/// Writes a `.npz` that numpy.load reads. The same arrays always give the same bytes.
///
/// # Errors
/// [`NpzError::Archive`]
pub fn write(to: impl Write + Seek, arrays: &[(String, Tensor)]) -> Result<(), NpzError> {
    let mut archive = ZipWriter::new(to);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, tensor) in arrays {
        archive
            .start_file(format!("{name}.npy"), options)
            .map_err(NpzError::Archive)?;
        write_array(tensor, &mut archive).map_err(|error| NpzError::Archive(error.into()))?;
    }
    archive.finish().map_err(NpzError::Archive)?;
    Ok(())
}

/// As [`write`], to memory.
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
