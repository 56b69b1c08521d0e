//! Division of a download among the devices of a site: which chunks this device fetches from the origin, and which from neighbours.
//!
//! Every device that fetches a release computes the same owner for each chunk from the chunk's digest and the devices' names
//! (rendezvous hashing). It fetches its own chunks from the origin, and the others from their owners. This is an optimisation only:
//! the fetch completes whatever the neighbours do.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use hotshoe_protocol::wire::{MAX_ASKED, parse_chunk_maps};
use hotshoe_trust::Digest;

/// Interval of queries to neighbours.
const EVERY: Duration = Duration::from_millis(500);
/// The same before the first chunk is requested: devices that start at the same time must find each other.
const FIRST_EVERY: Duration = Duration::from_millis(100);
/// Longest wait before the first chunk is requested.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// Most neighbours that are queried.
const MAX_NEIGHBOURS: usize = 32;
/// Smallest fetch that is divided, in bytes: 1 MiB.
const MIN_SHARED_BYTES: u64 = 1 << 20;

/// An index of chunks, with the number of each chunk's want.
#[derive(Debug, Clone)]
pub(crate) struct Chunks {
    /// The index's digest.
    pub index: Digest,
    /// For each chunk in order: the number of its want, or `None` if the chunk is present.
    pub wants: Vec<Option<usize>>,
}

/// State of the neighbours.
#[derive(Debug)]
pub(crate) struct Neighbours {
    own: String,
    indexes: Vec<Chunks>,
    /// Neighbours that have answered. True if they fetch this release or have it.
    known: BTreeMap<String, bool>,
    began: Instant,
    asked: Option<Instant>,
}

impl Neighbours {
    /// Neighbours of `own`, for a fetch of the chunks of these indexes. `None` if the fetch is too small to divide.
    pub(crate) fn new(
        own: &str,
        mut indexes: Vec<Chunks>,
        bytes: u64,
        now: Instant,
    ) -> Option<Self> {
        indexes.truncate(MAX_ASKED);
        (bytes >= MIN_SHARED_BYTES && !indexes.is_empty()).then(|| Self {
            own: own.to_owned(),
            indexes,
            known: BTreeMap::new(),
            began: now,
            asked: None,
        })
    }

    /// The digests of the indexes.
    pub(crate) fn indexes(&self) -> Vec<Digest> {
        self.indexes.iter().map(|chunks| chunks.index).collect()
    }

    /// The neighbours to query now.
    pub(crate) fn ask(&mut self, devices: &BTreeSet<String>, now: Instant) -> Vec<String> {
        let early = now.saturating_duration_since(self.began) < FIRST_WAIT;
        let every = if early { FIRST_EVERY } else { EVERY };
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

    /// Whether it is too early to request chunks.
    pub(crate) fn is_early(&self, devices: &BTreeSet<String>, now: Instant) -> bool {
        let all = devices
            .iter()
            .take(MAX_NEIGHBOURS)
            .all(|name| self.known.get(name) == Some(&true));
        !all && now.saturating_duration_since(self.began) < FIRST_WAIT
    }

    /// Handles an answer: returns the wants that the neighbour has, and whether the owners of chunks changed. `None` if it is invalid.
    pub(crate) fn answered(&mut self, name: &str, answer: &[u8]) -> Option<(HashSet<usize>, bool)> {
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

    /// The wants whose owner is a neighbour.
    pub(crate) fn neighbour_wants(
        &self,
        digest_of: impl Fn(usize) -> Option<Digest>,
    ) -> HashSet<usize> {
        let others: Vec<&str> = self
            .known
            .iter()
            .filter_map(|(name, known)| known.then_some(name.as_str()))
            .collect();
        let is_neighbour_want = |number: &usize| {
            digest_of(*number).is_some_and(|digest| {
                let own = weight(digest, &self.own);
                others
                    .iter()
                    .any(|other| (weight(digest, other), *other) > (own, self.own.as_str()))
            })
        };
        let wants = self.indexes.iter().flat_map(|chunks| &chunks.wants);
        wants.flatten().copied().filter(is_neighbour_want).collect()
    }
}

/// Weight of a device for a chunk; the device with the highest weight owns it.
fn weight(digest: Digest, name: &str) -> u64 {
    // FNV-1a, with the final mix of SplitMix64 so that similar names get different weights.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in digest.bytes().iter().chain(name.as_bytes()) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
