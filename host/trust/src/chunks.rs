//! The chunks of one blob, listed in an index that the signed release names. Each chunk is verified when it arrives.
//!
//! ```text
//! "hotshoe-chunks-1\n"                 17 bytes
//! per chunk, in the blob's order:
//!     size       u32, little-endian    1 to 262 144
//!     digest     SHA-256               32 bytes
//! ```
//!
//! The content decides where chunks end, so that a small change of the blob changes few chunks. Verification does not
//! depend on the chunker: any list of chunks that makes up the blob is valid.

use crate::{
    digest::{Blob, Digest},
    limits::ReleaseLimits,
};

/// Smallest chunk that `hotshoe pack` makes, except for the last one of a blob: 16 KiB.
pub const MIN_CHUNK_BYTES: u64 = 16 * 1024;
/// Average size of a chunk that `hotshoe pack` makes: 64 KiB.
pub const AVERAGE_CHUNK_BYTES: u64 = 64 * 1024;
/// Largest chunk: 256 KiB. A blob up to this size needs no index.
pub const MAX_CHUNK_BYTES: u64 = 256 * 1024;

const MAGIC: &[u8; 17] = b"hotshoe-chunks-1\n";
/// The magic bytes up to the version.
const MAGIC_PREFIX: &[u8] = b"hotshoe-chunks-";
/// The newest version of an index that this program reads.
const NEWEST: u32 = 1;
/// Most digits of a version.
const VERSION_DIGITS: usize = 10;
const SIZE_BYTES: usize = 4;
const ENTRY_BYTES: usize = SIZE_BYTES + 32;

/// The chunks of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkIndex {
    /// The blob.
    pub blob: Blob,
    /// Its chunks, in order.
    pub chunks: Vec<Blob>,
}

/// Why bytes are not a valid index of a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// More than [`ReleaseLimits::INDEX_BYTES`].
    #[error("the index has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Bytes given.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// It does not begin with the magic bytes.
    #[error("it is not an index of chunks; pack the release again with this version of hotshoe")]
    NotAnIndex,
    /// A newer version of `hotshoe pack` made it.
    #[error(
        "the index has format {found}, and this version of Hotshoe reads up to format {NEWEST}; update Hotshoe, or pack the release with this version"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// It ends within an entry.
    #[error("the index ends within an entry, after {size} bytes")]
    Length {
        /// Bytes given.
        size: u64,
    },
    /// An empty chunk, or one that is too large.
    #[error("chunk {chunk} has {size} bytes; allowed are 1 to {MAX_CHUNK_BYTES}")]
    ChunkSize {
        /// Which chunk, from 1.
        chunk: usize,
        /// Its size.
        size: u64,
    },
    /// A chunk that the blob does not have at that position, so that no source can have it.
    #[error("chunk {chunk} differs from the blob at its position; pack the release again")]
    Content {
        /// Which chunk, from 1.
        chunk: usize,
    },
    /// The chunks make up more or less than the blob.
    #[error("the chunks add up to {found} bytes, and the blob has {expected}")]
    Total {
        /// The sum of the chunks.
        found: u64,
        /// The blob's size.
        expected: u64,
    },
}

impl IndexError {
    /// A stable snake_case name of the reason.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::NotAnIndex => "not_an_index",
            Self::Newer { .. } => "newer_format",
            Self::Length { .. } => "wrong_length",
            Self::ChunkSize { .. } => "chunk_size",
            Self::Content { .. } => "wrong_content",
            Self::Total { .. } => "wrong_total",
        }
    }
}

/// The version in the magic bytes, if they are those of any index.
fn version(bytes: &[u8]) -> Option<u32> {
    let rest = bytes.strip_prefix(MAGIC_PREFIX)?;
    let end = rest
        .iter()
        .take(VERSION_DIGITS + 1)
        .position(|byte| *byte == b'\n')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

impl ChunkIndex {
    /// Reads the index of `blob`: its chunks add up to the blob's size.
    ///
    /// Whether they also make its digest is known only when the blob is complete.
    pub fn parse(bytes: &[u8], blob: Blob) -> Result<Self, IndexError> {
        let chunks = Self::parse_chunks(bytes)?;
        let found = chunks.iter().map(|chunk| chunk.size).sum();
        if found != blob.size {
            return Err(IndexError::Total {
                found,
                expected: blob.size,
            });
        }
        Ok(Self { blob, chunks })
    }

    /// Reads the chunks that an index lists, without a check against a blob.
    pub fn parse_chunks(bytes: &[u8]) -> Result<Vec<Blob>, IndexError> {
        let size = bytes.len() as u64;
        let limit = ReleaseLimits::INDEX_BYTES;
        if size > limit {
            return Err(IndexError::TooLarge { size, limit });
        }
        if let Some(found) = version(bytes).filter(|found| *found > NEWEST) {
            return Err(IndexError::Newer { found });
        }
        let entries = bytes
            .strip_prefix(MAGIC.as_slice())
            .ok_or(IndexError::NotAnIndex)?;
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(IndexError::Length { size });
        }
        let mut chunks = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let chunk = chunk(entry).ok_or(IndexError::Length { size })?;
            if chunk.size == 0 || chunk.size > MAX_CHUNK_BYTES {
                return Err(IndexError::ChunkSize {
                    chunk: index + 1,
                    size: chunk.size,
                });
            }
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// The index as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MAGIC.len() + self.chunks.len() * ENTRY_BYTES);
        bytes.extend_from_slice(MAGIC);
        for chunk in &self.chunks {
            // A size beyond 32 bits is written as a value that every reader refuses.
            let size = u32::try_from(chunk.size).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(chunk.digest.bytes());
        }
        bytes
    }

    /// The chunks, each with its offset in the blob.
    pub fn offsets(&self) -> impl Iterator<Item = (u64, Blob)> {
        self.chunks.iter().scan(0_u64, |next, chunk| {
            let offset = *next;
            *next = offset.saturating_add(chunk.size);
            Some((offset, *chunk))
        })
    }

    /// Number of chunks in an index of `size` bytes; `None` if no index has that size.
    pub(crate) fn count(size: u64) -> Option<u64> {
        let entries = size.checked_sub(MAGIC.len() as u64)?;
        entries
            .is_multiple_of(ENTRY_BYTES as u64)
            .then_some(entries / ENTRY_BYTES as u64)
    }
}

fn chunk(entry: &[u8; ENTRY_BYTES]) -> Option<Blob> {
    let (size, digest) = entry.split_first_chunk::<SIZE_BYTES>()?;
    Some(Blob {
        digest: Digest::from_bytes(digest.try_into().ok()?),
        size: u32::from_le_bytes(*size).into(),
    })
}
