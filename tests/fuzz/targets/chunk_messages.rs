//! What travels between a fetcher and its sources: requests, groups of objects, what neighbours hold, compressed objects, indexes of
//! chunks.
#![no_main]

use hotshoe_trust::{Blob, ChunkIndex};
use libfuzzer_sys::fuzz_target;

// The daemon's own file: it is pure, and the daemon with all that it brings would be built with instrumentation for nothing.
#[allow(dead_code)]
#[path = "../../../host/protocol/src/wire.rs"]
mod wire;

#[allow(dead_code)]
#[path = "../../../host/protocol/src/group.rs"]
mod group;

/// More than an object's size as a signed index states it, in bytes.
const MOST: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    if let Some(request) = wire::Request::parse(data) {
        assert!(request.digests.len() <= wire::MAX_ASKED);
        let again = wire::Request::parse(&request.to_bytes());
        // A name that was no UTF-8 has grown, and may not fit any more.
        if request.asker.len() <= 255 && !request.asker.contains('\u{fffd}') {
            assert_eq!(again, Some(request));
        }
    }
    if let Some(digests) = wire::parse_digests(data) {
        assert_eq!(wire::digest_bytes(&digests), data);
    }
    if let Some(parts) = group::parse(data) {
        assert!(parts.len() <= wire::MAX_ASKED);
        let list: Vec<_> = parts
            .iter()
            .map(|part| (part.digest, part.zstd, part.range.len()))
            .collect();
        let mut again = group::header(&list);
        for part in parts {
            again.extend(&data[part.range]);
        }
        assert_eq!(again, data);
    }
    if let Some((count, rest)) = data.split_first() {
        let counts = [usize::from(*count), 3, 0];
        if let Some(held) = wire::parse_chunk_maps(rest, &counts) {
            assert_eq!(
                wire::parse_chunk_maps(&wire::chunk_maps_to_bytes(&held), &counts),
                Some(held)
            );
        }
    }
    if let Ok(bytes) = wire::expand(data, MOST) {
        assert!(bytes.len() <= MOST);
    }
    if let Some(small) = wire::shrink(data) {
        assert_eq!(wire::expand(&small, data.len()).expect("its own"), data);
    }
    if let Ok(chunks) = ChunkIndex::parse_chunks(data) {
        let size = chunks.iter().map(|chunk| chunk.size).sum();
        let whole = Blob {
            size,
            ..Blob::of(data)
        };
        let index = ChunkIndex::parse(data, whole).expect("it adds up");
        assert_eq!(index.to_bytes(), data);
    }
});
