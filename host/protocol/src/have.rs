//! The chunks that a device has, for its neighbours.

use hotshoe_trust::Digest;

use super::wire::{ChunkMap, chunk_maps_to_bytes};

/// Bytes of one chunk in an index: its size, and its digest.
const ENTRY: usize = 36;

/// The reply about these indexes. An unknown index means that this device does not have or fetch the release.
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

/// The index is not checked: with a wrong one, a neighbour asks for chunks that do not exist, which is harmless.
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
