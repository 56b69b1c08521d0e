//! The replies to one request for objects: many in one message, compressed where that helps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hotshoe_protocol::group::{self, GROUP, GROUP_BYTES};
use hotshoe_protocol::wire::{MAX_ASKED, shrink};
use hotshoe_trust::Digest;
use zenoh::bytes::ZBytes;

use super::LinkError;
use super::outgoing::{BYTES, IncomingQuery, Outgoing};
use super::settings::send_timeout;

/// The encoding of a compressed object.
pub(super) const ZSTD: &str = "application/zstd";

/// Why the rest of a request is not answered.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Zenoh refused a reply.
    Refused(LinkError),
    /// The requester is too slow: the rest would be lost too, and it can ask again.
    Slow,
}

impl Stopped {
    pub(super) fn log(&self, asker: &str) {
        match self {
            Self::Refused(error) => tracing::debug!(%error, asker, "cannot send objects"),
            Self::Slow => tracing::debug!(
                asker,
                "a device takes objects too slowly; the rest of its request is dropped"
            ),
        }
    }
}

/// Collects objects until they fill a reply. Nothing that is sent as it was read is copied.
pub(super) struct ObjectReplies<'a> {
    root: &'a str,
    query: &'a IncomingQuery,
    sent: &'a AtomicU64,
    /// Digest, whether it is compressed, and size as sent.
    objects: Vec<(Digest, bool, usize)>,
    pieces: Vec<Vec<u8>>,
    bytes: usize,
}

impl<'a> ObjectReplies<'a> {
    /// Replies under `root`, whose bytes are counted in `sent`.
    pub(super) const fn new(root: &'a str, query: &'a IncomingQuery, sent: &'a AtomicU64) -> Self {
        Self {
            root,
            query,
            sent,
            objects: Vec::new(),
            pieces: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds objects whose contents follow each other in `bytes`.
    pub(super) fn add(
        &mut self,
        bytes: Vec<u8>,
        objects: &[(Digest, usize)],
    ) -> Result<(), Stopped> {
        let (objects, bytes) = compress(bytes, objects);
        let is_full = self.bytes + bytes.len() > GROUP_BYTES
            || self.objects.len() + objects.len() > MAX_ASKED;
        if is_full {
            self.flush()?;
        }
        self.objects.extend(objects);
        self.bytes += bytes.len();
        self.pieces.push(bytes);
        Ok(())
    }

    /// Sends what was added.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        let objects = std::mem::take(&mut self.objects);
        let mut pieces = std::mem::take(&mut self.pieces);
        let bytes = std::mem::take(&mut self.bytes) as u64;
        let reply = match (objects.as_slice(), pieces.pop()) {
            ([], _) | (_, None) => return Ok(()),
            ([(digest, zstd, _)], Some(only)) => {
                let key = format!("{}/{}", self.root, digest.hex());
                Outgoing::new(&key, only, if *zstd { ZSTD } else { BYTES })
            }
            (_, Some(last)) => {
                let mut payload = ZBytes::writer();
                payload.append(ZBytes::from(group::header(&objects)));
                for piece in pieces.into_iter().chain([last]) {
                    payload.append(ZBytes::from(piece));
                }
                let key = format!("{}/{GROUP}", self.root);
                Outgoing::new(&key, payload.finish(), BYTES)
            }
        };
        let reply = reply.map_err(Stopped::Refused)?;
        let size = reply.size();
        let began = Instant::now();
        self.query.answer(reply).map_err(Stopped::Refused)?;
        if began.elapsed() >= send_timeout(size) {
            return Err(Stopped::Slow);
        }
        self.sent.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

/// The objects as they are sent, and their bytes.
fn compress(bytes: Vec<u8>, objects: &[(Digest, usize)]) -> (Vec<(Digest, bool, usize)>, Vec<u8>) {
    let mut at = 0;
    let contents = objects.iter().map(|(_, size)| {
        let content = bytes.get(at..at + size).unwrap_or_default();
        at += size;
        content
    });
    let contents: Vec<&[u8]> = contents.collect();
    let small: Vec<Option<Vec<u8>>> = contents.iter().map(|content| shrink(content)).collect();
    let sent = objects.iter().zip(&small);
    let sent = sent.map(|((digest, size), small)| {
        let size = small.as_ref().map_or(*size, Vec::len);
        (*digest, small.is_some(), size)
    });
    let sent = sent.collect();
    if small.iter().all(Option::is_none) {
        return (sent, bytes);
    }
    let forms = contents.iter().zip(&small);
    let forms = forms.map(|(content, small)| small.as_deref().unwrap_or(content));
    let joined = forms.collect::<Vec<_>>().concat();
    (sent, joined)
}
