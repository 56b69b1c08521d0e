//! Zenoh sessions, keys and messages. No other crate depends on zenoh.
//!
//! A device's keys begin with `hotshoe/<site>/<device>/`: `input/**` takes samples; `output/insight`, `output/action` and
//! `output/error` publish their results, `output/custom/<topic>` the messages of policies, and `event` the progress of a release;
//! `status`, `order`, `record` and `shared-data` answer queries, and `shared-data/<name>` publishes changes; `alive` is a liveliness token, and `alive/<session>` that of one session, which `same-name/<session>` repeats. Keys of the whole site have a part that begins with
//! `@`, which no wildcard of a device's keys matches: see [`Site`]. Batches of an outbox go to `@outbox/<collector>/<device>`, a device's
//! reports about rollouts to its key `rollout`, and the counts of a registry to `@rollout-count/<registry>`.
#![forbid(unsafe_code)]

pub mod acl;
mod audit;
mod bench;
mod client;
mod device;
mod device_changes;
pub mod device_list;
mod device_message;
mod device_report;
pub mod exposure;
mod fleet;
mod members;
mod object_replies;
mod objects;
mod outbox;
mod outgoing;
mod pending;
mod registry;
mod rollout;
mod same_name;
mod send_queue;
mod settings;
mod shared_data;
mod site;
mod sources;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::ZenohConfig;
use hotshoe_config::descriptors::TooFewDescriptors;
use hotshoe_egress::Egress;
use hotshoe_protocol::status::SessionStatus;
use hotshoe_trust::{PayloadKind, SigningKey};
use zenoh::bytes::{Encoding, ZBytes};
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::Queryable;
use zenoh::sample::{Sample, SampleKind};

use device_message::{MAX_CONTEXT_BYTES, Signer};
use members::{MemberWatch, Members};
use outgoing::{IncomingQuery, JSON, Outgoing, QosClass, address};
use same_name::{NameWatch, OtherSessions};
use send_queue::SendQueue;
use settings::client_settings;

pub use audit::HeadSubscription;
pub use bench::{RawPublisher, RawQueryable, RawSession, RawSubscription};
pub use client::{Client, FeedError, FeedReply, Feeder, OutputMessage, Outputs};
pub use device::Orders;
pub use device_changes::{DeviceChange, DeviceChanges};
pub use device_message::DeviceMessage;
pub use device_report::{DeviceReport, DeviceReports, same_name_text};
pub use fleet::{DeviceKey, Events, OrderError};
pub use objects::{ObjectReply, PendingRequest, ReceivedObjects, Sharing, WAITING_REQUESTS};
pub use outbox::{Collecting, Collectors, DeliverError};
pub use outgoing::{MAX_ATTACHMENT_BYTES, MAX_KEY_BYTES, panics};
pub use pending::{MAX_PENDING, RawNotice};
pub use registry::{OtherRegistries, RegistryAnnouncement};
pub use rollout::{
    CountAnnouncement, CountSubscription, PastResponder, ReportSubscription, SignedCount,
    StatedSubscription,
};
pub use same_name::NameRelay;
pub use send_queue::{MAX_WAITING, MAX_WAITING_BYTES};
pub use shared_data::SharedDataWatch;
pub use site::{
    MAX_STATEMENT_MESSAGE, Notice, NoticeResponder, NoticeSubscription, QUERY_INTERVAL, Site,
};
pub use sources::{MAX_BROADCAST_BYTES, MAX_SOURCES, MAX_UNKNOWN_SOURCES, Sources};

/// Why an operation on a Zenoh session failed.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Zenoh refused a setting.
    #[error("Zenoh refuses `{key} = {value}`; see `[zenoh]` in hotshoe.toml")]
    Setting {
        /// Zenoh's name of the setting.
        key: &'static str,
        /// Its value, as JSON.
        value: String,
        /// Why.
        #[source]
        source: zenoh::Error,
    },
    /// The process may have too few file descriptors for a session.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// The session could not be opened.
    #[error("cannot open a Zenoh session that listens on {listen:?}; check that the port is free")]
    Open {
        /// The endpoints to listen on.
        listen: Vec<String>,
        /// Why.
        #[source]
        source: zenoh::Error,
    },
    /// No daemon answered.
    #[error("cannot reach a daemon at {connect:?}; check that `hotshoe run` is running there")]
    Unreachable {
        /// The endpoints that were tried.
        connect: Vec<String>,
        /// Why.
        #[source]
        source: zenoh::Error,
    },
    /// No endpoint is configured.
    #[error(
        "no daemon to connect to is configured; set `zenoh.listen` or `zenoh.connect` in hotshoe.toml"
    )]
    NoEndpoint,
    /// The receiver would silently ignore a message of this size.
    #[error(
        "a sample has {bytes} bytes, and a message holds at most {most}; raise `zenoh.max-message-bytes` at both ends"
    )]
    TooLarge {
        /// The sample's size in bytes.
        bytes: usize,
        /// The limit in bytes.
        most: usize,
    },
    /// A field of a message is longer than the protocol allows.
    #[error("the {what} of a message has {bytes} bytes; at most {most} are allowed")]
    TooLong {
        /// Which field.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The limit in bytes.
        most: usize,
    },
    /// Too many messages wait to be sent.
    #[error("{waiting} messages are already waiting to be sent; a peer may be slow")]
    Full {
        /// How many messages wait.
        waiting: usize,
    },
    /// Zenoh panicked.
    #[error("Zenoh panicked on the key `{key}`; restart, and please report it")]
    Panicked {
        /// The key.
        key: String,
    },
    /// A key is not valid.
    #[error(
        "`{key}` is not a valid key: its parts must not be empty, and must not contain `*`, `$`, `?` or `#`"
    )]
    Key {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: zenoh::Error,
    },
    /// A key to subscribe to matches the device's own keys, so its results would come back as samples.
    #[error(
        "`intake.subscribe` has `{key}`, which matches this device's own keys; write the keys that samples are published under"
    )]
    Loop {
        /// The key expression.
        key: String,
    },
    /// An endpoint that unauthenticated machines could use.
    #[error(transparent)]
    InsecureEndpoint(#[from] exposure::InsecureEndpoint),
    /// The access rules cannot be read.
    #[error("cannot read the access rules {}; `hotshoe zenoh-acl` writes such a file", path.display())]
    AccessControl {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate or a key cannot be read.
    #[error("cannot read {}, which `[zenoh.tls]` names", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No thread could be started.
    #[error("cannot start a thread")]
    Thread {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Zenoh could not declare, send or query.
    #[error("cannot use the key `{key}`; the Zenoh session may be closed")]
    Use {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: zenoh::Error,
    },
}

impl LinkError {
    /// The stable name, in snake case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InsecureEndpoint(_) => "insecure_endpoint",
            Self::Descriptors(error) => error.name(),
            _ => "link",
        }
    }
}

/// The kind of an output message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A result.
    Insight,
    /// A policy's action.
    Action,
    /// The error of a sample without a result.
    Error,
}

impl Topic {
    const fn key(self) -> &'static str {
        match self {
            Self::Insight => "output/insight",
            Self::Action => "output/action",
            Self::Error => "output/error",
        }
    }
}

/// A sample as it arrives, before any check.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// Its key, or the path of its file.
    pub source: String,
    /// The id that the sender gave it, or the whole attachment, with its trace context.
    pub id: Option<Cow<'a, [u8]>>,
    /// The media type that the sender gave it.
    pub content_type: Option<String>,
    /// Time of capture in microseconds since 1970-01-01T00:00:00Z, if the sender gave it.
    pub timestamp_us: Option<u64>,
    /// The bytes.
    pub payload: Cow<'a, [u8]>,
}

/// A device's Zenoh session.
#[derive(Debug)]
pub struct Link {
    site: Site,
    root: String,
    keys: OutputKeys,
    signer: Signer,
    others: OtherSessions,
    members: Members,
}

/// The keys of each output, which every sample needs.
#[derive(Debug)]
struct OutputKeys {
    insight: KeyExpr<'static>,
    action: KeyExpr<'static>,
    error: KeyExpr<'static>,
}

impl OutputKeys {
    fn of(root: &str) -> Result<Self, LinkError> {
        let key = |topic: Topic| address(&format!("{root}/{}", topic.key()));
        Ok(Self {
            insight: key(Topic::Insight)?,
            action: key(Topic::Action)?,
            error: key(Topic::Error)?,
        })
    }

    const fn of_topic(&self, topic: Topic) -> &KeyExpr<'static> {
        match topic {
            Topic::Insight => &self.insight,
            Topic::Action => &self.action,
            Topic::Error => &self.error,
        }
    }
}

/// A device's declarations. They are undeclared on drop.
#[derive(Debug)]
pub struct Serving {
    input: Option<(Vec<Subscriber<()>>, Queryable<()>)>,
    _status: Queryable<()>,
    _alive: LivelinessToken,
    _name: NameWatch,
    _members: MemberWatch,
}

impl Serving {
    /// Stops taking samples. Status and liveliness stay.
    pub fn stop_input(&mut self) {
        self.input = None;
    }
}

/// Sends the reply to a sample that came as a query.
#[derive(Debug)]
pub struct Responder {
    query: IncomingQuery,
    send_queue: SendQueue,
}

impl Responder {
    /// Replies with a result.
    pub fn reply(self, body: Egress) {
        let answer = of_egress(self.query.key(), body);
        warn_if_unanswered(
            answer.and_then(|answer| self.send_queue.answer(self.query, vec![answer])),
        );
    }

    /// Replies with an error.
    pub fn refuse(self, body: Egress) {
        warn_if_unanswered(self.send_queue.deny(self.query, body.into_bytes()));
    }
}

fn warn_if_unanswered(reply: Result<(), LinkError>) {
    if let Err(error) = reply {
        tracing::warn!(%error, "cannot answer a query");
    }
}

/// The message of what may leave the device.
fn of_egress(key: &str, egress: Egress) -> Result<Outgoing, LinkError> {
    let content_type = egress.content_type().to_owned();
    Outgoing::new(key, egress.into_bytes(), &content_type)
}

/// The prefix of a device's keys. `*` matches any site or device.
fn root(site: &str, device: &str) -> String {
    format!("hotshoe/{site}/{device}")
}

impl Link {
    /// Opens the session. It does not wait for the network: it connects in the background.
    ///
    /// # Errors
    /// [`LinkError::TooLong`] and [`LinkError::Key`] for the names, [`LinkError::Setting`] and [`LinkError::Open`].
    pub fn open(config: &ZenohConfig, site: &str, device: &str) -> Result<Self, LinkError> {
        Self::open_with(config, site, device, &Supervisor::default())
    }

    /// Like [`Self::open`], with its threads registered in `supervisor`.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(
        config: &ZenohConfig,
        site: &str,
        device: &str,
        supervisor: &Supervisor,
    ) -> Result<Self, LinkError> {
        let root = root(site, device);
        let keys = OutputKeys::of(&root)?;
        Ok(Self {
            site: Site::open_with(config, site, supervisor)?,
            root,
            keys,
            signer: Signer {
                site: site.to_owned(),
                device: device.to_owned(),
                key: None,
            },
            others: OtherSessions::new(supervisor.clock().clone()),
            members: Members::default(),
        })
    }

    /// Signs the device's statuses, events and answers with `key`.
    pub fn signing(mut self, key: SigningKey) -> Self {
        self.signer.key = Some(Arc::new(key));
        self
    }

    /// The key that the device signs with.
    pub fn key(&self) -> Option<&SigningKey> {
        self.signer.key.as_deref()
    }

    /// Takes samples from `input/**` and from the key expressions `more`, and answers status queries, until the [`Serving`] is
    /// dropped. A sample that came as a query has a [`Responder`]. Both functions are called on Zenoh's threads.
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::Loop`] and [`LinkError::Use`].
    pub fn serve<O, S>(&self, more: &[String], offer: O, status: S) -> Result<Serving, LinkError>
    where
        O: Fn(Incoming<'_>, Option<Responder>) + Send + Sync + 'static,
        S: Fn() -> Egress + Send + Sync + 'static,
    {
        let offer = Arc::new(offer);
        let input = format!("{}/input/**", self.root);
        let state = format!("{}/status", self.root);
        let alive = format!("{}/alive", self.root);
        let session = &self.site.session;
        let (send_queue, status_key) = (self.site.send_queue.clone(), state.clone());
        let signer = self.signer.clone();
        let status = outgoing::answer_queries(session, &state, move |query| {
            let body = status().into_bytes();
            let signature = nonce_of(&query)
                .and_then(|context| signer.sign(PayloadKind::Status, &context, &body));
            let answer = Outgoing::new(&status_key, body, JSON).and_then(|it| it.with(signature));
            warn_if_unanswered(answer.and_then(|answer| send_queue.answer(query, vec![answer])));
        })?;
        let (asked, send_queue) = (Arc::clone(&offer), self.site.send_queue.clone());
        let queries = outgoing::answer_queries(session, &input, move |query| {
            take_query(query, &send_queue, &*asked);
        })?;
        let own = address(&format!("{}/**", self.root))?;
        let mut samples = Vec::with_capacity(more.len() + 1);
        for key in more.iter().chain([&input]) {
            if *key != input && address(key)?.intersects(&own) {
                return Err(LinkError::Loop { key: key.clone() });
            }
            let published = Arc::clone(&offer);
            samples.push(outgoing::subscribe(session, key, move |sample| {
                take_sample(sample, &*published);
            })?);
        }
        let token = outgoing::token(session, &alive)?;
        let name = self.others.watch(&self.site, &self.root)?;
        let members = self.members.watch(&self.site, &self.signer.device)?;
        Ok(Serving {
            input: Some((samples, queries)),
            _status: status,
            _alive: token,
            _name: name,
            _members: members,
        })
    }

    /// Queues a message for the `send` thread. `id` is that of the sample, or an attachment with it. A receiver that is too slow loses it.
    ///
    /// # Errors
    /// [`LinkError::TooLong`], and [`LinkError::Full`] if too many messages wait.
    pub fn publish(&self, topic: Topic, id: &str, body: Egress) -> Result<(), LinkError> {
        let content_type = body.content_type().to_owned();
        let key = self.keys.of_topic(topic);
        let message = Outgoing::to(key, body.into_bytes(), &content_type)?.with(Some(id))?;
        self.site.send_queue.put(message, QosClass::Data)
    }

    /// Queues a policy's message under the device's `output/custom/<topic>`, like [`Self::publish`].
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::TooLong`], and [`LinkError::Full`] if too many messages wait.
    pub fn send(&self, topic: &str, id: &str, message: Egress) -> Result<(), LinkError> {
        let key = format!("{}/output/custom/{topic}", self.root);
        let message = of_egress(&key, message)?.with(Some(id))?;
        self.site.send_queue.put(message, QosClass::Data)
    }

    /// The parts that its threads are registered in.
    pub const fn parts(&self) -> &Supervisor {
        &self.site.supervisor
    }

    /// The ids of other sessions that have the name of this device, once they have been there for 15 s.
    pub fn same_name(&self) -> Vec<String> {
        self.others.ids()
    }

    /// Whether a registry of the site, or another device that shares releases, is reachable. `None` without a [`Serving`]. A lost one is
    /// noticed after the lease of its session, which is 10 s.
    pub fn site_reachable(&self) -> Option<bool> {
        self.members.is_any_reachable()
    }

    /// The session's state.
    pub fn status(&self) -> SessionStatus {
        self.site.status()
    }

    /// Sends the queued messages, then closes the session.
    pub fn close(&self) {
        self.site.close();
    }
}

/// The nonce of a status query, which the signature covers. A query without one gets an unsigned answer.
fn nonce_of(query: &IncomingQuery) -> Option<Vec<u8>> {
    let context = query.attachment()?;
    (context.len() <= MAX_CONTEXT_BYTES).then(|| context.into_owned())
}

fn take_sample(sample: &Sample, offer: &impl Fn(Incoming<'_>, Option<Responder>)) {
    if sample.kind() == SampleKind::Delete {
        return;
    }
    let taken = sample.timestamp().and_then(|stamp| {
        let since = stamp.get_time().to_system_time().duration_since(UNIX_EPOCH);
        u64::try_from(since.ok()?.as_micros()).ok()
    });
    let incoming = Incoming {
        source: sample.key_expr().to_string(),
        id: sample.attachment().map(ZBytes::to_bytes),
        content_type: content_type(sample.encoding()),
        timestamp_us: taken,
        payload: sample.payload().to_bytes(),
    };
    offer(incoming, None);
}

fn take_query(
    query: IncomingQuery,
    send_queue: &SendQueue,
    offer: &impl Fn(Incoming<'_>, Option<Responder>),
) {
    // A query under a wildcard lists keys; it has no sample.
    if query.key().is_wild() {
        return;
    }
    let responder = Responder {
        query: query.clone(),
        send_queue: send_queue.clone(),
    };
    let incoming = Incoming {
        source: query.key().to_string(),
        id: query.attachment(),
        content_type: query.encoding().and_then(content_type),
        timestamp_us: None,
        // An empty sample is passed on, so that it gets its error.
        payload: query.payload(),
    };
    offer(incoming, Some(responder));
}

/// The media type, if the sender gave one.
fn content_type(encoding: &Encoding) -> Option<String> {
    (*encoding != Encoding::ZENOH_BYTES).then(|| encoding.to_string())
}
