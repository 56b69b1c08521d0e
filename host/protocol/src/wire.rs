//! What travels between a fetcher and its sources. Pure: bytes in, bytes out, everything bounded before it is looked at.
//!
//! A request is a header (version, kind, length of the asker's name, the name) and digests of 32 bytes each. Each object comes back
//! as a reply of its own, whose key ends in its digest; what a source does not hold it names in one error reply at the end.

use std::io;

use hotshoe_trust::Digest;

/// Most digests in one request.
pub const MAX_ASKED: usize = 64;
/// Longest name of whoever asks, in bytes.
const MAX_ASKER: usize = 255;
/// The only version of the header.
const VERSION: u8 = 1;
/// Bytes of a digest.
const DIGEST: usize = 32;
/// How hard an object is compressed.
const LEVEL: i32 = 3;
/// The piece that tells whether an object compresses at all: model weights do not, and trying all of them is slow.
const PROBE: usize = 8 << 10;

/// How names of publishers begin, among sources.
pub const PUBLISHER: &str = "publisher-";
/// How names of registries begin, among sources.
pub const REGISTRY: &str = "registry-";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The objects themselves.
    Objects,
    /// Which chunks of these indexes the source holds.
    Have,
}

impl Kind {
    /// The last part of the key that this is asked under and answered by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Objects => "*",
            Self::Have => "have",
        }
    }
}

/// A request, as a source reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub kind: Kind,
    /// Who asks, so that one asker cannot take all of a source's threads. Nobody relies on it being true.
    pub asker: String,
    /// The objects, or the indexes.
    pub digests: Vec<Digest>,
}

impl Request {
    /// The bytes. Digests beyond [`MAX_ASKED`] are left out.
    pub fn to_bytes(&self) -> Vec<u8> {
        let name = self.asker.as_bytes();
        let name = name.get(..name.len().min(MAX_ASKER)).unwrap_or_default();
        let kind = match self.kind {
            Kind::Objects => b'o',
            Kind::Have => b'h',
        };
        let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
        let mut bytes = vec![VERSION, kind, length];
        bytes.extend_from_slice(name);
        bytes.extend(digest_bytes(
            self.digests.get(..MAX_ASKED).unwrap_or(&self.digests),
        ));
        bytes
    }

    /// Reads a request; `None` where it is none, or asks for more than [`MAX_ASKED`].
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[version, kind, length], rest) = bytes.split_first_chunk()?;
        let kind = match kind {
            b'o' => Kind::Objects,
            b'h' => Kind::Have,
            _ => return None,
        };
        let (name, list) = rest.split_at_checked(usize::from(length))?;
        if version != VERSION || list.len() > MAX_ASKED * DIGEST {
            return None;
        }
        Some(Self {
            kind,
            asker: String::from_utf8_lossy(name).into_owned(),
            digests: parse_digests(list)?,
        })
    }
}

/// Digests, one after the other.
pub fn digest_bytes(digests: &[Digest]) -> Vec<u8> {
    digests.iter().flat_map(|d| *d.bytes()).collect()
}

/// Reads digests that stand one after the other; `None` where a piece is left, or there are more than [`MAX_ASKED`].
pub fn parse_digests(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (digests, rest) = bytes.as_chunks::<DIGEST>();
    (rest.is_empty() && digests.len() <= MAX_ASKED)
        .then(|| digests.iter().map(|d| Digest::from_bytes(*d)).collect())
}

/// What a neighbour holds of one index's chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChunkMap {
    /// Whether it knows the index at all: it fetches this release, or has it.
    pub known: bool,
    /// One flag for each chunk, in order.
    pub chunks: Vec<bool>,
}

/// Writes what is held of one index after the other: the number of chunks (0 where the index is not known), and a bit for each.
pub fn chunk_maps_to_bytes(held: &[ChunkMap]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in held {
        let count = if one.known { one.chunks.len() } else { 0 };
        bytes.extend(u32::try_from(count).unwrap_or(0).to_le_bytes());
        if one.known {
            let pack = |eight: &[bool]| {
                let bit = |(i, on): (usize, &bool)| u8::from(*on) << i;
                eight.iter().enumerate().map(bit).sum::<u8>()
            };
            bytes.extend(one.chunks.chunks(8).map(pack));
        }
    }
    bytes
}

/// Reads what is held of indexes that have these numbers of chunks. An answer that does not fit says that nothing is held.
pub fn parse_chunk_maps(bytes: &[u8], counts: &[usize]) -> Option<Vec<ChunkMap>> {
    let mut rest = bytes;
    let mut held = Vec::with_capacity(counts.len());
    for &count in counts {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        if u32::from_le_bytes(*length) == 0 {
            held.push(ChunkMap::default());
            continue;
        }
        if usize::try_from(u32::from_le_bytes(*length)).ok()? != count {
            return None;
        }
        let (bits, after) = rest.split_at_checked(count.div_ceil(8))?;
        rest = after;
        let flags = bits
            .iter()
            .flat_map(|byte| (0..8).map(move |i| byte >> i & 1 == 1));
        held.push(ChunkMap {
            known: true,
            chunks: flags.take(count).collect(),
        });
    }
    rest.is_empty().then_some(held)
}

/// The object with zstd, where that saves a tenth at least.
pub fn shrink(bytes: &[u8]) -> Option<Vec<u8>> {
    let probe = bytes.get(..PROBE).unwrap_or(bytes);
    let helps = |raw: &[u8], small: &[u8]| small.len() <= raw.len() / 10 * 9;
    if probe.len() < bytes.len() && !helps(probe, &zstd::bulk::compress(probe, 1).ok()?) {
        return None;
    }
    zstd::bulk::compress(bytes, LEVEL)
        .ok()
        .filter(|small| helps(bytes, small))
}

/// Undoes [`shrink`], to at most `most` bytes.
///
/// # Errors
/// It is not zstd, or more than `most` bytes come out: no more than those are ever made.
pub fn expand(bytes: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut out = vec![0; most];
    let size = zstd::bulk::decompress_to_buffer(bytes, &mut out)?;
    out.truncate(size);
    Ok(out)
}

/// Whether a source has whole releases from the start. Neighbours have what they have fetched themselves.
pub fn is_origin(source: &str) -> bool {
    source.starts_with(PUBLISHER) || source.starts_with(REGISTRY)
}
