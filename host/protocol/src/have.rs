//! What a device tells its neighbours that it holds.

use hotshoe_trust::Digest;

use super::wire::{ChunkMap, chunk_maps_to_bytes};

/// Bytes of one chunk in an index: its size, and its digest.
const ENTRY: usize = 36;

/// The answer about these indexes: an index that is not held here means that the release is not being fetched here.
pub fn answer(
    read: &impl Fn(Digest) -> Option<Vec<u8>>,
    has: &impl Fn(Digest) -> bool,
    indexes: &[Digest],
) -> Vec<u8> {
    let held: Vec<ChunkMap> = indexes
        .iter()
        .map(|index| read(*index).map_or_else(ChunkMap::default, |bytes| held(&bytes, has)))
        .collect();
    chunk_maps_to_bytes(&held)
}

/// Nothing here is checked: a neighbour that is told nonsense asks for what is not there, and no more.
fn held(index: &[u8], has: &impl Fn(Digest) -> bool) -> ChunkMap {
    let list = index.iter().position(|byte| *byte == b'\n');
    let list = list
        .and_then(|end| index.get(end + 1..))
        .unwrap_or_default();
    let has = |entry: &[u8; ENTRY]| {
        entry
            .last_chunk()
            .is_some_and(|digest| has(Digest::from_bytes(*digest)))
    };
    ChunkMap {
        known: true,
        chunks: list.as_chunks().0.iter().map(has).collect(),
    }
}
