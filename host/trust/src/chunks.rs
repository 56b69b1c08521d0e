//! Chunks of one blob, listed in an index that the signed release names: each is verified as it arrives.
//!
//! ```text
//! "hotshoe-chunks-1\n"                 17 bytes
//! per chunk, in the blob's order:
//!     size       u32, little-endian    1 to 262 144
//!     digest     SHA-256               32 bytes
//! ```
//!
//! Where chunks end is decided by the content, so that a small change of the blob changes few of them. Who
//! cuts them does not matter to who checks them: here, any cut that makes up the blob is one.

use crate::{
    digest::{Blob, Digest},
    limits::ReleaseLimits,
};

/// No chunk but a blob's last is smaller when `hotshoe pack` cuts: 16 KiB.
pub const MIN_CHUNK_BYTES: u64 = 16 * 1024;
/// What `hotshoe pack` aims at: 64 KiB.
pub const AVERAGE_CHUNK_BYTES: u64 = 64 * 1024;
/// The largest chunk: 256 KiB. A blob that is no larger needs no index.
pub const MAX_CHUNK_BYTES: u64 = 256 * 1024;

const MAGIC: &[u8; 17] = b"hotshoe-chunks-1\n";
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

/// Why some bytes are no index of a blob.
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
    /// It begins with other bytes.
    #[error("it is no index of chunks; pack the release again with this version of hotshoe")]
    NotAnIndex,
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
    /// A chunk that the blob does not have at that place: nobody can ever give it.
    #[error("chunk {chunk} is not what the blob has there; pack the release again")]
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
            Self::Length { .. } => "wrong_length",
            Self::ChunkSize { .. } => "chunk_size",
            Self::Content { .. } => "wrong_content",
            Self::Total { .. } => "wrong_total",
        }
    }
}

impl ChunkIndex {
    /// Reads the index of `blob`: its chunks add up to the blob's size.
    ///
    /// That they also add up to its digest is known only when the blob is whole.
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

    /// Reads the chunks that an index lists, of whatever blob it is.
    pub fn parse_chunks(bytes: &[u8]) -> Result<Vec<Blob>, IndexError> {
        let size = bytes.len() as u64;
        let limit = ReleaseLimits::INDEX_BYTES;
        if size > limit {
            return Err(IndexError::TooLarge { size, limit });
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
            // A size beyond 32 bits is written as one that no reader takes.
            let size = u32::try_from(chunk.size).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&size.to_le_bytes());
            bytes.extend_from_slice(chunk.digest.bytes());
        }
        bytes
    }

    /// The chunks, each with the place in the blob where it begins.
    pub fn offsets(&self) -> impl Iterator<Item = (u64, Blob)> {
        self.chunks.iter().scan(0_u64, |next, chunk| {
            let offset = *next;
            *next = offset.saturating_add(chunk.size);
            Some((offset, *chunk))
        })
    }

    /// How many chunks an index of `size` bytes lists, if one can have that size.
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
