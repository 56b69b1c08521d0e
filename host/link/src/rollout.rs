//! Rollouts: reports of devices, under the key `rollout` of each, and counts of registries, under `@rollout-count/<registry>` of a site.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hotshoe_protocol::rollout::{DeviceReport, MAX_REPORT_BYTES, StatedRollout};
use hotshoe_rollout::{Count, MAX_COUNT_BYTES};
use hotshoe_trust::{PayloadKind, SigningKey};
use parking_lot::Mutex;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, QueryTarget, Queryable};
use zenoh::sample::Sample;

use super::client::Client;
use super::device_message::{DeviceMessage, Signer};
use super::outgoing::{self, JSON, Outgoing, QosClass};
use super::send_queue::SendQueue;
use super::site::{MAX_STATEMENT_MESSAGE, Notice, Site};
use super::{Link, LinkError, root, warn_if_unanswered};

/// The part of a device's keys.
const ROLLOUT: &str = "rollout";
/// The part of a site's keys.
const COUNTS: &str = "@rollout-count";
/// The same, for rollouts whose place others took.
const PAST: &str = "@rollout-past";
/// Most answers that one query collects.
const MAX_ANSWERS: usize = 4_096;

/// The last count of each release name, with its signature.
type LastCounts = Arc<Mutex<BTreeMap<String, (Vec<u8>, Option<Vec<u8>>)>>>;

/// A count with the signature of its registry. It is only claimed until [`DeviceMessage::check`] succeeds, with a list that has the key of
/// the registry under its name.
pub type SignedCount = DeviceMessage<Count>;

/// A subscription to the reports of the devices of a site.
#[derive(Debug)]
pub struct ReportSubscription {
    _subscriber: Subscriber<()>,
}

/// A subscription to the counts of registries.
#[derive(Debug)]
pub struct CountSubscription {
    _subscriber: Subscriber<()>,
}

/// A subscription to the rollouts of sites.
#[derive(Debug)]
pub struct StatedSubscription {
    _subscriber: Subscriber<()>,
}

/// Answers queries for past rollouts until it is dropped.
#[derive(Debug)]
pub struct PastResponder {
    _queryable: Queryable<()>,
}

/// Publishes the counts of a registry, and answers queries for them until it is dropped.
#[derive(Debug)]
pub struct CountAnnouncement {
    send_queue: SendQueue,
    signer: Signer,
    key: String,
    last: LastCounts,
    _queryable: Queryable<()>,
}

impl Link {
    /// Publishes a report about a rollout, signed if the device has a key. It may be lost under congestion; the next one has the same data.
    ///
    /// # Errors
    /// [`LinkError::TooLong`] and [`LinkError::Full`].
    pub fn publish_rollout_report(&self, report: &DeviceReport) -> Result<(), LinkError> {
        let key = format!("{}/{ROLLOUT}", self.root);
        let body = serde_json::to_vec(report).unwrap_or_default();
        let signature = self.signer.sign(PayloadKind::RolloutReport, &[], &body);
        let message = Outgoing::new(&key, body, JSON)?.with(signature)?;
        self.site.send_queue.put(message, QosClass::DataLow)
    }
}

impl Site {
    /// Subscribes to the reports of all devices. `each` is called on Zenoh's threads and must not block; it checks the signature.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn follow_rollout_reports(
        &self,
        each: impl Fn(DeviceMessage<DeviceReport>) + Send + Sync + 'static,
    ) -> Result<ReportSubscription, LinkError> {
        let key = self.key(&format!("*/{ROLLOUT}"));
        let subscriber = outgoing::subscribe(&self.session, &key, move |sample| {
            let size = sample.payload().len() as u64;
            let said = (size <= MAX_REPORT_BYTES)
                .then(|| DeviceMessage::read(sample, PayloadKind::RolloutReport, &[], |_| None));
            if let Some(said) = said.flatten() {
                each(said);
            }
        })?;
        Ok(ReportSubscription {
            _subscriber: subscriber,
        })
    }

    /// Answers queries for the rollouts that the registry `name` keeps although others took their place. `said` is called on Zenoh's threads
    /// and must not block.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn answer_past_rollouts(
        &self,
        name: &str,
        said: impl Fn() -> Vec<StatedRollout> + Send + Sync + 'static,
    ) -> Result<PastResponder, LinkError> {
        let key = self.key(&format!("{PAST}/{name}"));
        let (answered, send_queue) = (key.clone(), self.send_queue.clone());
        let queryable = outgoing::answer_queries(&self.session, &key, move |query| {
            let messages = said().into_iter().filter_map(|stated| {
                let message = Outgoing::new(&answered, stated.to_bytes(), JSON);
                message.ok()
            });
            let messages = messages.collect();
            warn_if_unanswered(send_queue.answer(query, messages));
        })?;
        Ok(PastResponder {
            _queryable: queryable,
        })
    }

    /// Announces the counts of the registry `name`, which `signing_key` signs.
    ///
    /// # Errors
    /// [`LinkError::Use`].
    pub fn announce_counts(
        &self,
        name: &str,
        signing_key: Option<SigningKey>,
    ) -> Result<CountAnnouncement, LinkError> {
        let key = self.key(&format!("{COUNTS}/{name}"));
        let last = LastCounts::default();
        let (answered, send_queue) = (key.clone(), self.send_queue.clone());
        let known = Arc::clone(&last);
        let queryable = outgoing::answer_queries(&self.session, &key, move |query| {
            let counts = known.lock();
            let messages = counts.values().filter_map(|(body, signature)| {
                let message = Outgoing::new(&answered, body.clone(), JSON).ok()?;
                message.with(signature.clone()).ok()
            });
            let messages = messages.collect();
            drop(counts);
            warn_if_unanswered(send_queue.answer(query, messages));
        })?;
        Ok(CountAnnouncement {
            send_queue: self.send_queue.clone(),
            signer: Signer {
                site: self.name().to_owned(),
                device: name.to_owned(),
                key: signing_key.map(Arc::new),
            },
            key,
            last,
            _queryable: queryable,
        })
    }
}

impl CountAnnouncement {
    /// Publishes the count of the rollout of the release `name`, and answers later queries with it.
    ///
    /// # Errors
    /// [`LinkError::TooLong`] and [`LinkError::Full`].
    pub fn publish(&self, name: &str, count: &Count) -> Result<(), LinkError> {
        let body = serde_json::to_vec(count).unwrap_or_default();
        let signature = self.signer.sign(PayloadKind::RolloutCount, &[], &body);
        let message = Outgoing::new(&self.key, body.clone(), JSON)?.with(signature.clone())?;
        self.last.lock().insert(name.to_owned(), (body, signature));
        self.send_queue.put(message, QosClass::Data)
    }

    /// Answers no longer with the counts of releases for which this is not true.
    pub fn retain(&self, mut keep: impl FnMut(&str) -> bool) {
        self.last.lock().retain(|name, _| keep(name));
    }
}

/// The count in a message. It names the site and the registry of its key.
fn count_of(sample: &Sample) -> Option<SignedCount> {
    if sample.payload().len() as u64 > MAX_COUNT_BYTES {
        return None;
    }
    let key = sample.key_expr().as_str();
    let registry = key.rsplit('/').next()?.to_owned();
    let named: DeviceMessage<Count> =
        DeviceMessage::read(sample, PayloadKind::RolloutCount, &[], |_| None)?;
    // The key has the part of the counts where that of a device has its name.
    let said = named.of(registry);
    (said.value.site == said.site && said.value.registry == said.device).then_some(said)
}

impl Client {
    /// Subscribes to the counts of the registries of a site; `None` is all sites. `each` is called on Zenoh's threads and must not block.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn follow_rollout_counts(
        &self,
        site: Option<&str>,
        each: impl Fn(SignedCount) + Send + Sync + 'static,
    ) -> Result<CountSubscription, LinkError> {
        let key = root(site.unwrap_or("*"), &format!("{COUNTS}/*"));
        let subscriber = outgoing::subscribe(&self.session, &key, move |sample| {
            if let Some(count) = count_of(sample) {
                each(count);
            }
        })?;
        Ok(CountSubscription {
            _subscriber: subscriber,
        })
    }

    /// The last counts of the registries of a site; `None` is all sites.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn rollout_counts(
        &self,
        site: Option<&str>,
        timeout: Duration,
    ) -> Result<Vec<SignedCount>, LinkError> {
        let key = root(site.unwrap_or("*"), &format!("{COUNTS}/*"));
        let mut found = Vec::new();
        self.each_answer(&key, timeout, |sample| found.extend(count_of(sample)))?;
        Ok(found)
    }

    /// The rollouts that the registries of a site answer, with the site of each; `None` is all sites, and all release names. They are not
    /// verified.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn stated_rollouts(
        &self,
        site: Option<&str>,
        name: Option<&str>,
        timeout: Duration,
    ) -> Result<Vec<(String, StatedRollout)>, LinkError> {
        let key = root(
            site.unwrap_or("*"),
            &format!("@rollout/{}", name.unwrap_or("*")),
        );
        let mut found = Vec::new();
        self.each_answer(&key, timeout, |sample| found.extend(stated_of(sample)))?;
        Ok(found)
    }

    /// The rollouts that the registries of a site keep although others took their place. They are not verified.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn past_rollouts(
        &self,
        site: &str,
        timeout: Duration,
    ) -> Result<Vec<StatedRollout>, LinkError> {
        let key = root(site, &format!("{PAST}/*"));
        let mut found = Vec::new();
        self.each_answer(&key, timeout, |sample| {
            found.extend(stated_of(sample).map(|(_, stated)| stated));
        })?;
        Ok(found)
    }

    /// Subscribes to what is stated about rollouts of the release `name` at a site. `each` is called on Zenoh's threads and must not block.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn follow_rollouts(
        &self,
        site: &str,
        name: &str,
        each: impl Fn(StatedRollout) + Send + Sync + 'static,
    ) -> Result<StatedSubscription, LinkError> {
        let key = root(site, &format!("@rollout/{name}"));
        let subscriber = outgoing::subscribe(&self.session, &key, move |sample| {
            if let Some((_, stated)) = stated_of(sample) {
                each(stated);
            }
        })?;
        Ok(StatedSubscription {
            _subscriber: subscriber,
        })
    }

    /// Publishes a rollout to the current subscribers of a site. Registries store it.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn publish_rollout(
        &self,
        site: &str,
        name: &str,
        stated: &StatedRollout,
    ) -> Result<(), LinkError> {
        Site::of(self.session.clone(), site).publish(Notice::Rollout, name, &stated.to_bytes())
    }

    fn each_answer(
        &self,
        key: &str,
        timeout: Duration,
        mut each: impl FnMut(&Sample),
    ) -> Result<(), LinkError> {
        let query_builder = outgoing::query_builder(&self.session, key, None)?
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(timeout);
        let replies = outgoing::replies(key, query_builder)?;
        for reply in replies.iter().take(MAX_ANSWERS) {
            if let Ok(sample) = reply.result() {
                each(sample);
            }
        }
        Ok(())
    }
}

/// What a message states, with the site in its key.
fn stated_of(sample: &Sample) -> Option<(String, StatedRollout)> {
    if sample.payload().len() > MAX_STATEMENT_MESSAGE {
        return None;
    }
    let site = sample.key_expr().as_str().split('/').nth(1)?.to_owned();
    let stated = StatedRollout::parse(&sample.payload().to_bytes()).ok()?;
    Some((site, stated))
}
