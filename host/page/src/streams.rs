//! The streams of open pages: a number of them, which end with the server.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::error::PageRequestError;
use crate::sse::EventBody;

/// Most pages that are open at once.
const MAX_VIEWERS: usize = 16;
/// Events that wait for the network.
const WAITING_EVENTS: usize = 4;

/// The streams of all open pages.
pub(crate) struct Streams {
    viewers: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

impl Streams {
    pub(crate) fn new() -> Self {
        Self {
            viewers: Arc::new(Semaphore::new(MAX_VIEWERS)),
            closing: watch::Sender::new(false),
        }
    }

    /// Ends all streams. New ones are refused.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        *self.closing.borrow()
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(&self) {
        // It fails only without a sender.
        let _ = self.closing.subscribe().wait_for(|it| *it).await;
    }

    /// A stream for one more page. `send` sends its events until the page is closed, or the server.
    pub(crate) fn open<F: Future<Output = ()> + Send + 'static>(
        &self,
        send: impl FnOnce(mpsc::Sender<Bytes>) -> F,
    ) -> Result<EventBody, PageRequestError> {
        if self.is_closed() {
            return Err(PageRequestError::Ends);
        }
        let place = Arc::clone(&self.viewers)
            .try_acquire_owned()
            .map_err(|_| PageRequestError::TooManyViewers)?;
        let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
        let (gone, sending) = (sender.clone(), send(sender));
        let mut closing = self.closing.subscribe();
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                () = sending => {}
                _ = closing.wait_for(|it| *it) => {}
                () = gone.closed() => {}
            }
        });
        Ok(EventBody(receiver))
    }
}
