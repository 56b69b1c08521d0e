//! Protocol between a fetcher and its sources. Pure: bytes in, bytes out, with size limits before parsing.
//!
//! A request is a header (version, kind, length of the asker's name, the name) and digests of 32 bytes each. Each object is a
//! separate reply, whose key ends in its digest. One error reply at the end lists the objects that the source does not have.

use std::io;

use hotshoe_trust::Digest;

/// Most digests in one request.
pub const MAX_ASKED: usize = 64;
/// Longest name of the requesting device, in bytes.
const MAX_ASKER: usize = 255;
/// The only version of the header.
const VERSION: u8 = 1;
/// Bytes of a digest.
const DIGEST: usize = 32;
/// zstd level of compressed objects.
const LEVEL: i32 = 3;
/// Bytes at the start of an object that decide whether it is compressed: model weights do not compress, and trying is slow.
const PROBE: usize = 8 << 10;

/// Prefix of the source names of publishers.
pub const PUBLISHER: &str = "publisher-";
/// Prefix of the source names of registries.
pub const REGISTRY: &str = "registry-";

/// Kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The objects themselves.
    Objects,
    /// Which chunks of these indexes the source has.
    Have,
}

impl Kind {
    /// The last part of the key of requests and replies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Objects => "*",
            Self::Have => "have",
        }
    }
}

/// A request to a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The kind of request.
    pub kind: Kind,
    /// The requesting device, so that one device cannot take all threads of a source. It is not authenticated.
    pub asker: String,
    /// The objects, or the indexes.
    pub digests: Vec<Digest>,
}

impl Request {
    /// The encoded request. Digests beyond [`MAX_ASKED`] are dropped.
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

    /// Parses a request; `None` if it is malformed, or has more than [`MAX_ASKED`] digests.
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

/// The concatenated bytes of digests.
pub fn digest_bytes(digests: &[Digest]) -> Vec<u8> {
    digests.iter().flat_map(|d| *d.bytes()).collect()
}

/// Parses concatenated digests; `None` if the length is wrong, or there are more than [`MAX_ASKED`].
pub fn parse_digests(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (digests, rest) = bytes.as_chunks::<DIGEST>();
    (rest.is_empty() && digests.len() <= MAX_ASKED)
        .then(|| digests.iter().map(|d| Digest::from_bytes(*d)).collect())
}

/// The chunks of one index that a neighbour has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChunkMap {
    /// Whether it knows the index: it has the release or fetches it.
    pub known: bool,
    /// One flag for each chunk, in order.
    pub chunks: Vec<bool>,
}

/// Encodes the chunk maps of several indexes: for each the number of chunks (0 if the index is unknown), and a bit per chunk.
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

/// Parses the chunk maps of indexes with these numbers of chunks; `None` if the bytes do not match.
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

/// The object compressed with zstd, if that saves at least a tenth.
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

/// Decompresses [`shrink`]ed bytes, to at most `most` bytes.
///
/// # Errors
/// Not zstd, or more than `most` bytes of output.
pub fn expand(bytes: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut out = vec![0; most];
    let size = zstd::bulk::decompress_to_buffer(bytes, &mut out)?;
    out.truncate(size);
    Ok(out)
}

/// Whether a source has complete releases from the start. Neighbours have only what they have fetched.
pub fn is_origin(source: &str) -> bool {
    source.starts_with(PUBLISHER) || source.starts_with(REGISTRY)
}
