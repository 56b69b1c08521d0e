//! The only module that passes messages to Zenoh and receives them.
//!
//! Zenoh's codec panics, with its locks held, on a header field that is too long. So this module checks the length of each field
//! first, and drops incoming messages whose key is too long for a reply. `tests/system/layering.rs` checks that no other module calls
//! Zenoh's `put`, `get`, `reply` and `declare_*`.
//!
//! Messages to peers are droppable (`CongestionControl::Drop`): a peer that is too slow loses its messages after the time in
//! `settings.rs`, so no thread of this process waits longer for it.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use hotshoe_config::{MAX_MESSAGE_BYTES, MESSAGE_OVERHEAD};
use hotshoe_engine::MAX_CONTENT_TYPE_BYTES;
use zenoh::bytes::{Encoding, ZBytes};
use zenoh::handlers::{DefaultHandler, FifoChannelHandler, RingChannel, RingChannelHandler};
use zenoh::key_expr::KeyExpr;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::qos::{CongestionControl, Priority};
use zenoh::query::{Query, Queryable, Reply};
use zenoh::sample::Sample;
use zenoh::session::SessionGetBuilder;
use zenoh::{Session, Wait};

use super::LinkError;

/// Longest key expression that is sent or accepted, in bytes: 4 KiB. Zenoh encodes the length in two bytes, together with the
/// namespace, which has the same limit.
pub const MAX_KEY_BYTES: usize = 4 << 10;
/// Longest attachment that is sent, in bytes: 4 KiB. An attachment is the id of a sample, or a signature.
pub const MAX_ATTACHMENT_BYTES: usize = 4 << 10;
/// Longest schema of an encoding, in bytes: Zenoh encodes the length in one byte.
const ZENOH_SCHEMA_BYTES: usize = u8::MAX as usize;
/// Longest key expression that Zenoh can encode, in bytes.
const ZENOH_KEY_BYTES: usize = u16::MAX as usize;
/// Largest payload that Zenoh can encode, in bytes.
const ZENOH_PAYLOAD_BYTES: u64 = u32::MAX as u64;

const _: () = assert!(MAX_CONTENT_TYPE_BYTES <= ZENOH_SCHEMA_BYTES);
const _: () = assert!(2 * MAX_KEY_BYTES < ZENOH_KEY_BYTES);
const _: () = assert!(MAX_MESSAGE_BYTES as u64 <= ZENOH_PAYLOAD_BYTES);
const _: () =
    assert!(2 * MAX_KEY_BYTES + MAX_CONTENT_TYPE_BYTES + MAX_ATTACHMENT_BYTES <= MESSAGE_OVERHEAD);

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";
/// Zenoh's encoding for a payload without a media type.
pub(super) const BYTES: &str = "zenoh/bytes";

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics inside Zenoh or its callbacks since the process started. After one, a session may have lost a peer permanently.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Runs a call into Zenoh, or a callback from it, and catches a panic: unwinding would drop a query, which enters Zenoh again, and a
/// second panic there aborts the process.
pub(super) fn catch_panic<T>(what: &str, call: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(call)).ok();
    if result.is_none() {
        PANICS.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("hotshoe_link_panics_total").increment(1);
        tracing::error!(
            what,
            "a panic inside Zenoh was caught; restart the daemon, and please report it"
        );
    }
    result
}

/// How a message is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QosClass {
    /// Results and statements.
    Data,
    /// Events, whose content is also in the status.
    DataLow,
    /// A command's messages to a device: the command waits until there is room.
    Blocking,
}

impl QosClass {
    const fn priority(self) -> Priority {
        match self {
            Self::Data | Self::Blocking => Priority::Data,
            Self::DataLow => Priority::DataLow,
        }
    }

    const fn congestion_control(self) -> CongestionControl {
        match self {
            Self::Data | Self::DataLow => CongestionControl::Drop,
            Self::Blocking => CongestionControl::Block,
        }
    }
}

/// A message whose fields are within their limits.
#[derive(Debug)]
pub(super) struct Outgoing {
    key: KeyExpr<'static>,
    payload: ZBytes,
    size: usize,
    encoding: Encoding,
    attachment: Option<ZBytes>,
}

impl Outgoing {
    /// Checks the lengths of a message.
    ///
    /// # Errors
    /// [`LinkError::TooLong`] and [`LinkError::Key`].
    pub(crate) fn new(
        key: &str,
        payload: impl Into<ZBytes>,
        content_type: &str,
    ) -> Result<Self, LinkError> {
        Self::to(&address(key)?, payload, content_type)
    }

    /// A message to a key that was parsed before.
    ///
    /// # Errors
    /// [`LinkError::TooLong`]
    pub(crate) fn to(
        key: &KeyExpr<'static>,
        payload: impl Into<ZBytes>,
        content_type: &str,
    ) -> Result<Self, LinkError> {
        let payload = payload.into();
        let size = payload.len();
        check_length("payload", size, MAX_MESSAGE_BYTES)?;
        check_length("content type", content_type.len(), MAX_CONTENT_TYPE_BYTES)?;
        Ok(Self {
            key: key.clone(),
            payload,
            size,
            encoding: Encoding::from(content_type),
            attachment: None,
        })
    }

    /// Adds an attachment: the id of a sample, or a signature.
    ///
    /// # Errors
    /// [`LinkError::TooLong`]
    pub(crate) fn with(mut self, attachment: Option<impl Into<ZBytes>>) -> Result<Self, LinkError> {
        self.attachment = checked_attachment(attachment)?;
        Ok(self)
    }

    /// The payload's size in bytes.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// Publishes it.
    ///
    /// # Errors
    /// [`LinkError::Use`] and [`LinkError::Panicked`].
    pub(crate) fn put(self, session: &Session, qos: QosClass) -> Result<(), LinkError> {
        let name = self.key.to_string();
        call(&name, || {
            session
                .put(self.key, self.payload)
                .encoding(self.encoding)
                .attachment(self.attachment)
                .priority(qos.priority())
                .congestion_control(qos.congestion_control())
                .wait()
        })
    }

    /// A query with this message, for [`send`] or [`replies`].
    pub(crate) fn ask(self, session: &Session, qos: QosClass) -> QueryBuilder<'_> {
        session
            .get(self.key)
            .payload(self.payload)
            .encoding(self.encoding)
            .attachment(self.attachment)
            .priority(qos.priority())
            .congestion_control(qos.congestion_control())
    }
}

/// A query without a payload, for [`send`] or [`replies`].
///
/// # Errors
/// [`LinkError::TooLong`] and [`LinkError::Key`].
pub(super) fn query_builder<'a>(
    session: &'a Session,
    key: &str,
    attachment: Option<&str>,
) -> Result<QueryBuilder<'a>, LinkError> {
    let attachment = checked_attachment(attachment)?;
    Ok(session
        .get(address(key)?)
        .attachment(attachment)
        .congestion_control(CongestionControl::Drop))
}

fn checked_attachment(attachment: Option<impl Into<ZBytes>>) -> Result<Option<ZBytes>, LinkError> {
    let attachment: Option<ZBytes> = attachment.map(Into::into);
    let bytes = attachment.as_ref().map_or(0, ZBytes::len);
    check_length("attachment", bytes, MAX_ATTACHMENT_BYTES)?;
    Ok(attachment)
}

/// A query that is not sent yet.
pub(super) type QueryBuilder<'a> = SessionGetBuilder<'a, 'static, DefaultHandler>;

/// Sends a query. `each` is called on Zenoh's threads and must not block.
///
/// # Errors
/// [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn send(
    key: &str,
    query_builder: QueryBuilder<'_>,
    each: impl Fn(&Reply) + Send + Sync + 'static,
) -> Result<(), LinkError> {
    let name = key.to_owned();
    let heard = move |reply: Reply| {
        catch_panic(&name, || each(&reply));
    };
    call(key, || query_builder.callback(heard).wait())
}

/// Sends a query and returns the channel of its replies.
///
/// # Errors
/// [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn replies(
    key: &str,
    query_builder: QueryBuilder<'_>,
) -> Result<FifoChannelHandler<Reply>, LinkError> {
    call(key, || query_builder.wait())
}

/// Queries the liveliness tokens.
///
/// # Errors
/// [`LinkError::Key`], [`LinkError::TooLong`], [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn tokens(
    session: &Session,
    key: &str,
    timeout: std::time::Duration,
) -> Result<FifoChannelHandler<Reply>, LinkError> {
    let address = address(key)?;
    call(key, || {
        session.liveliness().get(address).timeout(timeout).wait()
    })
}

/// Declares a liveliness token until it is dropped.
///
/// # Errors
/// [`LinkError::Key`], [`LinkError::TooLong`], [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn token(session: &Session, key: &str) -> Result<LivelinessToken, LinkError> {
    let address = address(key)?;
    call(key, || session.liveliness().declare_token(address).wait())
}

/// Subscribes to liveliness tokens, existing ones included. `each` is called on Zenoh's threads and must not block.
///
/// # Errors
/// [`LinkError::Key`], [`LinkError::TooLong`], [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn follow_tokens(
    session: &Session,
    key: &str,
    each: impl Fn(&Sample) + Send + Sync + 'static,
) -> Result<Subscriber<()>, LinkError> {
    let address = address(key)?;
    let heard = guarded(key, each);
    call(key, || {
        session
            .liveliness()
            .declare_subscriber(address)
            .history(true)
            .callback(heard)
            .wait()
    })
}

/// Subscribes to a key. `each` is called on Zenoh's threads and must not block.
///
/// # Errors
/// [`LinkError::Key`], [`LinkError::TooLong`], [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn subscribe(
    session: &Session,
    key: &str,
    each: impl Fn(&Sample) + Send + Sync + 'static,
) -> Result<Subscriber<()>, LinkError> {
    let address = address(key)?;
    let heard = guarded(key, each);
    call(key, || {
        session.declare_subscriber(address).callback(heard).wait()
    })
}

/// Puts each message under `from` back under `to`, with its attachment, on Zenoh's own threads: the baseline of benches.
///
/// # Errors
/// [`LinkError::Key`], [`LinkError::TooLong`], [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn echo(session: &Session, from: &str, to: &str) -> Result<Subscriber<()>, LinkError> {
    let (address, back) = (address(from)?, address(to)?);
    let publisher = call(to, || session.declare_publisher(back).wait())?;
    let heard = move |sample: Sample| {
        let message = publisher.put(sample.payload().clone());
        if let Err(error) = message.attachment(sample.attachment().cloned()).wait() {
            tracing::warn!(error, "cannot send a message back");
        }
    };
    call(from, || {
        session.declare_subscriber(address).callback(heard).wait()
    })
}

/// Subscribes to a key with a ring buffer of `capacity` messages.
///
/// # Errors
/// [`LinkError::Key`], [`LinkError::TooLong`], [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn collect(
    session: &Session,
    key: &str,
    capacity: usize,
) -> Result<Subscriber<RingChannelHandler<Sample>>, LinkError> {
    let address = address(key)?;
    let ring = RingChannel::new(capacity.max(1));
    call(key, || {
        session.declare_subscriber(address).with(ring).wait()
    })
}

/// Declares a queryable. `each` is called on Zenoh's threads and must not block.
///
/// # Errors
/// [`LinkError::Key`], [`LinkError::TooLong`], [`LinkError::Use`] and [`LinkError::Panicked`].
pub(super) fn answer_queries(
    session: &Session,
    key: &str,
    each: impl Fn(IncomingQuery) + Send + Sync + 'static,
) -> Result<Queryable<()>, LinkError> {
    let address = address(key)?;
    let name = key.to_owned();
    let heard = move |query: Query| {
        catch_panic(&name, || {
            let query = IncomingQuery {
                key: query.key_expr().clone(),
                query: Some(query),
            };
            if key_fits(&query.key) {
                each(query);
            }
        });
    };
    call(key, || {
        session.declare_queryable(address).callback(heard).wait()
    })
}

fn guarded(
    key: &str,
    each: impl Fn(&Sample) + Send + Sync + 'static,
) -> impl Fn(Sample) + Send + Sync + 'static {
    let name = key.to_owned();
    move |sample: Sample| {
        catch_panic(&name, || {
            if key_fits(sample.key_expr()) {
                each(&sample);
            }
        });
    }
}

/// Whether a message's key is short enough for a reply. A peer can produce keys of twice the length that Zenoh can encode, from a
/// declared part and a sent one.
fn key_fits(key: &KeyExpr<'_>) -> bool {
    let fits = key.as_str().len() <= MAX_KEY_BYTES;
    if !fits {
        metrics::counter!("hotshoe_link_long_keys_total").increment(1);
        tracing::debug!(
            bytes = key.as_str().len(),
            most = MAX_KEY_BYTES,
            "ignored a message whose key is too long"
        );
    }
    fits
}

/// A received query. Dropping the last clone ends it.
#[derive(Debug, Clone)]
pub(super) struct IncomingQuery {
    key: KeyExpr<'static>,
    /// `None` only during drop.
    query: Option<Query>,
}

impl IncomingQuery {
    /// The key of the query.
    pub(crate) const fn key(&self) -> &KeyExpr<'static> {
        &self.key
    }

    /// The payload's size in bytes.
    pub(crate) fn size(&self) -> usize {
        let payload = self.query.as_ref().and_then(Query::payload);
        payload.map_or(0, ZBytes::len)
    }

    /// The payload; empty if there is none.
    pub(crate) fn payload(&self) -> Cow<'_, [u8]> {
        let payload = self.query.as_ref().and_then(Query::payload);
        payload.map(ZBytes::to_bytes).unwrap_or_default()
    }

    /// The attachment.
    pub(crate) fn attachment(&self) -> Option<Cow<'_, [u8]>> {
        let attachment = self.query.as_ref().and_then(Query::attachment);
        attachment.map(ZBytes::to_bytes)
    }

    /// The payload's encoding.
    pub(crate) fn encoding(&self) -> Option<&Encoding> {
        self.query.as_ref().and_then(Query::encoding)
    }

    /// Sends one reply. Others may follow.
    ///
    /// # Errors
    /// [`LinkError::Use`] and [`LinkError::Panicked`].
    pub(crate) fn answer(&self, message: Outgoing) -> Result<(), LinkError> {
        let Some(query) = &self.query else {
            return Ok(());
        };
        call(&self.key, || {
            query
                .reply(message.key, message.payload)
                .encoding(message.encoding)
                .attachment(message.attachment)
                .wait()
        })
    }

    /// Sends an error reply.
    ///
    /// # Errors
    /// [`LinkError::TooLong`], [`LinkError::Use`] and [`LinkError::Panicked`].
    pub(crate) fn deny(&self, why: impl Into<ZBytes>, content_type: &str) -> Result<(), LinkError> {
        let why = Outgoing::new(&self.key, why, content_type)?;
        let Some(query) = &self.query else {
            return Ok(());
        };
        call(&self.key, || {
            query.reply_err(why.payload).encoding(why.encoding).wait()
        })
    }
}

impl Drop for IncomingQuery {
    fn drop(&mut self) {
        // Dropping the query sends its final reply.
        let query = self.query.take();
        catch_panic(&self.key, || drop(query));
    }
}

fn call<T>(key: &str, call: impl FnOnce() -> zenoh::Result<T>) -> Result<T, LinkError> {
    let key = || key.to_owned();
    match catch_panic(&key(), call) {
        Some(result) => result.map_err(|source| LinkError::Use { key: key(), source }),
        None => Err(LinkError::Panicked { key: key() }),
    }
}

/// Parses a key, and checks its length.
///
/// # Errors
/// [`LinkError::TooLong`] and [`LinkError::Key`].
pub(super) fn address(key: &str) -> Result<KeyExpr<'static>, LinkError> {
    check_length("key", key.len(), MAX_KEY_BYTES)?;
    KeyExpr::try_from(key.to_owned()).map_err(|source| LinkError::Key {
        key: key.to_owned(),
        source,
    })
}

/// Checks the length of a field.
///
/// # Errors
/// [`LinkError::TooLong`]
pub(super) fn check_length(what: &'static str, bytes: usize, most: usize) -> Result<(), LinkError> {
    (bytes <= most)
        .then_some(())
        .ok_or(LinkError::TooLong { what, bytes, most })
}
