//! A response body that keeps its request's slot until it is written, so that slow readers count as active requests.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// The most bytes per frame: only these may still be unwritten when the slot is released.
const PIECE: usize = 64 << 10;

/// A body with the slot of its request.
pub(crate) struct SlotBody {
    inner: Body,
    /// The rest of a frame that was too large.
    rest: Bytes,
    slot: Option<Arc<OwnedSemaphorePermit>>,
}

impl SlotBody {
    pub(crate) fn new(inner: Body, slot: Arc<OwnedSemaphorePermit>) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            slot: Some(slot),
        }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        if self.rest.len() > PIECE {
            return Frame::data(self.rest.split_to(PIECE));
        }
        // Copy, so that the last piece does not keep the whole buffer in memory.
        Frame::data(Bytes::copy_from_slice(&std::mem::take(&mut self.rest)))
    }
}

impl http_body::Body for SlotBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.len() > PIECE => {
                        this.rest = data;
                        Some(Ok(this.next_piece()))
                    }
                    Ok(data) => Some(Ok(Frame::data(data))),
                    Err(trailers) => {
                        this.slot = None;
                        Some(Ok(trailers))
                    }
                },
                end => end,
            }
        } else {
            Some(Ok(this.next_piece()))
        };
        // Before the last piece is sent, so that a client with the whole answer can send its next request at once.
        if frame.is_none() || this.is_end_stream() {
            this.slot = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.inner.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
