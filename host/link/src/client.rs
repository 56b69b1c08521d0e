//! The client side of a device's keys, for commands and applications.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use hotshoe_config::{MESSAGE_OVERHEAD, ZenohConfig};
use hotshoe_protocol::status::Status;
use hotshoe_trust::PayloadKind;
use parking_lot::{Condvar, Mutex, MutexGuard};
use serde_json::Value;
use zenoh::handlers::RingChannelHandler;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, QueryTarget, Reply};
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

use super::device_message::DeviceMessage;
use super::outgoing::{self, Outgoing, QosClass};
use super::site::Site;
use super::{LinkError, client_settings, root};

/// A session that queries devices and sends them samples.
#[derive(Debug)]
pub struct Client {
    pub(super) session: Session,
    max_payload: usize,
}

impl Client {
    /// Connects to the daemon of `config`; see [`ZenohConfig::client`]. The timeout is 3 s.
    ///
    /// # Errors
    /// [`LinkError::NoEndpoint`], [`LinkError::Setting`] and [`LinkError::Unreachable`].
    pub fn open(config: &ZenohConfig) -> Result<Self, LinkError> {
        if config.connect.is_empty() && !config.scouting {
            return Err(LinkError::NoEndpoint);
        }
        let session = zenoh::open(client_settings(config)?)
            .wait()
            .map_err(|source| LinkError::Unreachable {
                connect: config.connect.clone(),
                source,
            })?;
        Ok(Self {
            session,
            max_payload: config.max_message_bytes.saturating_sub(MESSAGE_OVERHEAD),
        })
    }

    /// Shares the session of `site`. Closing one closes both.
    pub fn of(site: &Site, max_message_bytes: usize) -> Self {
        Self {
            session: site.session.clone(),
            max_payload: max_message_bytes.saturating_sub(MESSAGE_OVERHEAD),
        }
    }

    /// The statuses of the devices that match; `None` matches any site or device. An answer that is not a status, or that names
    /// another device than its key, is skipped. Signatures are not checked: see [`Self::ask_statuses`].
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn statuses(
        &self,
        site: Option<&str>,
        device: Option<&str>,
        timeout: Duration,
    ) -> Result<Vec<Status>, LinkError> {
        let said = self.ask_statuses(site, device, timeout)?;
        Ok(said.into_iter().map(|said| said.value).collect())
    }

    /// Like [`Self::statuses`], with the devices' signatures. Each covers the answer and the nonce of this query.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn ask_statuses(
        &self,
        site: Option<&str>,
        device: Option<&str>,
        timeout: Duration,
    ) -> Result<Vec<DeviceMessage<Status>>, LinkError> {
        let mut statuses = Vec::new();
        self.each_status(site, device, timeout, |said| statuses.push(said))?;
        Ok(statuses)
    }

    /// Like [`Self::ask_statuses`], with each answer as it arrives.
    ///
    /// # Errors
    /// The same.
    pub fn each_status(
        &self,
        site: Option<&str>,
        device: Option<&str>,
        timeout: Duration,
        mut each: impl FnMut(DeviceMessage<Status>),
    ) -> Result<(), LinkError> {
        let key = format!(
            "{}/status",
            root(site.unwrap_or("*"), device.unwrap_or("*"))
        );
        // With a fresh nonce, a recorded answer cannot be replayed.
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let query_builder = outgoing::query_builder(&self.session, &key, Some(&nonce))?
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(timeout);
        let mut collector = StatusCollector::default();
        for reply in outgoing::replies(&key, query_builder)?.iter() {
            if let Some(said) = collector.take(&reply, &nonce) {
                each(said);
            }
        }
        collector.report();
        Ok(())
    }

    /// Publishes one sample under `input/<name>`, without an answer.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`], [`LinkError::Key`] and [`LinkError::Use`].
    pub fn put(
        &self,
        site: &str,
        device: &str,
        name: &str,
        content_type: &str,
        id: Option<&str>,
        payload: Vec<u8>,
    ) -> Result<(), LinkError> {
        check_size(&payload, self.max_payload)?;
        let key = format!("{}/input/{name}", root(site, device));
        let mut message = Outgoing::new(&key, payload, content_type)?;
        if let Some(id) = id {
            message = message.with(Some(id))?;
        }
        message.put(&self.session, QosClass::Blocking)
    }

    /// Sends samples as queries, with at most `in_flight` unanswered ones. Each query has this timeout.
    pub fn feeder(&self, site: &str, device: &str, in_flight: usize, timeout: Duration) -> Feeder {
        let (sender, answers) = channel();
        Feeder {
            session: self.session.clone(),
            root: root(site, device),
            max_payload: self.max_payload,
            timeout,
            window: Arc::new(Window {
                open: Mutex::new(0),
                closed: Condvar::new(),
                most: in_flight.max(1),
            }),
            sender,
            answers,
        }
    }

    /// Subscribes to the outputs of devices. Beyond `capacity` unread messages, the oldest are lost.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn outputs(
        &self,
        site: Option<&str>,
        device: Option<&str>,
        capacity: usize,
    ) -> Result<Outputs, LinkError> {
        let key = format!(
            "{}/output/**",
            root(site.unwrap_or("*"), device.unwrap_or("*"))
        );
        let subscriber = outgoing::collect(&self.session, &key, capacity)?;
        Ok(Outputs { subscriber })
    }

    /// Closes the session.
    pub fn close(self) {
        if let Err(error) = self.session.close().wait() {
            tracing::debug!(%error, "the session did not close cleanly");
        }
    }
}

/// Most statuses that one query collects.
pub(crate) const MAX_STATUSES: usize = 4_096;
/// Largest status, in bytes.
const MAX_STATUS_BYTES: usize = 1 << 20;
/// Most bytes of statuses that one query collects.
const MAX_STATUSES_BYTES: usize = 256 << 20;

/// Reads statuses. Any session can answer the query, so count and bytes are limited.
#[derive(Default)]
struct StatusCollector {
    statuses: usize,
    bytes: usize,
    left_out: u64,
}

impl StatusCollector {
    fn take(&mut self, reply: &Reply, nonce: &str) -> Option<DeviceMessage<Status>> {
        let sample = reply.result().ok()?;
        let size = sample.payload().len();
        self.bytes = self.bytes.saturating_add(size);
        if size > MAX_STATUS_BYTES
            || self.bytes > MAX_STATUSES_BYTES
            || self.statuses >= MAX_STATUSES
        {
            self.left_out += 1;
            return None;
        }
        let said = DeviceMessage::read(
            sample,
            PayloadKind::Status,
            nonce.as_bytes(),
            |status: &Status| Some((status.site.as_str(), status.device.as_str())),
        );
        self.statuses += usize::from(said.is_some());
        said
    }

    fn report(self) {
        let left_out = self.left_out;
        if left_out > 0 {
            tracing::error!(
                left_out,
                most = MAX_STATUSES,
                "more devices answered than can be listed; name a single device"
            );
        }
    }
}

/// A subscription to the outputs of devices.
#[derive(Debug)]
pub struct Outputs {
    subscriber: Subscriber<RingChannelHandler<Sample>>,
}

/// One message that a device published.
#[derive(Debug, Clone, PartialEq)]
pub struct OutputMessage {
    /// Its key, such as `hotshoe/lab/camera/output/insight`.
    pub key: String,
    /// Its media type.
    pub content_type: String,
    /// The payload parsed as JSON; null if it is not JSON.
    pub body: Value,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Outputs {
    /// The next message; `None` after `timeout`, or when the session is closed.
    pub fn next(&self, timeout: Duration) -> Option<OutputMessage> {
        let sample = self.subscriber.handler().recv_timeout(timeout).ok()??;
        let payload = sample.payload().to_bytes().into_owned();
        Some(OutputMessage {
            key: sample.key_expr().to_string(),
            content_type: sample.encoding().to_string(),
            body: serde_json::from_slice(&payload).unwrap_or_default(),
            payload,
        })
    }
}

/// Sends samples and collects the answers. Answers stay in memory until [`Feeder::next`] takes them.
#[derive(Debug)]
pub struct Feeder {
    session: Session,
    root: String,
    max_payload: usize,
    timeout: Duration,
    window: Arc<Window>,
    sender: Sender<FeedReply>,
    answers: Receiver<FeedReply>,
}

/// The answer to one sample.
#[derive(Debug)]
pub struct FeedReply {
    /// The sample's id.
    pub id: String,
    /// The name that it was sent under.
    pub name: String,
    /// Time from sending to the answer.
    pub elapsed: Duration,
    /// The answer as JSON.
    pub result: Result<Value, FeedError>,
}

/// Why a sample gave no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FeedError {
    /// The device refused it. The JSON of its error message.
    #[error("the device refused the sample: {0}")]
    Refused(Value),
    /// The device did not answer in time, or is not there.
    #[error("no device answered in time")]
    NoReply,
}

/// Limits the number of unanswered samples.
#[derive(Debug)]
struct Window {
    open: Mutex<usize>,
    closed: Condvar,
    most: usize,
}

impl Window {
    fn enter(&self) {
        let mut open = self.lock();
        self.closed.wait_while(&mut open, |open| *open >= self.most);
        *open += 1;
    }

    fn leave(&self) {
        *self.lock() -= 1;
        self.closed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.open.lock()
    }
}

/// One unanswered sample. Dropping the last reference without an answer gives [`FeedError::NoReply`].
#[derive(Debug)]
struct PendingSample {
    id: String,
    name: String,
    sent: Instant,
    answered: AtomicBool,
    window: Arc<Window>,
    sender: Sender<FeedReply>,
}

impl PendingSample {
    /// The first answer counts.
    fn answer(&self, result: Result<Value, FeedError>) {
        if !self.close() {
            return;
        }
        let fed = FeedReply {
            id: self.id.clone(),
            name: self.name.clone(),
            elapsed: self.sent.elapsed(),
            result,
        };
        // The feeder may be gone.
        let _ = self.sender.send(fed);
    }

    /// Ignores later answers. False if there was an answer already.
    fn close(&self) -> bool {
        let open = !self.answered.swap(true, Ordering::AcqRel);
        if open {
            self.window.leave();
        }
        open
    }
}

impl Drop for PendingSample {
    fn drop(&mut self) {
        self.answer(Err(FeedError::NoReply));
    }
}

impl Feeder {
    /// Sends a sample under `input/<name>`. Blocks while too many samples are unanswered.
    ///
    /// # Errors
    /// [`LinkError::TooLarge`], [`LinkError::TooLong`], [`LinkError::Key`], and [`LinkError::Use`] where the session is closed; the sample was not sent then.
    pub fn send(
        &self,
        name: &str,
        content_type: &str,
        id: &str,
        payload: Vec<u8>,
    ) -> Result<(), LinkError> {
        check_size(&payload, self.max_payload)?;
        let key = format!("{}/input/{name}", self.root);
        let message = Outgoing::new(&key, payload, content_type)?.with(Some(id))?;
        self.window.enter();
        let pending = Arc::new(PendingSample {
            id: id.to_owned(),
            name: name.to_owned(),
            sent: Instant::now(),
            answered: AtomicBool::new(false),
            window: Arc::clone(&self.window),
            sender: self.sender.clone(),
        });
        let waiting = Arc::clone(&pending);
        let query_builder = message
            .ask(&self.session, QosClass::Blocking)
            .consolidation(ConsolidationMode::None)
            .timeout(self.timeout);
        let sent = outgoing::send(&key, query_builder, move |reply| {
            waiting.answer(outcome(reply));
        });
        match sent {
            // The caller gets the error; the sample must not give a second one.
            Err(error) if pending.close() => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The next answer; `None` after `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<FeedReply> {
        self.answers.recv_timeout(timeout).ok()
    }

    /// The number of unanswered samples.
    pub fn outstanding(&self) -> usize {
        *self.window.lock()
    }
}

fn check_size(payload: &[u8], most: usize) -> Result<(), LinkError> {
    let bytes = payload.len();
    (bytes <= most)
        .then_some(())
        .ok_or(LinkError::TooLarge { bytes, most })
}

fn outcome(reply: &Reply) -> Result<Value, FeedError> {
    match reply.result() {
        Ok(sample) => Ok(serde_json::from_slice(&sample.payload().to_bytes()).unwrap_or_default()),
        // Zenoh's own errors, such as a timeout, are not JSON objects.
        Err(error) => match serde_json::from_slice::<Value>(&error.payload().to_bytes()) {
            Ok(body) if body.is_object() => Err(FeedError::Refused(body)),
            _ => Err(FeedError::NoReply),
        },
    }
}
