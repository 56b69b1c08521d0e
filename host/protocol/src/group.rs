//! Several objects in one reply: a header that lists them, then their bytes, one after the other.
//!
//! The header has a version, the number of objects, and for each object its digest (32 bytes), its form (0: as it is, 1: zstd) and its
//! size as sent (4 bytes, little endian).

use std::ops::Range;

use hotshoe_trust::Digest;

use super::wire::MAX_ASKED;

/// The last part of the key of such a reply.
pub const GROUP: &str = "group";
/// Most bytes of objects in one reply: 1 MiB. A larger object is sent alone.
pub const GROUP_BYTES: usize = 1 << 20;
/// Longest header, in bytes.
pub const MAX_HEADER_BYTES: usize = 2 + MAX_ASKED * ENTRY_BYTES;

/// The only version of the header.
const VERSION: u8 = 1;
/// Bytes of one object in the header.
const ENTRY_BYTES: usize = 32 + 1 + 4;

/// An object of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The digest that the sender claims.
    pub digest: Digest,
    /// Whether it is compressed.
    pub zstd: bool,
    /// Where its bytes are in the reply.
    pub range: Range<usize>,
}

/// The header for objects of these digests, forms (true: zstd) and sizes in bytes, in the order of their bytes. Objects beyond [`MAX_ASKED`]
/// are not listed.
pub fn header(objects: &[(Digest, bool, usize)]) -> Vec<u8> {
    let objects = objects.get(..MAX_ASKED).unwrap_or(objects);
    let mut bytes = Vec::with_capacity(2 + objects.len() * ENTRY_BYTES);
    bytes.push(VERSION);
    bytes.push(u8::try_from(objects.len()).unwrap_or(u8::MAX));
    for (digest, zstd, size) in objects {
        bytes.extend_from_slice(digest.bytes());
        bytes.push(u8::from(*zstd));
        bytes.extend(u32::try_from(*size).unwrap_or(u32::MAX).to_le_bytes());
    }
    bytes
}

/// Parses a reply; `None` if it is malformed, or if the sizes do not add up to its length.
pub fn parse(reply: &[u8]) -> Option<Vec<Part>> {
    let (&[version, count], rest) = reply.split_first_chunk()?;
    let count = usize::from(count);
    if version != VERSION || count > MAX_ASKED {
        return None;
    }
    let (list, objects) = rest.split_at_checked(count * ENTRY_BYTES)?;
    let mut at = reply.len() - objects.len();
    let mut parts = Vec::with_capacity(count);
    for entry in list.as_chunks::<ENTRY_BYTES>().0 {
        let (digest, rest) = entry.split_first_chunk::<32>()?;
        let (&[form], size) = rest.split_first_chunk()?;
        let size = u32::from_le_bytes(size.try_into().ok()?);
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        if form > 1 || end > reply.len() {
            return None;
        }
        parts.push(Part {
            digest: Digest::from_bytes(*digest),
            zstd: form == 1,
            range: at..end,
        });
        at = end;
    }
    (at == reply.len()).then_some(parts)
}
