//! A registry's own key: its status for those who ask, and a liveliness token with the id of this run, by which two registries of one
//! name notice each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotshoe_base::Clock;
use hotshoe_protocol::registry::RegistryStatus;
use parking_lot::Mutex;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, QueryTarget, Queryable};
use zenoh::sample::SampleKind;

use super::client::Client;
use super::outgoing::{self, JSON, Outgoing};
use super::site::{Site, last_part};
use super::{LinkError, root, warn_if_unanswered};

/// Most registries whose statuses one query collects.
const MAX_REGISTRIES: usize = 64;
/// Largest status of a registry, in bytes: 256 KiB.
const MAX_STATUS_BYTES: usize = 256 << 10;
/// Most other registries of the same name that are remembered.
const MAX_OTHERS: usize = 16;
/// Longest id of a run, in bytes.
const MAX_INSTANCE_BYTES: usize = 64;

/// Time for which another run must be present before it counts: longer than the lease of a lost session, which is 10 s.
const GRACE: Duration = Duration::from_secs(15);

/// The ids of other registries with the same name, each with the time when it was found.
#[derive(Debug, Clone, Default)]
pub struct OtherRegistries {
    clock: Clock,
    since: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl OtherRegistries {
    /// None yet.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            since: Arc::default(),
        }
    }

    /// Those that have been there for 15 s.
    pub fn ids(&self) -> Vec<String> {
        let since = self.since.lock();
        let stay = since
            .iter()
            .filter(|(_, since)| self.clock.elapsed(**since) >= GRACE);
        stay.map(|(id, _)| id.clone()).collect()
    }
}

/// Announces a registry until it is dropped.
#[derive(Debug)]
pub struct RegistryAnnouncement {
    _queryable: Queryable<()>,
    _follower: Subscriber<()>,
    _token: LivelinessToken,
}

impl Site {
    /// Answers queries for the status of the registry `name`, and announces the id `instance` of this run. `others` has the ids of other
    /// runs under the same name. `status` is called on Zenoh's threads and must not block.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn announce_registry(
        &self,
        name: &str,
        instance: &str,
        others: &OtherRegistries,
        status: impl Fn() -> RegistryStatus + Send + Sync + 'static,
    ) -> Result<RegistryAnnouncement, LinkError> {
        let key = self.key(&format!("@registry/{name}"));
        let (answered, send_queue) = (key.clone(), self.send_queue.clone());
        let queryable = outgoing::answer_queries(&self.session, &key, move |query| {
            let body = serde_json::to_vec(&status()).unwrap_or_default();
            if let Ok(message) = Outgoing::new(&answered, body, JSON) {
                warn_if_unanswered(send_queue.answer(query, vec![message]));
            }
        })?;
        let (own, name) = (instance.to_owned(), name.to_owned());
        let others = others.clone();
        let follower = outgoing::follow_tokens(
            &self.session,
            &format!("{key}/*"),
            move |sample| {
                let id = last_part(sample.key_expr());
                let Some(id) = id.filter(|id| *id != own && id.len() <= MAX_INSTANCE_BYTES) else {
                    return;
                };
                let mut since = others.since.lock();
                match sample.kind() {
                    SampleKind::Put if since.len() < MAX_OTHERS => {
                        tracing::warn!(
                            name,
                            own,
                            other = id,
                            "another registry of this site has the same name; give each its own name. For some seconds after a restart, this may be the previous run"
                        );
                        since.insert(id, others.clock.now());
                    }
                    SampleKind::Put => {}
                    SampleKind::Delete => drop(since.remove(&id)),
                }
            },
        )?;
        Ok(RegistryAnnouncement {
            _queryable: queryable,
            _follower: follower,
            _token: outgoing::token(&self.session, &format!("{key}/{instance}"))?,
        })
    }
}

impl Client {
    /// The statuses of a site's registries. Answers that are not a status of the key's registry are skipped. Registries of older versions
    /// do not answer.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn registries(
        &self,
        site: &str,
        timeout: Duration,
    ) -> Result<Vec<RegistryStatus>, LinkError> {
        let key = root(site, "@registry/*");
        let query_builder = outgoing::query_builder(&self.session, &key, None)?
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(timeout);
        let mut found = Vec::new();
        for reply in outgoing::replies(&key, query_builder)?.iter() {
            let Ok(sample) = reply.result() else {
                continue;
            };
            if sample.payload().len() > MAX_STATUS_BYTES || found.len() >= MAX_REGISTRIES {
                continue;
            }
            let status = serde_json::from_slice::<RegistryStatus>(&sample.payload().to_bytes());
            let name = last_part(sample.key_expr());
            found.extend(status.ok().filter(|status| {
                status.site == site && Some(status.name.as_str()) == name.as_deref()
            }));
        }
        Ok(found)
    }
}
