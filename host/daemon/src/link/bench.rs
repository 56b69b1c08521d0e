//! Plain Zenoh, for benches to measure against: one value under one key, and a query for it.

use std::time::Duration;

use zenoh::bytes::ZBytes;
use zenoh::query::Queryable;
use zenoh::{Session, Wait};

use super::settings::settings;
use super::{LinkError, owned_key, warn_unanswered};
use crate::config::ZenohConfig;

/// A session and nothing else.
#[derive(Debug)]
pub struct Raw {
    session: Session,
}

/// Answers for a value, until it is dropped.
#[derive(Debug)]
pub struct RawValue {
    _queryable: Queryable<()>,
}

impl Raw {
    /// Opens a session as `config` says.
    ///
    /// # Errors
    /// [`LinkError::Setting`] and [`LinkError::Open`].
    pub fn open(config: &ZenohConfig) -> Result<Self, LinkError> {
        let session = zenoh::open(settings(config)?)
            .wait()
            .map_err(|source| LinkError::Open {
                listen: config.listen.clone(),
                source,
            })?;
        Ok(Self { session })
    }

    /// Answers every query for `key` with these bytes.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn serve(&self, key: &str, bytes: Vec<u8>) -> Result<RawValue, LinkError> {
        let (name, value) = (owned_key(key)?, ZBytes::from(bytes));
        let queryable = self
            .session
            .declare_queryable(name.clone())
            .callback(move |query| {
                warn_unanswered(query.reply(name.clone(), value.clone()).wait());
            })
            .wait()
            .map_err(|source| LinkError::Use {
                key: key.to_owned(),
                source,
            })?;
        Ok(RawValue {
            _queryable: queryable,
        })
    }

    /// Asks for the value and hands it to `read`. None where nobody answered in time.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn get<T>(
        &self,
        key: &str,
        timeout: Duration,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Result<Option<T>, LinkError> {
        let replies = self
            .session
            .get(owned_key(key)?)
            .timeout(timeout)
            .wait()
            .map_err(|source| LinkError::Use {
                key: key.to_owned(),
                source,
            })?;
        let value = replies.iter().find_map(|reply| reply.into_result().ok());
        Ok(value.map(|sample| read(&sample.payload().to_bytes())))
    }

    /// Closes the session.
    pub fn close(self) {
        if let Err(error) = self.session.close().wait() {
            tracing::debug!(%error, "the session did not close cleanly");
        }
    }
}
