//! Compressed bodies over HTTP: gzip, and deflate, which is zlib.

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::error::RequestError;

/// The shortest answer that is compressed, in bytes: a shorter one fits into one packet as it is.
const MIN_COMPRESSED_BYTES: usize = 1024;

/// A coding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// Its name in `Content-Encoding`.
    pub(crate) const fn as_header(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// Reads `Content-Encoding`; `None` if the body is not compressed.
    pub(crate) fn parse(value: Option<&str>) -> Result<Option<Self>, RequestError> {
        match value
            .map(|value| value.trim().to_ascii_lowercase())
            .as_deref()
        {
            None | Some("" | "identity") => Ok(None),
            Some("gzip" | "x-gzip") => Ok(Some(Self::Gzip)),
            Some("deflate") => Ok(Some(Self::Deflate)),
            Some(_) => Err(RequestError::Compressed),
        }
    }

    /// The coding that `Accept-Encoding` allows for an answer of `bytes`. gzip comes first.
    pub(crate) fn accepted(value: Option<&str>, bytes: usize) -> Option<Self> {
        let value = value.filter(|_| bytes >= MIN_COMPRESSED_BYTES)?;
        let is_accepted = |coding: &str| {
            value.split(',').any(|entry| {
                let mut parts = entry.split(';').map(str::trim);
                let is_named = parts.next().is_some_and(|n| n.eq_ignore_ascii_case(coding));
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                is_named && weight.is_none_or(|w| w.parse::<f32>().is_ok_and(|w| w > 0.0))
            })
        };
        let codings = [Self::Gzip, Self::Deflate].into_iter();
        codings
            .into_iter()
            .find(|coding| is_accepted(coding.as_header()))
    }

    /// Decompresses a body, to `limit` bytes at most.
    pub(crate) fn decompress(self, body: &[u8], limit: usize) -> Result<Bytes, RequestError> {
        let mut unpacked = Vec::new();
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let read = match self {
            Self::Gzip => MultiGzDecoder::new(body)
                .take(most)
                .read_to_end(&mut unpacked),
            Self::Deflate if is_zlib(body) => {
                ZlibDecoder::new(body).take(most).read_to_end(&mut unpacked)
            }
            // Some clients leave the frame of zlib out.
            Self::Deflate => DeflateDecoder::new(body)
                .take(most)
                .read_to_end(&mut unpacked),
        };
        let coding = self.as_header();
        read.map_err(|source| RequestError::Decompress { coding, source })?;
        if unpacked.len() > limit {
            return Err(RequestError::TooLarge { limit });
        }
        Ok(unpacked.into())
    }

    /// Compresses an answer. The fastest level: on a device, time is shorter than the network.
    pub(crate) fn compress(self, pieces: &[Bytes]) -> io::Result<Vec<u8>> {
        let (level, packed) = (Compression::fast(), Vec::new());
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(packed, level);
                pieces
                    .iter()
                    .try_for_each(|piece| encoder.write_all(piece))?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(packed, level);
                pieces
                    .iter()
                    .try_for_each(|piece| encoder.write_all(piece))?;
                encoder.finish()
            }
        }
    }
}

/// Whether a body begins as RFC 1950 says: the method is deflate, and the two bytes are a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    body.first_chunk::<2>()
        .is_some_and(|&head| head[0] & 0x0f == 8 && u16::from_be_bytes(head) % 31 == 0)
}
