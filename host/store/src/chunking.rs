//! Content-defined chunking, so that a change of a blob affects only the chunks that it touches.

use std::io;

use fastcdc::v2020::{Error, StreamCDC};
use hotshoe_trust::{AVERAGE_CHUNK_BYTES, Blob, ChunkIndex, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES};

use crate::{blob_error::BlobError, blobs::BlobStore};

/// The chunks of a blob that is in `blobs`.
pub(crate) fn chunk(blobs: &BlobStore, blob: Blob) -> Result<ChunkIndex, BlobError> {
    let path = blobs.path(blob.digest);
    let failed = |source| BlobError::read(&path)(source);
    // What the chunker takes; the limits are far below it.
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    let cut = StreamCDC::new(
        blobs.open_sized(&blob)?,
        size(MIN_CHUNK_BYTES),
        size(AVERAGE_CHUNK_BYTES),
        size(MAX_CHUNK_BYTES),
    );
    let chunks = cut.map(|chunk| match chunk {
        Ok(chunk) => Ok(Blob::of(&chunk.data)),
        Err(Error::IoError(source)) => Err(failed(source)),
        Err(other) => Err(failed(io::Error::other(other.to_string()))),
    });
    Ok(ChunkIndex {
        blob,
        chunks: chunks.collect::<Result<_, _>>()?,
    })
}
