//! The only module that names zenoh: sessions, keys, and what travels under them.
//!
//! A device's keys stand below `hotshoe/<site>/<device>/`: `input/**` takes samples, `output/insight`, `output/action` and
//! `output/error` carry what became of them, `status` answers queries, and `alive` is a liveliness token.

mod client;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use zenoh::bytes::{Encoding, ZBytes};
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::CongestionControl;
use zenoh::query::{Query, Queryable};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::answer::Answer;
use crate::config::ZenohConfig;
use crate::status::SessionStatus;

pub use client::{Client, Fed, FeedError, Feeder, Outputs, Published};

/// How long a command tries to reach a daemon, in milliseconds.
const CLIENT_CONNECT_MS: u64 = 3_000;
/// How long it waits between tries, as Zenoh's JSON: a daemon that has just started is there soon.
const CLIENT_RETRY: &str =
    r#"{"period_init_ms": 50, "period_max_ms": 400, "period_increase_factor": 2}"#;
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
    session: Session,
    root: String,
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
        let session = zenoh::open(settings(config)?)
            .wait()
            .map_err(|source| LinkError::Open {
                listen: config.listen.clone(),
                source,
            })?;
        Ok(Self {
            session,
            root: root(site, device),
        })
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
        let status = self
            .session
            .declare_queryable(&state)
            .callback(move |query| {
                let reply = query
                    .reply(&status_key, status())
                    .encoding(Encoding::APPLICATION_JSON);
                warn_unanswered(reply.wait());
            })
            .wait()
            .map_err(failed(&state))?;
        let asked = Arc::clone(&offer);
        let queries = self
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
                .session
                .declare_subscriber(expression)
                .callback(move |sample| take_sample(&sample, &*published))
                .wait()
                .map_err(failed(key))?;
            samples.push(subscriber);
        }
        let token = self
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
            .session
            .put(&key, body)
            .encoding(Encoding::APPLICATION_JSON)
            .attachment(id)
            .congestion_control(CongestionControl::Block);
        put.wait().map_err(|source| LinkError::Use { key, source })
    }

    /// The session's state.
    pub fn status(&self) -> SessionStatus {
        let info = self.session.info();
        SessionStatus {
            id: self.session.zid().to_string(),
            locators: info
                .locators()
                .wait()
                .iter()
                .map(ToString::to_string)
                .collect(),
            peers: info.peers_zid().wait().count() + info.routers_zid().wait().count(),
        }
    }

    /// Closes the session, after what was published has left.
    pub fn close(&self) {
        if let Err(error) = self.session.close().wait() {
            tracing::warn!(%error, "the Zenoh session did not close cleanly");
        }
    }
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

/// Zenoh's settings for a device.
fn settings(config: &ZenohConfig) -> Result<zenoh::Config, LinkError> {
    let mut settings = zenoh::Config::default();
    let mut set = |key: &'static str, value: serde_json::Value| {
        let value = value.to_string();
        settings
            .insert_json5(key, &value)
            .map_err(|source| LinkError::Setting { key, value, source })
    };
    set("mode", "peer".into())?;
    set("connect/endpoints", config.connect.clone().into())?;
    set("listen/endpoints", config.listen.clone().into())?;
    set("scouting/multicast/enabled", config.scouting.into())?;
    set("scouting/gossip/enabled", config.scouting.into())?;
    set(
        "transport/link/rx/max_message_size",
        config.max_message_bytes.into(),
    )?;
    if let Some(namespace) = &config.namespace {
        set("namespace", namespace.as_str().into())?;
    }
    Ok(settings)
}

/// Zenoh's settings for a command: it fails where it reaches nobody.
fn client_settings(config: &ZenohConfig) -> Result<zenoh::Config, LinkError> {
    let mut settings = settings(config)?;
    for (key, value) in [
        ("connect/timeout_ms", CLIENT_CONNECT_MS.to_string()),
        ("connect/exit_on_failure", true.to_string()),
        ("connect/retry", CLIENT_RETRY.to_owned()),
    ] {
        settings
            .insert_json5(key, &value)
            .map_err(|source| LinkError::Setting { key, value, source })?;
    }
    Ok(settings)
}
