//! The only module that names zenoh: sessions, keys, and what travels under them.
//!
//! A device's keys stand below `hotshoe/<site>/<device>/`: `input/**` takes samples, `output/insight`, `output/action` and
//! `output/error` carry what became of them, `output/custom/<topic>` what policies send, `event` says how a release fares, `status`, `order` and `record` answer queries, and `alive` is a
//! liveliness token. What concerns the whole site stands beside the devices, under parts that begin with `@`, which no wildcard of a
//! device's keys matches: see [`Site`].

pub mod acl;
mod bench;
mod client;
mod device;
pub mod exposure;
mod fleet;
mod objects;
mod pending;
mod said;
mod settings;
mod site;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use hotshoe_trust::{PayloadKind, SigningKey};
use zenoh::Wait;
use zenoh::bytes::{Encoding, ZBytes};
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::CongestionControl;
use zenoh::query::{Query, Queryable};
use zenoh::sample::{Sample, SampleKind};

use crate::answer::Answer;
use crate::config::ZenohConfig;
use crate::parts::Parts;
use crate::status::SessionStatus;

use said::{MAX_CONTEXT_BYTES, Signer};
use settings::client_settings;

pub use bench::{Raw, RawValue};
pub use client::{Client, Fed, FeedError, Feeder, Outputs, Published};
pub use device::Orders;
pub use fleet::{DeviceKey, Events, OrderError};
pub use objects::{Asked, Heard, Sharing, WAITING_REQUESTS};
pub use pending::MAX_PENDING;
pub use said::Said;
pub use site::{
    ASK_AGAIN, Answering, Desired, MAX_SOURCES, MAX_STATEMENT_MESSAGE, Notice, Site, Sources, Watch,
};

/// What a message holds besides its payload (key, media type, id), at most, in bytes.
pub const MESSAGE_OVERHEAD: usize = 16 << 10;

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
    query: Query,
    key: KeyExpr<'static>,
}

impl Asker {
    /// Answers with a result, as JSON.
    pub fn reply(self, body: &[u8]) {
        let reply = self
            .query
            .reply(self.key, body)
            .encoding(Encoding::APPLICATION_JSON);
        warn_unanswered(reply.wait());
    }

    /// Answers that there is no result, as JSON.
    pub fn refuse(self, body: &[u8]) {
        let reply = self
            .query
            .reply_err(body)
            .encoding(Encoding::APPLICATION_JSON);
        warn_unanswered(reply.wait());
    }
}

fn warn_unanswered(reply: zenoh::Result<()>) {
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
        Self::open_with(config, site, device, &Parts::default())
    }

    /// The same, whose threads are parts of a daemon.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(
        config: &ZenohConfig,
        site: &str,
        device: &str,
        parts: &Parts,
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
    /// dropped. Both functions are called on Zenoh's threads.
    ///
    /// # Errors
    /// [`LinkError::Key`], [`LinkError::Loop`] and [`LinkError::Use`].
    pub fn serve<O, S>(&self, more: &[String], offer: O, status: S) -> Result<Serving, LinkError>
    where
        O: Fn(Incoming<'_>, Answer) + Send + Sync + 'static,
        S: Fn() -> Vec<u8> + Send + Sync + 'static,
    {
        let offer = Arc::new(offer);
        let input = format!("{}/input/**", self.root);
        let state = format!("{}/status", self.root);
        let alive = format!("{}/alive", self.root);
        let failed = |key: &str| {
            let key = key.to_owned();
            move |source| LinkError::Use { key, source }
        };
        let status_key = owned_key(&state)?;
        let signer = self.signer.clone();
        let status = self
            .site
            .session
            .declare_queryable(&state)
            .callback(move |query| {
                let body = status();
                let signature = asked_for(&query)
                    .and_then(|context| signer.sign(PayloadKind::Status, &context, &body));
                let reply = query
                    .reply(&status_key, body)
                    .encoding(Encoding::APPLICATION_JSON)
                    .attachment(signature);
                warn_unanswered(reply.wait());
            })
            .wait()
            .map_err(failed(&state))?;
        let asked = Arc::clone(&offer);
        let queries = self
            .site
            .session
            .declare_queryable(&input)
            .callback(move |query| take_query(query, &*asked))
            .wait()
            .map_err(failed(&input))?;
        let own = owned_key(&format!("{}/**", self.root))?;
        let mut samples = Vec::with_capacity(more.len() + 1);
        for key in more.iter().chain([&input]) {
            let expression = owned_key(key)?;
            if *key != input && expression.intersects(&own) {
                return Err(LinkError::Loop { key: key.clone() });
            }
            let published = Arc::clone(&offer);
            let subscriber = self
                .site
                .session
                .declare_subscriber(expression)
                .callback(move |sample| take_sample(&sample, &*published))
                .wait()
                .map_err(failed(key))?;
            samples.push(subscriber);
        }
        let token = self
            .site
            .session
            .liveliness()
            .declare_token(&alive)
            .wait()
            .map_err(failed(&alive))?;
        Ok(Serving {
            input: Some((samples, queries)),
            _status: status,
            _alive: token,
        })
    }

    /// Publishes a message. A slow receiver is waited for, until Zenoh closes its transport.
    ///
    /// # Errors
    /// [`LinkError::Use`] where the session is closed.
    pub fn publish(&self, topic: Topic, id: &str, body: Vec<u8>) -> Result<(), LinkError> {
        let key = format!("{}/{}", self.root, topic.key());
        let put = self
            .site
            .session
            .put(&key, body)
            .encoding(Encoding::APPLICATION_JSON)
            .attachment(id)
            .congestion_control(CongestionControl::Block);
        put.wait().map_err(|source| LinkError::Use { key, source })
    }

    /// Publishes a message that a policy sent, under the device's own `output/custom/<topic>`. A slow receiver is waited for, until Zenoh
    /// closes its transport.
    ///
    /// # Errors
    /// [`LinkError::Key`], and [`LinkError::Use`] where the session is closed.
    pub fn send(
        &self,
        topic: &str,
        content_type: &str,
        id: &str,
        payload: Vec<u8>,
    ) -> Result<(), LinkError> {
        let key = format!("{}/output/custom/{topic}", self.root);
        let put = self
            .site
            .session
            .put(owned_key(&key)?, payload)
            .encoding(Encoding::from(content_type))
            .attachment(id)
            .congestion_control(CongestionControl::Block);
        put.wait().map_err(|source| LinkError::Use { key, source })
    }

    /// What its threads are parts of.
    pub const fn parts(&self) -> &Parts {
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
fn asked_for(query: &Query) -> Option<Vec<u8>> {
    let context = query.attachment()?;
    (context.len() <= MAX_CONTEXT_BYTES).then(|| context.to_bytes().into_owned())
}

fn take_sample(sample: &Sample, offer: &impl Fn(Incoming<'_>, Answer)) {
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
    offer(incoming, Answer::Nobody);
}

fn take_query(query: Query, offer: &impl Fn(Incoming<'_>, Answer)) {
    let key = query.key_expr().clone();
    // Somebody lists keys: there is no sample, and nothing to say.
    if key.is_wild() {
        return;
    }
    let asker = Asker {
        query: query.clone(),
        key: key.clone(),
    };
    let incoming = Incoming {
        source: key.to_string(),
        id: query.attachment().map(ZBytes::to_bytes),
        content_type: query.encoding().and_then(content_type),
        timestamp_us: None,
        // Zenoh does not tell an empty payload from none, and an empty sample deserves its error.
        payload: query.payload().map(ZBytes::to_bytes).unwrap_or_default(),
    };
    offer(incoming, Answer::Query(asker));
}

/// The media type, unless nobody said one.
fn content_type(encoding: &Encoding) -> Option<String> {
    (*encoding != Encoding::ZENOH_BYTES).then(|| encoding.to_string())
}

fn owned_key(key: &str) -> Result<KeyExpr<'static>, LinkError> {
    KeyExpr::try_from(key.to_owned()).map_err(|source| LinkError::Key {
        key: key.to_owned(),
        source,
    })
}
