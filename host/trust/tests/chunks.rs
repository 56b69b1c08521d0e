//! The index of a blob's chunks.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use hotshoe_trust::{
    Blob, ChunkIndex, Digest, IndexError, MAX_CHUNK_BYTES, MIN_CHUNK_BYTES, ReleaseLimits,
};
use proptest::prelude::*;

/// An index of chunks with these sizes, of a blob that they add up to.
fn index(sizes: &[u64]) -> ChunkIndex {
    let chunk = |(place, size): (usize, &u64)| Blob {
        digest: Digest::of(&place.to_le_bytes()),
        size: *size,
    };
    ChunkIndex {
        blob: Blob {
            digest: Digest::of(b"the blob"),
            size: sizes.iter().sum(),
        },
        chunks: sizes.iter().enumerate().map(chunk).collect(),
    }
}

proptest! {
    #[test]
    fn an_index_reads_back(sizes in prop::collection::vec(1..=MAX_CHUNK_BYTES, 0..50)) {
        let index = index(&sizes);
        let bytes = index.to_bytes();
        prop_assert_eq!(bytes.len(), 17 + 36 * sizes.len());
        prop_assert_eq!(&ChunkIndex::parse(&bytes, index.blob).unwrap(), &index);
        prop_assert_eq!(ChunkIndex::parse_chunks(&bytes).unwrap(), index.chunks);
    }

    #[test]
    fn offsets_are_where_chunks_begin(sizes in prop::collection::vec(1..=MAX_CHUNK_BYTES, 1..50)) {
        let index = index(&sizes);
        let mut next = 0;
        for ((offset, chunk), size) in index.offsets().zip(&sizes) {
            prop_assert_eq!((offset, chunk.size), (next, *size));
            next += size;
        }
        prop_assert_eq!(next, index.blob.size);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, tail: Vec<u8>, size: u64) {
        let blob = Blob { digest: Digest::of(b"x"), size };
        for bytes in [bytes, [b"hotshoe-chunks-1\n".as_slice(), &tail].concat()] {
            if let Ok(index) = ChunkIndex::parse(&bytes, blob) {
                prop_assert_eq!(index.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn a_changed_byte_is_another_index_or_none(
        sizes in prop::collection::vec(1..=MAX_CHUNK_BYTES, 1..20), at: prop::sample::Index, change in 1..=255_u8
    ) {
        let index = index(&sizes);
        let mut bytes = index.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(other) = ChunkIndex::parse(&bytes, index.blob) {
            prop_assert_ne!(other, index);
        }
    }
}

#[test]
fn what_is_no_index_is_refused_by_name() {
    let good = index(&[5, 7]);
    let bytes = good.to_bytes();
    let refused = |bytes: &[u8]| ChunkIndex::parse(bytes, good.blob).unwrap_err();
    assert_eq!(refused(b""), IndexError::NotAnIndex);
    assert_eq!(refused(&bytes[1..]), IndexError::NotAnIndex);
    let newer = [&b"hotshoe-chunks-99\n"[..], &bytes[17..], b"more"].concat();
    assert_eq!(refused(&newer), IndexError::Newer { found: 99 });
    assert_eq!(refused(&newer).name(), "newer_format");
    assert_eq!(refused(&bytes[..bytes.len() - 1]).name(), "wrong_length");
    assert_eq!(refused(&index(&[5]).to_bytes()).name(), "wrong_total");
    assert_eq!(refused(&index(&[5, 8]).to_bytes()).name(), "wrong_total");
    let sizes = [5, MAX_CHUNK_BYTES + 1];
    assert_eq!(
        refused(&index(&sizes).to_bytes()),
        IndexError::ChunkSize {
            chunk: 2,
            size: MAX_CHUNK_BYTES + 1
        }
    );
    assert_eq!(refused(&index(&[12, 0]).to_bytes()).name(), "chunk_size");
    let huge = vec![0; ReleaseLimits::INDEX_BYTES as usize + 1];
    assert_eq!(refused(&huge).name(), "too_large");
}

#[test]
fn the_largest_model_in_the_smallest_chunks_has_an_index() {
    let chunks = ReleaseLimits::MODEL_BYTES / MIN_CHUNK_BYTES;
    let index = index(&vec![MIN_CHUNK_BYTES; chunks as usize]);
    assert_eq!(index.blob.size, ReleaseLimits::MODEL_BYTES);
    ChunkIndex::parse(&index.to_bytes(), index.blob).unwrap();
}
