//! The only module that names zenoh: sessions, keys, and what travels under them.
//!
//! A device's keys stand below `hotshoe/<site>/<device>/`: `input/**` takes samples, `output/insight`, `output/action` and
//! `output/error` carry what became of them, `output/custom/<topic>` what policies send, `event` says how a release fares, `status`, `order` and `record` answer queries, and `alive` is a
//! liveliness token. What concerns the whole site stands beside the devices, under parts that begin with `@`, which no wildcard of a
//! device's keys matches: see [`Site`].
#![forbid(unsafe_code)]

pub mod acl;
mod bench;
mod client;
mod device;
pub mod device_list;
pub mod exposure;
mod fleet;
mod objects;
mod outbox;
mod outgoing;
mod pending;
mod said;
mod settings;
mod site;
mod sources;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::ZenohConfig;
use hotshoe_protocol::status::SessionStatus;
use hotshoe_trust::{PayloadKind, SigningKey};
use zenoh::bytes::{Encoding, ZBytes};
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::Queryable;
use zenoh::sample::{Sample, SampleKind};

use outbox::Outbox;
use outgoing::{Caller, JSON, Lane, Outgoing, address};
use said::{MAX_CONTEXT_BYTES, Signer};
use settings::client_settings;

pub use bench::{Raw, RawValue};
pub use client::{Client, Fed, FeedError, Feeder, Outputs, Published};
pub use device::Orders;
pub use fleet::{DeviceKey, Events, OrderError};
pub use objects::{Asked, Heard, Sharing, WAITING_REQUESTS};
pub use outbox::{MAX_WAITING, MAX_WAITING_BYTES};
pub use outgoing::{MAX_ATTACHMENT_BYTES, MAX_KEY_BYTES, panics};
pub use pending::MAX_PENDING;
pub use said::Said;
pub use site::{ASK_AGAIN, Answering, Desired, MAX_STATEMENT_MESSAGE, Notice, Site, Watch};
pub use sources::{MAX_CALLED_BYTES, MAX_SOURCES, MAX_STRANGERS, Sources};

/// Why Zenoh could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A setting was refused.
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
    /// The session could not be opened.
    #[error("cannot open a Zenoh session that listens on {listen:?}; is the port in use?")]
    Open {
        /// Where it was to listen.
        listen: Vec<String>,
        /// Why.
        #[source]
        source: zenoh::Error,
    },
    /// No daemon answered.
    #[error("cannot reach a daemon at {connect:?}; is `hotshoe run` running there?")]
    Unreachable {
        /// Where it was to be.
        connect: Vec<String>,
        /// Why.
        #[source]
        source: zenoh::Error,
    },
    /// Nothing says where the daemon is.
    #[error(
        "nothing says where the daemon is; set `zenoh.listen` or `zenoh.connect` in hotshoe.toml"
    )]
    Nowhere,
    /// The receiver would ignore a message of this size without a word.
    #[error(
        "a sample of {bytes} bytes is more than the {most} that a message may hold; raise `zenoh.max-message-bytes` at both ends"
    )]
    TooLarge {
        /// The sample's size in bytes.
        bytes: usize,
        /// The most that fits.
        most: usize,
    },
    /// A field of a message is longer than Zenoh carries.
    #[error("the {what} of a message has {bytes} bytes; at most {most} are carried")]
    TooLong {
        /// Which field.
        what: &'static str,
        /// Its length in bytes.
        bytes: usize,
        /// The most that fits.
        most: usize,
    },
    /// Too much waits to leave.
    #[error("{waiting} messages wait to leave already; a peer may be slow to take them")]
    Full {
        /// How many.
        waiting: usize,
    },
    /// Zenoh panicked.
    #[error("Zenoh failed on the key `{key}`; restart, and please report it")]
    Panicked {
        /// The key.
        key: String,
    },
    /// A key is not valid.
    #[error(
        "`{key}` is not a key: its parts may hold anything but `*`, `$`, `?` and `#`, and none is empty"
    )]
    Key {
        /// The key.
        key: String,
        /// Why.
        #[source]
        source: zenoh::Error,
    },
    /// The device would take its own results for samples.
    #[error(
        "`intake.subscribe` holds `{key}`, which matches this device's own keys; name the keys that the samples come under"
    )]
    Loop {
        /// The key expression.
        key: String,
    },
    /// An endpoint would let strangers in.
    #[error(transparent)]
    Exposed(#[from] exposure::Exposed),
    /// The access rules cannot be read.
    #[error("cannot read the access rules {}; `hotshoe zenoh-acl` makes such a file", path.display())]
    AccessControl {
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
    /// Something could not be declared, sent or asked for.
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
            Self::Exposed(_) => "insecure_endpoint",
            _ => "link",
        }
    }
}

/// What kind of message leaves the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A result.
    Insight,
    /// What a policy decided.
    Action,
    /// Why a sample gave no result.
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

/// A sample as it arrives, before anything was checked.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The key or the path that it came from.
    pub source: String,
    /// The id that the sender gave it.
    pub id: Option<Cow<'a, [u8]>>,
    /// The media type that the sender gave it.
    pub content_type: Option<String>,
    /// When it was taken, in microseconds since 1970-01-01T00:00:00Z, if the sender said so.
    pub timestamp_us: Option<u64>,
    /// The bytes.
    pub payload: Cow<'a, [u8]>,
}

/// The device's end of a Zenoh session.
#[derive(Debug)]
pub struct Link {
    site: Site,
    root: String,
    signer: Signer,
}

/// What a device has declared. It is taken back when this is dropped.
#[derive(Debug)]
pub struct Serving {
    input: Option<(Vec<Subscriber<()>>, Queryable<()>)>,
    _status: Queryable<()>,
    _alive: LivelinessToken,
}

impl Serving {
    /// Takes no more samples. Status and liveliness stay.
    pub fn stop_input(&mut self) {
        self.input = None;
    }
}

/// A query that waits for the end of its sample.
#[derive(Debug)]
pub struct Asker {
    caller: Caller,
    outbox: Outbox,
}

impl Asker {
    /// Answers with a result, as JSON.
    pub fn reply(self, body: &[u8]) {
        let answer = Outgoing::new(self.caller.key(), body, JSON);
        warn_unanswered(answer.and_then(|answer| self.outbox.answer(self.caller, vec![answer])));
    }

    /// Answers that there is no result, as JSON.
    pub fn refuse(self, body: &[u8]) {
        warn_unanswered(self.outbox.deny(self.caller, body.to_vec()));
    }
}

fn warn_unanswered(reply: Result<(), LinkError>) {
    if let Err(error) = reply {
        tracing::warn!(%error, "a query could not be answered");
    }
}

/// The root of a device's keys. `*` stands for any site or device.
fn root(site: &str, device: &str) -> String {
    format!("hotshoe/{site}/{device}")
}

impl Link {
    /// Opens the session. It does not wait for a network: endpoints to connect to are tried in the background.
    ///
    /// # Errors
    /// [`LinkError::Setting`] and [`LinkError::Open`].
    pub fn open(config: &ZenohConfig, site: &str, device: &str) -> Result<Self, LinkError> {
        Self::open_with(config, site, device, &Supervisor::default())
    }

    /// The same, whose threads are parts of a daemon.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(
        config: &ZenohConfig,
        site: &str,
        device: &str,
        parts: &Supervisor,
    ) -> Result<Self, LinkError> {
        Ok(Self {
            site: Site::open_with(config, site, parts)?,
            root: root(site, device),
            signer: Signer {
                site: site.to_owned(),
                device: device.to_owned(),
                key: None,
            },
        })
    }

    /// Signs with `key` what the device says of itself from now on.
    pub fn signing(mut self, key: SigningKey) -> Self {
        self.signer.key = Some(Arc::new(key));
        self
    }

    /// The key that the device signs with.
    pub fn key(&self) -> Option<&SigningKey> {
        self.signer.key.as_deref()
    }

    /// Takes samples from `input/**` and from the key expressions `more`, and answers for the status, until the [`Serving`] is
    /// dropped. A sample that came with a query brings its [`Asker`]. Both functions are called on Zenoh's threads.
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::Loop`] and [`LinkError::Use`].
    pub fn serve<O, S>(&self, more: &[String], offer: O, status: S) -> Result<Serving, LinkError>
    where
        O: Fn(Incoming<'_>, Option<Asker>) + Send + Sync + 'static,
        S: Fn() -> Vec<u8> + Send + Sync + 'static,
    {
        let offer = Arc::new(offer);
        let input = format!("{}/input/**", self.root);
        let state = format!("{}/status", self.root);
        let alive = format!("{}/alive", self.root);
        let session = &self.site.session;
        let (outbox, status_key) = (self.site.outbox.clone(), state.clone());
        let signer = self.signer.clone();
        let status = outgoing::answer_queries(session, &state, move |caller| {
            let body = status();
            let signature = asked_for(&caller)
                .and_then(|context| signer.sign(PayloadKind::Status, &context, &body));
            let answer = Outgoing::new(&status_key, body, JSON).and_then(|it| it.with(signature));
            warn_unanswered(answer.and_then(|answer| outbox.answer(caller, vec![answer])));
        })?;
        let (asked, outbox) = (Arc::clone(&offer), self.site.outbox.clone());
        let queries = outgoing::answer_queries(session, &input, move |caller| {
            take_query(caller, &outbox, &*asked);
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
        Ok(Serving {
            input: Some((samples, queries)),
            _status: status,
            _alive: token,
        })
    }

    /// Publishes a message. It leaves by a thread of its own; a receiver that does not take it in time loses it.
    ///
    /// # Errors
    /// [`LinkError::TooLong`], and [`LinkError::Full`] where too many wait.
    pub fn publish(&self, topic: Topic, id: &str, body: Vec<u8>) -> Result<(), LinkError> {
        let key = format!("{}/{}", self.root, topic.key());
        let message = Outgoing::new(&key, body, JSON)?.with(Some(id))?;
        self.site.outbox.put(message, Lane::Data)
    }

    /// Publishes a message that a policy sent, under the device's own `output/custom/<topic>`, like [`Self::publish`].
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::TooLong`], and [`LinkError::Full`] where too many wait.
    pub fn send(
        &self,
        topic: &str,
        content_type: &str,
        id: &str,
        payload: Vec<u8>,
    ) -> Result<(), LinkError> {
        let key = format!("{}/output/custom/{topic}", self.root);
        let message = Outgoing::new(&key, payload, content_type)?.with(Some(id))?;
        self.site.outbox.put(message, Lane::Data)
    }

    /// What its threads are parts of.
    pub const fn parts(&self) -> &Supervisor {
        &self.site.parts
    }

    /// The session's state.
    pub fn status(&self) -> SessionStatus {
        self.site.status()
    }

    /// Closes the session, after what was published has left.
    pub fn close(&self) {
        self.site.close();
    }
}

/// What an asker made up for its question, so that the answer can be no older. Who gives nothing gets no signature.
fn asked_for(caller: &Caller) -> Option<Vec<u8>> {
    let context = caller.attachment()?;
    (context.len() <= MAX_CONTEXT_BYTES).then(|| context.into_owned())
}

fn take_sample(sample: &Sample, offer: &impl Fn(Incoming<'_>, Option<Asker>)) {
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

fn take_query(caller: Caller, outbox: &Outbox, offer: &impl Fn(Incoming<'_>, Option<Asker>)) {
    // Somebody lists keys: there is no sample, and nothing to say.
    if caller.key().is_wild() {
        return;
    }
    let asker = Asker {
        caller: caller.clone(),
        outbox: outbox.clone(),
    };
    let incoming = Incoming {
        source: caller.key().to_string(),
        id: caller.attachment(),
        content_type: caller.encoding().and_then(content_type),
        timestamp_us: None,
        // An empty sample deserves its error.
        payload: caller.payload(),
    };
    offer(incoming, Some(asker));
}

/// The media type, unless nobody said one.
fn content_type(encoding: &Encoding) -> Option<String> {
    (*encoding != Encoding::ZENOH_BYTES).then(|| encoding.to_string())
}
