//! Plain Zenoh as the baseline of benches: one value under one key and a query for it, and an echo of messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_config::ZenohConfig;
use parking_lot::Mutex;
use zenoh::bytes::ZBytes;
use zenoh::key_expr::KeyExpr;
use zenoh::pubsub::Subscriber;
use zenoh::query::Queryable;
use zenoh::{Session, Wait};

use super::outgoing::{self, BYTES, Outgoing, QosClass};
use super::settings;
use super::{LinkError, warn_if_unanswered};

/// A plain Zenoh session.
#[derive(Debug)]
pub struct RawSession {
    session: Session,
}

/// A queryable that answers with one value. It is undeclared on drop.
#[derive(Debug)]
pub struct RawQueryable {
    value: Arc<Mutex<ZBytes>>,
    _queryable: Queryable<()>,
}

impl RawQueryable {
    /// Replaces the value.
    pub fn set(&self, bytes: Vec<u8>) {
        *self.value.lock() = ZBytes::from(bytes);
    }
}

/// A subscription. It is undeclared on drop.
#[derive(Debug)]
pub struct RawSubscription {
    _subscriber: Subscriber<()>,
}

/// Messages under one key.
#[derive(Debug)]
pub struct RawPublisher {
    session: Session,
    key: KeyExpr<'static>,
    payload: ZBytes,
}

impl RawPublisher {
    /// Puts the payload with this attachment. Waits for room.
    ///
    /// # Errors
    /// [`LinkError::TooLong`] and [`LinkError::Use`].
    pub fn put(&self, attachment: &str) -> Result<(), LinkError> {
        Outgoing::to(&self.key, self.payload.clone(), BYTES)?
            .with(Some(attachment))?
            .put(&self.session, QosClass::Blocking)
    }
}

impl RawSession {
    /// Opens a session with `config`.
    ///
    /// # Errors
    /// [`LinkError::Setting`] and [`LinkError::Open`].
    pub fn open(config: &ZenohConfig) -> Result<Self, LinkError> {
        let session = settings::open(config)?;
        Ok(Self { session })
    }

    /// Answers every query for `key` with these bytes.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn serve(&self, key: &str, bytes: Vec<u8>) -> Result<RawQueryable, LinkError> {
        let name = key.to_owned();
        let value = Arc::new(Mutex::new(ZBytes::from(bytes)));
        let held = Arc::clone(&value);
        let queryable = outgoing::answer_queries(&self.session, key, move |query| {
            let value = held.lock().clone();
            let answer = Outgoing::new(&name, value, BYTES);
            warn_if_unanswered(answer.and_then(|answer| query.answer(answer)));
        })?;
        Ok(RawQueryable {
            value,
            _queryable: queryable,
        })
    }

    /// Waits until the value can be queried: a declaration takes some time to propagate. False after `deadline`.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn find(&self, key: &str, deadline: Duration) -> Result<bool, LinkError> {
        let started = Instant::now();
        while started.elapsed() < deadline {
            if self.get(key, deadline, |_| ())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Queries the value and passes it to `read`. `None` without an answer in time.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn get<T>(
        &self,
        key: &str,
        timeout: Duration,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, LinkError> {
        let query_builder = outgoing::query_builder(&self.session, key, None)?.timeout(timeout);
        let replies = outgoing::replies(key, query_builder)?;
        let value = replies.iter().find_map(|reply| reply.into_result().ok());
        Ok(value.map(|sample| read(&sample.payload().to_bytes())))
    }

    /// Puts each message under `from` back under `to`, with its attachment.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn echo(&self, from: &str, to: &str) -> Result<RawSubscription, LinkError> {
        let subscriber = outgoing::echo(&self.session, from, to)?;
        Ok(RawSubscription {
            _subscriber: subscriber,
        })
    }

    /// Passes the attachment of each message under `key` to `each`, which must not block.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn listen(
        &self,
        key: &str,
        each: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<RawSubscription, LinkError> {
        let subscriber = outgoing::subscribe(&self.session, key, move |sample| {
            each(
                &sample
                    .attachment()
                    .map(ZBytes::to_bytes)
                    .unwrap_or_default(),
            );
        })?;
        Ok(RawSubscription {
            _subscriber: subscriber,
        })
    }

    /// Messages with one payload under one key.
    ///
    /// # Errors
    /// [`LinkError::Key`]
    pub fn publisher(&self, key: &str, payload: Vec<u8>) -> Result<RawPublisher, LinkError> {
        Ok(RawPublisher {
            session: self.session.clone(),
            key: outgoing::address(key)?,
            payload: ZBytes::from(payload),
        })
    }

    /// Closes the session.
    pub fn close(self) {
        if let Err(error) = self.session.close().wait() {
            tracing::debug!(%error, "the session did not close cleanly");
        }
    }
}
