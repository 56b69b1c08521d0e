//! The first bytes of a sealed file: its kind, the identity of the device's key, and the file's own key, wrapped.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use zeroize::Zeroizing;

use crate::cipher::{Cipher, KEY_BYTES, NONCE_BYTES, TAG_BYTES, random};
use crate::error::{UnsealError, damaged};
use crate::key::{DeviceKey, ID_BYTES, hex};

/// What every sealed file begins with. The digit is the version of the format.
const MAGIC: &[u8; 8] = b"HSEALED1";
const PREFIX_BYTES: usize = MAGIC.len() + 1 + ID_BYTES;
/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = PREFIX_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// How a file is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Chunks, written once.
    Whole = 1,
    /// Frames, which are appended.
    Log = 2,
}

/// Whether these bytes begin a sealed file of any kind. Others are read as they are.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Whether an open file is sealed. Its position does not change.
///
/// # Errors
/// Those of the file system.
pub fn is_sealed_file(file: &File) -> io::Result<bool> {
    let mut bytes = [0; MAGIC.len()];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(is_sealed(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The identity of the key that a file is sealed with, by its header; `None` if it is not sealed.
pub(crate) fn key_of(file: &File) -> io::Result<Option<[u8; ID_BYTES]>> {
    let mut prefix = [0; PREFIX_BYTES];
    match file.read_exact_at(&mut prefix, 0) {
        Ok(()) if is_sealed(&prefix) => Ok(prefix.last_chunk().copied()),
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// A header with a new key, for a file with this name.
pub(crate) fn create(key: &DeviceKey, kind: Kind, name: &str) -> io::Result<(Vec<u8>, Cipher)> {
    let own: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::new(random()?);
    let nonce: [u8; NONCE_BYTES] = random()?;
    let mut header = MAGIC.to_vec();
    header.push(kind as u8);
    header.extend(key.id);
    let beside = [&header[..], name.as_bytes()].concat();
    let wrapped = key.cipher.encrypt(nonce, own.as_slice(), &beside)?;
    header.extend(nonce);
    header.extend(wrapped);
    Ok((header, Cipher::new(&own)))
}

/// The key of the file that begins with these bytes.
pub(crate) fn read(
    key: &DeviceKey,
    kind: Kind,
    name: &str,
    bytes: &[u8],
) -> Result<Cipher, UnsealError> {
    let (Some(prefix), Some(rest)) = (bytes.get(..PREFIX_BYTES), bytes.get(PREFIX_BYTES..)) else {
        return Err(not_sealed(name));
    };
    if !is_sealed(prefix) || prefix.get(MAGIC.len()) != Some(&(kind as u8)) {
        return Err(not_sealed(name));
    }
    let found = prefix.get(MAGIC.len() + 1..).unwrap_or_default();
    if found != key.id {
        return Err(UnsealError::OtherKey {
            file: name.to_owned(),
            found: hex(found),
            expected: key.id(),
        });
    }
    let beside = [prefix, name.as_bytes()].concat();
    let own = rest.split_first_chunk().and_then(|(nonce, rest)| {
        let wrapped = rest.get(..KEY_BYTES + TAG_BYTES)?;
        let own = key.cipher.decrypt(*nonce, wrapped, &beside).ok()?;
        Some(Cipher::new(own.first_chunk()?))
    });
    own.ok_or_else(|| damaged(name, 0))
}

fn not_sealed(name: &str) -> UnsealError {
    UnsealError::NotSealed {
        file: name.to_owned(),
    }
}
