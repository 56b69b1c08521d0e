//! A device's events, orders and recordings, and its subscriptions to statements and trusted keys.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use hotshoe_egress::Egress;
use hotshoe_store::Catalogue;
use hotshoe_trust::{Digest, PayloadKind};
use zenoh::Wait;
use zenoh::query::Queryable;

use super::device_message::Signer;
use super::objects::Sharing;
use super::outgoing::{self, IncomingQuery, JSON, Outgoing, QosClass};
use super::pending::RawNotice;
use super::send_queue::SendQueue;
use super::site::{Notice, NoticeSubscription, Site};
use super::{Link, LinkError, warn_if_unanswered};

/// Last part of the key for requests of recorders.
pub(super) const RECORD: &str = "record";
/// Last part of the key for requests about shared data, and part of the keys that its changes are published at.
pub(super) const SHARED_DATA: &str = "shared-data";
/// Most orders that wait; a further one is refused as `busy`.
const WAITING_ORDERS: usize = 16;
/// Largest order, in bytes: a statement with its signatures.
const MAX_ORDER_BYTES: usize = 1 << 20;
/// Error reply when too many orders wait.
const BUSY: &str = r#"{"name":"busy","message":"too many orders are waiting; try again"}"#;
/// Error reply to an order that is too large.
const TOO_LARGE: &str =
    r#"{"name":"too_large","message":"the order is larger than the largest statement"}"#;

impl Link {
    /// The site's keys, on the same session.
    pub fn site_session(&self) -> &Site {
        &self.site
    }

    /// The site's name.
    pub fn site(&self) -> &str {
        self.site.name()
    }

    /// The device's name.
    pub fn device(&self) -> &str {
        &self.signer.device
    }

    /// Subscribes to the site's statements; see [`Site::watch`].
    ///
    /// # Errors
    /// [`LinkError::Use`] and [`LinkError::Thread`].
    pub fn desired(
        &self,
        each: impl FnMut(RawNotice) + Send + 'static,
    ) -> Result<NoticeSubscription, LinkError> {
        self.site.watch(Notice::Desired, each)
    }

    /// Subscribes to new versions of `trust.toml`.
    ///
    /// # Errors
    /// [`LinkError::Use`] and [`LinkError::Thread`].
    pub fn trust_updates(
        &self,
        mut each: impl FnMut(Vec<u8>) + Send + 'static,
    ) -> Result<NoticeSubscription, LinkError> {
        self.site.watch(Notice::Trust, move |said| each(said.bytes))
    }

    /// Subscribes to the site's rollouts: plans and statements about them.
    ///
    /// # Errors
    /// [`LinkError::Use`] and [`LinkError::Thread`].
    pub fn rollouts(
        &self,
        mut each: impl FnMut(Vec<u8>) + Send + 'static,
    ) -> Result<NoticeSubscription, LinkError> {
        self.site
            .watch(Notice::Rollout, move |said| each(said.bytes))
    }

    /// Serves the objects of `catalogue` to neighbours until the [`Sharing`] is dropped.
    ///
    /// # Errors
    /// [`LinkError::Use`] and [`LinkError::Thread`].
    pub fn share(&self, catalogue: Catalogue) -> Result<Sharing, LinkError> {
        self.site.share(&self.signer.device, catalogue)
    }

    /// Publishes a deploy event, signed if the device has a key. It may be lost under congestion; the status has the same data.
    ///
    /// # Errors
    /// [`LinkError::TooLong`] and [`LinkError::Full`].
    pub fn publish_event(&self, event: Egress) -> Result<(), LinkError> {
        let key = format!("{}/event", self.root);
        let body = event.into_bytes();
        let signature = self.signer.sign(PayloadKind::Event, &[], &body);
        let message = Outgoing::new(&key, body, JSON)?.with(signature)?;
        self.site.send_queue.put(message, QosClass::DataLow)
    }

    /// Handles orders until the [`Orders`] is dropped. `each` is called on its own thread, one order at a time, and returns the JSON
    /// of the answer or of the error.
    ///
    /// # Errors
    /// [`LinkError::Use`] and [`LinkError::Thread`].
    pub fn orders(
        &self,
        each: impl Fn(Vec<u8>) -> Result<Vec<u8>, Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Orders, LinkError> {
        self.answer_at("order", Some(self.signer.clone()), each)
    }

    /// Like [`Self::orders`], for recorders. An answer may also be the bytes of a file.
    ///
    /// # Errors
    /// The same.
    pub fn recordings(
        &self,
        each: impl Fn(Vec<u8>) -> Result<Egress, Egress> + Send + Sync + 'static,
    ) -> Result<Orders, LinkError> {
        self.answer_at(RECORD, None, move |request| {
            let answer = each(request).map(Egress::into_bytes);
            answer.map_err(Egress::into_bytes)
        })
    }

    /// Like [`Self::orders`], for requests about shared data.
    ///
    /// # Errors
    /// The same.
    pub fn shared_data(
        &self,
        each: impl Fn(Vec<u8>) -> Result<Vec<u8>, Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Orders, LinkError> {
        self.answer_at(SHARED_DATA, Some(self.signer.clone()), each)
    }

    /// Publishes the state of a shared value, signed if the device has a key. It may be lost under congestion.
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::TooLong`] and [`LinkError::Full`].
    pub fn publish_shared_data(&self, name: &str, body: Vec<u8>) -> Result<(), LinkError> {
        let key = format!("{}/{SHARED_DATA}/{name}", self.root);
        let signature = self.signer.sign(PayloadKind::SharedData, &[], &body);
        let message = Outgoing::new(&key, body, JSON)?.with(signature)?;
        self.site.send_queue.put(message, QosClass::Data)
    }

    fn answer_at(
        &self,
        part: &str,
        signer: Option<Signer>,
        each: impl Fn(Vec<u8>) -> Result<Vec<u8>, Vec<u8>> + Send + Sync + 'static,
    ) -> Result<Orders, LinkError> {
        let key = format!("{}/{part}", self.root);
        let (sender, waiting) = sync_channel(WAITING_ORDERS);
        let answered = key.clone();
        let thread = self
            .site
            .supervisor
            .restarted(part, move || {
                carry_out(&waiting, &answered, signer.as_ref(), &each);
                Ok(())
            })
            .map_err(|source| LinkError::Thread { source })?;
        let send_queue = self.site.send_queue.clone();
        let queryable = outgoing::answer_queries(&self.site.session, &key, move |query| {
            enqueue(&sender, &send_queue, query);
        })?;
        Ok(Orders {
            queryable: Some(queryable),
            thread: Some(thread),
        })
    }
}

fn enqueue(queue: &SyncSender<IncomingQuery>, send_queue: &SendQueue, query: IncomingQuery) {
    if query.size() > MAX_ORDER_BYTES {
        warn_if_unanswered(send_queue.deny(query, TOO_LARGE.into()));
        return;
    }
    if let Err(TrySendError::Full(query)) = queue.try_send(query) {
        warn_if_unanswered(send_queue.deny(query, BUSY.into()));
    }
}

fn carry_out(
    waiting: &Receiver<IncomingQuery>,
    key: &str,
    signer: Option<&Signer>,
    each: &impl Fn(Vec<u8>) -> Result<Vec<u8>, Vec<u8>>,
) {
    while let Ok(query) = waiting.recv() {
        let order = query.payload().into_owned();
        let asked = Digest::of(&order);
        let answered = match each(order) {
            Ok(body) => {
                let sign = |signer: &Signer| signer.sign(PayloadKind::Answer, asked.bytes(), &body);
                let signature = signer.and_then(sign);
                let answer = Outgoing::new(key, body, JSON).and_then(|it| it.with(signature));
                answer.and_then(|answer| query.answer(answer))
            }
            Err(body) => query.deny(body, JSON),
        };
        warn_if_unanswered(answered);
    }
}

/// Handles orders until it is dropped.
#[derive(Debug)]
pub struct Orders {
    queryable: Option<Queryable<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Orders {
    fn drop(&mut self) {
        // Undeclaring drops the sender, which ends the thread.
        if let Some(queryable) = self.queryable.take()
            && let Err(error) = queryable.undeclare().wait()
        {
            tracing::debug!(%error, "cannot undeclare the key of the orders");
        }
        let own = std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != own) {
            let _ = thread.join();
        }
    }
}
