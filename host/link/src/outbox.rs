//! The way of the outbox: a device sends batches to a collector of its site as queries under `@outbox/<collector>/<device>`, and the reply
//! is the acknowledgement. A liveliness token `@outbox/<collector>` announces a collector of all devices, `@outbox/<collector>/<device>` one of a
//! single device.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use hotshoe_protocol::outbox::Batch;
use hotshoe_trust::PayloadKind;
use parking_lot::Mutex;
use serde_json::Value;
use zenoh::Wait;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, Queryable};
use zenoh::sample::{Locality, SampleKind};

use super::client::Client;
use super::device_message::DeviceMessage;
use super::outgoing::{self, IncomingQuery, JSON, Outgoing, QosClass};
use super::send_queue::SendQueue;
use super::site::Site;
use super::{Link, LinkError, warn_if_unanswered};

/// The part of the keys.
const OUTBOX: &str = "@outbox";
/// Most collectors that a device knows. Every peer may declare tokens.
const MAX_COLLECTORS: usize = 16;
/// Longest name of a collector, in bytes.
const MAX_COLLECTOR_BYTES: usize = 64;
/// Largest batch, in bytes: 8 MiB. A batch has 256 KiB, or one record.
const MAX_BATCH_BYTES: usize = 8 << 20;
/// Most batches that wait in a collector; a further one is refused as `busy`.
const WAITING_BATCHES: usize = 64;
/// Error reply when too many batches wait.
const BUSY: &str = r#"{"name":"busy","message":"too many batches are waiting; try again"}"#;
/// Error reply to a batch that cannot be read.
const UNREADABLE: &str = r#"{"name":"invalid_batch","message":"the batch cannot be read, or names another device than its key"}"#;

/// Why a batch was not acknowledged. Its records stay in the outbox.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The collector did not answer in time, or is gone.
    #[error("collector `{collector}` did not answer")]
    NoReply {
        /// The collector.
        collector: String,
    },
    /// It refused the batch: JSON with `name` and `message`.
    #[error("collector `{collector}` refused: {}", .said["message"].as_str().unwrap_or("without a reason"))]
    Refused {
        /// The collector.
        collector: String,
        /// Its answer.
        said: Value,
    },
    /// Zenoh refused.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl DeliverError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &str {
        match self {
            Self::NoReply { .. } => "no_reply",
            Self::Refused { said, .. } => said["name"].as_str().unwrap_or("refused"),
            Self::Link(error) => error.name(),
        }
    }
}

/// The collectors of a site that are there, until it is dropped.
#[derive(Debug)]
pub struct Collectors {
    known: Arc<Mutex<BTreeSet<String>>>,
    _subscribers: [Subscriber<()>; 2],
}

impl Collectors {
    /// Their names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.known.lock().iter().cloned().collect()
    }
}

impl Link {
    /// Follows the collectors of the site. `appeared` is called for each new one on Zenoh's threads, and must not block.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn collectors(
        &self,
        appeared: impl Fn() + Send + Sync + 'static,
    ) -> Result<Collectors, LinkError> {
        let known: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let appeared = Arc::new(appeared);
        let follow = |key: String| {
            let (known, appeared) = (Arc::clone(&known), Arc::clone(&appeared));
            outgoing::follow_tokens(&self.site.session, &self.site.key(&key), move |sample| {
                let name = sample.key_expr().as_str().split('/').nth(3);
                let Some(name) = name.filter(|name| name.len() <= MAX_COLLECTOR_BYTES) else {
                    return;
                };
                let mut known = known.lock();
                if sample.kind() == SampleKind::Delete {
                    known.remove(name);
                } else if known.len() < MAX_COLLECTORS && known.insert(name.to_owned()) {
                    drop(known);
                    appeared();
                }
            })
        };
        let subscribers = [
            follow(format!("{OUTBOX}/*"))?,
            follow(format!("{OUTBOX}/*/{}", self.device()))?,
        ];
        Ok(Collectors {
            known,
            _subscribers: subscribers,
        })
    }

    /// Sends a batch to a collector, signed if the device has a key, and returns the acknowledgement. Blocks for at most `timeout`.
    ///
    /// # Errors
    /// [`DeliverError`].
    pub fn deliver(
        &self,
        collector: &str,
        batch: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, DeliverError> {
        let key = self
            .site
            .key(&format!("{OUTBOX}/{collector}/{}", self.device()));
        let signature = self.signer.sign(PayloadKind::Outbox, &[], batch);
        let query_builder = Outgoing::new(&key, batch, JSON)?
            .with(signature)?
            .ask(&self.site.session, QosClass::DataLow)
            .consolidation(ConsolidationMode::None)
            .allowed_destination(Locality::Remote)
            .timeout(timeout);
        let mut refused = None;
        for reply in outgoing::replies(&key, query_builder)? {
            match reply.into_result() {
                Ok(sample) if sample.key_expr().as_str() == key => {
                    return Ok(sample.payload().to_bytes().into_owned());
                }
                Ok(_) => {}
                // Zenoh's own errors, such as a timeout, are not JSON objects.
                Err(error) => {
                    let said = serde_json::from_slice::<Value>(&error.payload().to_bytes());
                    refused = said.ok().filter(Value::is_object).or(refused);
                }
            }
        }
        let collector = collector.to_owned();
        Err(match refused {
            Some(said) => DeliverError::Refused { collector, said },
            None => DeliverError::NoReply { collector },
        })
    }
}

/// Takes batches until it is dropped.
#[derive(Debug)]
pub struct Collecting {
    queryable: Option<Queryable<()>>,
    thread: Option<JoinHandle<()>>,
    _token: LivelinessToken,
}

impl Client {
    /// Announces a collector of the site, and takes batches of its devices, or of one of them. `each` is called on its own thread, one batch at a time, and
    /// returns the acknowledgement, or the JSON of an error.
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::Use`] and [`LinkError::Thread`].
    pub fn collect(
        &self,
        site: &str,
        device: Option<&str>,
        name: &str,
        mut each: impl FnMut(DeviceMessage<Batch>) -> Result<Vec<u8>, Vec<u8>> + Send + 'static,
    ) -> Result<Collecting, LinkError> {
        let site = Site::of(self.session.clone(), site);
        let key = site.key(&format!("{OUTBOX}/{name}"));
        let (sender, waiting) = sync_channel(WAITING_BATCHES);
        let thread = site
            .supervisor
            .restarted("collect", move || {
                take_batches(&waiting, &mut each);
                Ok(())
            })
            .map_err(|source| LinkError::Thread { source })?;
        let send_queue = site.send_queue.clone();
        let batches = format!("{key}/{}", device.unwrap_or("*"));
        let queryable = outgoing::answer_queries(&site.session, &batches, move |it| {
            enqueue(&sender, &send_queue, it);
        })?;
        // Last: a device sends at once.
        let announced = device.map_or(key, |_| batches);
        let token = outgoing::token(&site.session, &announced)?;
        Ok(Collecting {
            queryable: Some(queryable),
            thread: Some(thread),
            _token: token,
        })
    }
}

fn enqueue(queue: &SyncSender<IncomingQuery>, send_queue: &SendQueue, query: IncomingQuery) {
    if query.size() > MAX_BATCH_BYTES {
        warn_if_unanswered(send_queue.deny(query, UNREADABLE.into()));
        return;
    }
    if let Err(TrySendError::Full(query)) = queue.try_send(query) {
        warn_if_unanswered(send_queue.deny(query, BUSY.into()));
    }
}

fn take_batches(
    waiting: &Receiver<IncomingQuery>,
    each: &mut impl FnMut(DeviceMessage<Batch>) -> Result<Vec<u8>, Vec<u8>>,
) {
    while let Ok(query) = waiting.recv() {
        let taken = match message(&query) {
            Some(message) => each(message),
            None => Err(UNREADABLE.as_bytes().to_vec()),
        };
        let answered = match taken {
            Ok(body) => Outgoing::new(query.key().as_str(), body, JSON)
                .and_then(|answer| query.answer(answer)),
            Err(body) => query.deny(body, JSON),
        };
        warn_if_unanswered(answered);
    }
}

/// The batch of a query, if it names the site and the device of its key.
fn message(query: &IncomingQuery) -> Option<DeviceMessage<Batch>> {
    let mut parts = query.key().as_str().split('/');
    let (site, device) = (parts.nth(1)?.to_owned(), parts.next_back()?.to_owned());
    let signature = query.attachment().map(std::borrow::Cow::into_owned);
    DeviceMessage::of_query(
        (site, device),
        PayloadKind::Outbox,
        query.payload().into_owned(),
        signature,
        |batch: &Batch| (batch.site.as_str(), batch.device.as_str()),
    )
}

impl Drop for Collecting {
    fn drop(&mut self) {
        // Undeclaring drops the sender, which ends the thread.
        if let Some(queryable) = self.queryable.take()
            && let Err(error) = queryable.undeclare().wait()
        {
            tracing::debug!(%error, "cannot undeclare the key of a collector");
        }
        let own = std::thread::current().id();
        if let Some(thread) = self.thread.take().filter(|t| t.thread().id() != own) {
            let _ = thread.join();
        }
    }
}
