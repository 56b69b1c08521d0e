//! A site downloads once: which chunks this device fetches from the origin, and which it leaves to its neighbours.
//!
//! Every device that fetches a release computes the same owner for each chunk, from the chunk's digest and the devices' names. It asks
//! the origin for its own chunks, and its neighbours for theirs. Nothing depends on anybody keeping to that.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use hotshoe_protocol::wire::{MAX_ASKED, parse_chunk_maps};
use hotshoe_trust::Digest;

/// How often neighbours are asked what they hold.
const EVERY: Duration = Duration::from_millis(500);
/// How often they are asked before the first chunk is: those that start at the same time are to know of each other.
const EVERY_AT_FIRST: Duration = Duration::from_millis(100);
/// How long the first chunk waits for that at most.
const AT_FIRST: Duration = Duration::from_millis(300);
/// Neighbours that are asked, at most.
const MAX_NEIGHBOURS: usize = 32;
/// A fetch of less than this, in bytes, is not worth asking around for.
const WORTH: u64 = 1 << 20;

/// An index, and the wants that its chunks are, by number. A chunk that is here already is no want.
#[derive(Debug, Clone)]
pub struct Chunks {
    /// The index's digest.
    pub index: Digest,
    /// For each chunk in order: the want that it is.
    pub wants: Vec<Option<usize>>,
}

/// What is known of the neighbours.
#[derive(Debug)]
pub struct Neighbours {
    own: String,
    indexes: Vec<Chunks>,
    /// Those that said what they hold. True: they fetch this release, or have it.
    known: BTreeMap<String, bool>,
    began: Instant,
    asked: Option<Instant>,
}

impl Neighbours {
    /// Neighbours of `own`, for a fetch of these indexes' chunks. `None` where there is too little to share.
    pub fn new(own: &str, mut indexes: Vec<Chunks>, bytes: u64, now: Instant) -> Option<Self> {
        indexes.truncate(MAX_ASKED);
        (bytes >= WORTH && !indexes.is_empty()).then(|| Self {
            own: own.to_owned(),
            indexes,
            known: BTreeMap::new(),
            began: now,
            asked: None,
        })
    }

    /// The digests to ask about.
    pub fn indexes(&self) -> Vec<Digest> {
        self.indexes.iter().map(|chunks| chunks.index).collect()
    }

    /// Who is to be asked now what they hold.
    pub fn ask(&mut self, devices: &BTreeSet<String>, now: Instant) -> Vec<String> {
        let early = now.saturating_duration_since(self.began) < AT_FIRST;
        let every = if early { EVERY_AT_FIRST } else { EVERY };
        if self
            .asked
            .is_some_and(|asked| now.saturating_duration_since(asked) < every)
        {
            return Vec::new();
        }
        self.asked = Some(now);
        self.known.retain(|name, _| devices.contains(name));
        devices.iter().take(MAX_NEIGHBOURS).cloned().collect()
    }

    /// Whether chunks should not be asked for yet.
    pub fn is_early(&self, devices: &BTreeSet<String>, now: Instant) -> bool {
        let all = devices
            .iter()
            .take(MAX_NEIGHBOURS)
            .all(|name| self.known.get(name) == Some(&true));
        !all && now.saturating_duration_since(self.began) < AT_FIRST
    }

    /// Takes note of an answer: the wants that the neighbour can bring, and whether the owners of the chunks changed thereby.
    pub fn answered(&mut self, name: &str, answer: &[u8]) -> Option<(HashSet<usize>, bool)> {
        let counts: Vec<usize> = self
            .indexes
            .iter()
            .map(|chunks| chunks.wants.len())
            .collect();
        let held = parse_chunk_maps(answer, &counts)?;
        let known = held.iter().any(|one| one.known);
        let before = self.known.insert(name.to_owned(), known);
        let wants = self
            .indexes
            .iter()
            .zip(&held)
            .flat_map(|(chunks, held)| chunks.wants.iter().zip(&held.chunks))
            .filter_map(|(want, held)| want.filter(|_| *held))
            .collect();
        Some((wants, before.unwrap_or(false) != known))
    }

    /// The wants that neighbours own.
    pub fn theirs(&self, digest_of: impl Fn(usize) -> Option<Digest>) -> HashSet<usize> {
        let others: Vec<&str> = self
            .known
            .iter()
            .filter_map(|(name, known)| known.then_some(name.as_str()))
            .collect();
        let is_theirs = |number: &usize| {
            digest_of(*number).is_some_and(|digest| {
                let own = weight(digest, &self.own);
                others
                    .iter()
                    .any(|other| (weight(digest, other), *other) > (own, self.own.as_str()))
            })
        };
        let wants = self.indexes.iter().flat_map(|chunks| &chunks.wants);
        wants.flatten().copied().filter(is_theirs).collect()
    }
}

/// How much a device is meant to own a chunk: a hash of both.
fn weight(digest: Digest, name: &str) -> u64 {
    // FNV-1a, with a last mix (that of SplitMix64) so that similar names do not weigh alike.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in digest.bytes().iter().chain(name.as_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
