//! The bodies of requests and answers, with timeouts.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep, timeout};

use crate::activity::ActiveRequest;
use crate::{Body, BoxError};

/// How long the body of a refused request is read and discarded, so that the client reads the answer.
const DISCARD: Duration = Duration::from_secs(2);

/// Nothing of a request's body arrived for [`crate::Limits::stall`].
#[derive(Debug, thiserror::Error)]
#[error("the request body stalled")]
struct Stalled;

/// Whether a request body failed because it stalled.
pub fn is_stalled(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<Stalled>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Reads and discards a body, for at most two seconds.
pub async fn discard<B: http_body::Body + Unpin>(mut body: B) {
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    // A slower client may lose the answer.
    let _ = timeout(DISCARD, read).await;
}

/// A request body with a timeout between pieces.
pub(crate) struct RequestBody<B> {
    inner: B,
    most: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> RequestBody<B> {
    pub(crate) const fn new(inner: B, most: Duration) -> Self {
        Self {
            inner,
            most,
            waiting: None,
        }
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for RequestBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            this.waiting = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let most = this.most;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(sleep(most)));
        waiting
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(Stalled.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response body that reports its progress.
pub(crate) struct ResponseBody {
    inner: Body,
    request: ActiveRequest,
}

impl ResponseBody {
    pub(crate) fn new(inner: Body, request: ActiveRequest) -> Self {
        request.offered();
        Self { inner, request }
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if frame.is_ready() {
            self.request.offered();
        } else {
            self.request.making();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
