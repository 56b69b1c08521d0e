//! NumPy's `.npy` files and `.npz` archives of them, as far as tensors of models need them.
//!
//! The format is numpy.lib.format's, versions 1 to 3: the magic, two bytes of version, the length of the header, the header (a
//! Python dictionary with `descr`, `fortran_order` and `shape`), the elements. The crates that read it bring a parser of
//! Python literals for these three keys.

use std::io::{Cursor, Read, Seek, Write};

use hotshoe_infer::{ElementType, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

const MAGIC: &[u8] = b"\x93NUMPY";
/// The header is padded so that the elements begin at a multiple of this.
const ALIGNMENT: usize = 64;
/// Most arrays of an archive; a model has fewer inputs.
const MAX_ARRAYS: usize = 1_024;
/// Most bytes of an array in an archive as it is unpacked: more than a tensor may have, and a bound for what does not end.
const MAX_ARRAY_BYTES: u64 = 1 << 30;

/// Reads a `.npy`. The error says what is wrong, for people.
pub fn read_array(bytes: &[u8]) -> Result<Tensor, String> {
    let broken = || "it is no whole .npy file".to_owned();
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
    let (header, elements) = rest.split_at_checked(length).ok_or_else(broken)?;
    let header = str::from_utf8(header).map_err(|_| broken())?;
    let element_type = element_type(header)?;
    let shape = shape(header).ok_or_else(broken)?;
    match value(header, "fortran_order") {
        Some(order) if order.starts_with("False") => {}
        Some(order) if order.starts_with("True") && shape.len() < 2 => {}
        Some(_) => {
            return Err(
                "its elements are column by column; save numpy.ascontiguousarray(it)".to_owned(),
            );
        }
        None => return Err(broken()),
    }
    Tensor::from_bytes(element_type, &shape, elements).map_err(|error| error.to_string())
}

/// What follows a key of the header.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    Some(rest.trim_start())
}

fn element_type(header: &str) -> Result<ElementType, String> {
    let text = value(header, "descr").unwrap_or_default();
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
            let name = name.unwrap_or("a structure");
            return Err(format!(
                "its elements are {name}; a model takes bool, u8, i8, and little-endian i32, i64, f16, f32, f64"
            ));
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
fn write_array(tensor: &Tensor) -> Vec<u8> {
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
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    // A header is as long as a rank of dozens makes it: far below 65,536.
    bytes.extend(
        u16::try_from(header.len())
            .unwrap_or(u16::MAX)
            .to_le_bytes(),
    );
    bytes.extend(header.as_bytes());
    bytes.extend(tensor.bytes());
    bytes
}

/// Reads all arrays of a `.npz`, by their names.
pub fn read_archive(bytes: &[u8]) -> Result<Vec<(String, Tensor)>, String> {
    let broken = |error: zip::result::ZipError| format!("it is no whole .npz file: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(broken)?;
    if archive.len() > MAX_ARRAYS {
        return Err(format!("it holds more than {MAX_ARRAYS} arrays"));
    }
    let mut arrays = Vec::new();
    for position in 0..archive.len() {
        let file = archive.by_index(position).map_err(broken)?;
        let name = file.name().to_owned();
        let Some(name) = name.strip_suffix(".npy") else {
            continue;
        };
        let mut bytes = Vec::new();
        file.take(MAX_ARRAY_BYTES)
            .read_to_end(&mut bytes)
            .map_err(|error| format!("its array {name} cannot be unpacked: {error}"))?;
        let tensor = read_array(&bytes).map_err(|error| format!("its array {name}: {error}"))?;
        arrays.push((name.to_owned(), tensor));
    }
    Ok(arrays)
}

/// Writes a `.npz` that numpy.load reads.
pub fn write_archive(
    to: impl Write + Seek,
    arrays: &[(String, Tensor)],
) -> Result<(), zip::result::ZipError> {
    let mut archive = ZipWriter::new(to);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, tensor) in arrays {
        archive.start_file(format!("{name}.npy"), options)?;
        archive.write_all(&write_array(tensor))?;
    }
    archive.finish()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let tensors = [
            (
                "x".to_owned(),
                Tensor::from_f32(&[2, 3], vec![0.5; 6]).unwrap(),
            ),
            (
                "line".to_owned(),
                Tensor::from_u8(&[3], vec![1, 2, 3]).unwrap(),
            ),
            (
                "sr".to_owned(),
                Tensor::from_i64(&[], vec![16_000]).unwrap(),
            ),
        ];
        let mut file = Cursor::new(Vec::new());
        write_archive(&mut file, &tensors).unwrap();
        let read = read_archive(file.get_ref()).unwrap();
        assert_eq!(read.len(), tensors.len());
        for ((name, tensor), (read_name, read)) in tensors.iter().zip(&read) {
            assert_eq!(name, read_name);
            assert_eq!(tensor.shape(), read.shape());
            assert_eq!(tensor.element_type(), read.element_type());
            assert_eq!(tensor.bytes(), read.bytes());
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let whole = write_array(&Tensor::from_f32(&[2], vec![1.0; 2]).unwrap());
        for cut in [0, 3, 8, 20, whole.len() - 1] {
            assert!(read_array(whole.get(..cut).unwrap()).is_err(), "{cut}");
        }
        let with = |header: &str| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend([1, 0]);
            bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
            bytes.extend(header.as_bytes());
            bytes.extend([0; 16]);
            read_array(&bytes).unwrap_err()
        };
        let big = with("{'descr': '>f4', 'fortran_order': False, 'shape': (4,), }");
        assert!(big.contains(">f4"), "{big}");
        let turned = with("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }");
        assert!(turned.contains("ascontiguousarray"), "{turned}");
        let structure = with("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }");
        assert!(structure.contains("structure"), "{structure}");
    }
}
