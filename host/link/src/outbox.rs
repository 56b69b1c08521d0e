//! The way of the outbox: a device sends batches to a collector of its site as queries under `@outbox/<collector>/<device>`, and the reply
//! is the acknowledgement. A liveliness token `@outbox/<collector>` announces a collector of all devices, `@outbox/<collector>/<device>` one of a
//! single device.

use std::collections::{BTreeMap, BTreeSet};
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
    known: Arc<Mutex<Known>>,
    _subscribers: [Subscriber<()>; 2],
}

/// The tokens of collectors.
#[derive(Debug, Default)]
struct Known {
    /// By name, with the keys of its tokens.
    collectors: BTreeMap<String, BTreeSet<String>>,
    appeared: u64,
}

impl Known {
    /// Takes a token that was declared. True if it is one of a known collector, which may have come back, or of one more.
    fn declare(&mut self, name: &str, key: &str) -> bool {
        let is_known = self.collectors.contains_key(name);
        if !is_known && self.collectors.len() >= MAX_COLLECTORS {
            return false;
        }
        // Two keys are followed, so that a name has at most two.
        let keys = self.collectors.entry(name.to_owned()).or_default();
        keys.insert(key.to_owned());
        self.appeared += 1;
        true
    }

    fn undeclare(&mut self, name: &str, key: &str) {
        if let Some(keys) = self.collectors.get_mut(name) {
            keys.remove(key);
            if keys.is_empty() {
                self.collectors.remove(name);
            }
        }
    }
}

impl Collectors {
    /// Their names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.known.lock().collectors.keys().cloned().collect()
    }

    /// How many times one appeared, those that came back included.
    pub fn appeared(&self) -> u64 {
        self.known.lock().appeared
    }
}

impl Link {
    /// Follows the collectors of the site. `appeared` is called for each one that appears or comes back, on Zenoh's threads, and must not block.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn collectors(
        &self,
        appeared: impl Fn() + Send + Sync + 'static,
    ) -> Result<Collectors, LinkError> {
        let known: Arc<Mutex<Known>> = Arc::default();
        let appeared = Arc::new(appeared);
        let follow = |key: String| {
            let (known, appeared) = (Arc::clone(&known), Arc::clone(&appeared));
            outgoing::follow_tokens(&self.site.session, &self.site.key(&key), move |sample| {
                let name = sample.key_expr().as_str().split('/').nth(3);
                let Some(name) = name.filter(|name| name.len() <= MAX_COLLECTOR_BYTES) else {
                    return;
                };
                let key = sample.key_expr().as_str();
                if sample.kind() == SampleKind::Delete {
                    known.lock().undeclare(name, key);
                    return;
                }
                let is_taken = known.lock().declare(name, key);
                if is_taken {
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
    /// Announces a collector of the site, and takes batches of its devices, or of one of them. `each` is called on its own thread, one batch at a
    /// time. It returns the acknowledgement, or the JSON of an error.
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

#[cfg(test)]
mod tests {
    use super::{Known, MAX_COLLECTORS};

    #[test]
    fn a_collector_that_comes_back_has_appeared_again() {
        let mut known = Known::default();
        assert!(known.declare("a", "@outbox/a"));
        known.undeclare("a", "@outbox/a");
        assert!(known.collectors.is_empty());
        assert!(known.declare("a", "@outbox/a"));
        assert_eq!(known.appeared, 2);
    }

    #[test]
    fn a_collector_with_two_tokens_is_there_until_both_are_gone() {
        let mut known = Known::default();
        assert!(known.declare("a", "@outbox/a"));
        assert!(known.declare("a", "@outbox/a/cam"));
        known.undeclare("a", "@outbox/a");
        assert_eq!(known.collectors.len(), 1);
        known.undeclare("b", "@outbox/b");
        known.undeclare("a", "@outbox/a/cam");
        assert!(known.collectors.is_empty());
    }

    #[test]
    fn one_collector_too_many_is_not_taken_and_ends_no_pause() {
        let mut known = Known::default();
        for number in 0..MAX_COLLECTORS {
            let name = number.to_string();
            assert!(known.declare(&name, &name));
        }
        let appeared = known.appeared;
        assert!(!known.declare("one more", "one more"));
        assert_eq!(known.appeared, appeared);
        known.undeclare("0", "0");
        assert!(known.declare("one more", "one more"));
    }
}
