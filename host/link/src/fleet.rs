//! A deployer's operations on the devices of a site.

use std::collections::BTreeSet;
use std::time::Duration;

use hotshoe_protocol::status::DeployEvent;
use hotshoe_trust::{Digest, PayloadKind};
use serde_json::Value;
use zenoh::handlers::RingChannelHandler;
use zenoh::pubsub::Subscriber;
use zenoh::query::{ConsolidationMode, QueryTarget};
use zenoh::sample::Sample;

use super::client::Client;
use super::device::{RECORD, SHARED_DATA};
use super::device_message::DeviceMessage;
use super::outgoing::{self, JSON, Outgoing, QosClass};
use super::site::{Notice, Site};
use super::{LinkError, root};
use crate::device_list::{DeviceList, Unproven};

/// Most devices that are listed.
pub(crate) const MAX_DEVICES: usize = 4_096;

/// A device's site and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceKey {
    /// The site.
    pub site: String,
    /// The device.
    pub device: String,
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The device did not answer in time, or is not there.
    #[error("device `{device}` of site `{site}` did not answer; see `hotshoe status`")]
    NoReply {
        /// The site.
        site: String,
        /// The device.
        device: String,
    },
    /// The device refused it: JSON with `name` and `message`.
    #[error("device `{device}` refused: {}", .said["message"].as_str().unwrap_or("without a reason"))]
    Refused {
        /// The device.
        device: String,
        /// Its answer.
        said: Value,
    },
    /// There were answers, but none that the device signed.
    #[error("the answer for device `{device}` of site `{site}` cannot be verified: {why}")]
    Unproven {
        /// The site.
        site: String,
        /// The device.
        device: String,
        /// Why not.
        why: Unproven,
    },
    /// Zenoh refused.
    #[error(transparent)]
    Link(#[from] LinkError),
}

impl OrderError {
    /// The stable name, in snake case.
    pub fn name(&self) -> &str {
        match self {
            Self::NoReply { .. } => "no_reply",
            Self::Unproven { why, .. } => why.name(),
            Self::Refused { said, .. } => said["name"].as_str().unwrap_or("refused"),
            Self::Link(error) => error.name(),
        }
    }
}

/// A subscription to the deploy events of devices.
#[derive(Debug)]
pub struct Events {
    subscriber: Subscriber<RingChannelHandler<Sample>>,
}

impl Events {
    /// The next event; `None` after `timeout`, or when the session is closed. An event that is not JSON is null.
    pub fn next(&self, timeout: Duration) -> Option<Value> {
        let sample = self.subscriber.handler().recv_timeout(timeout).ok()??;
        Some(serde_json::from_slice(&sample.payload().to_bytes()).unwrap_or_default())
    }

    /// The next event with its signature; `None` after `timeout`, when the session is closed, or if the message is not a deploy event.
    pub fn next_message(&self, timeout: Duration) -> Option<DeviceMessage<DeployEvent>> {
        let sample = self.subscriber.handler().recv_timeout(timeout).ok()??;
        DeviceMessage::read(&sample, PayloadKind::Event, &[], |event: &DeployEvent| {
            Some((event.site.as_str(), event.device.as_str()))
        })
    }
}

impl Client {
    /// The devices of a site, or of all sites, that are alive.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn devices(
        &self,
        site: Option<&str>,
        timeout: Duration,
    ) -> Result<Vec<DeviceKey>, LinkError> {
        let key = format!("{}/alive", root(site.unwrap_or("*"), "*"));
        let mut devices = BTreeSet::new();
        let mut left_out = 0_u64;
        for reply in outgoing::tokens(&self.session, &key, timeout)?.iter() {
            let Ok(sample) = reply.into_result() else {
                continue;
            };
            let mut parts = sample.key_expr().as_str().split('/').skip(1);
            if let (Some(site), Some(device)) = (parts.next(), parts.next()) {
                let found = DeviceKey {
                    site: site.to_owned(),
                    device: device.to_owned(),
                };
                if devices.len() < MAX_DEVICES {
                    devices.insert(found);
                } else if !devices.contains(&found) {
                    left_out += 1;
                }
            }
        }
        if left_out > 0 {
            tracing::error!(
                left_out,
                most = MAX_DEVICES,
                "more devices are alive than can be listed; name a single device"
            );
        }
        Ok(devices.into_iter().collect())
    }

    /// Subscribes to the deploy events of one device or of all devices of a site. Beyond `capacity` unread events, the oldest are lost.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn events(
        &self,
        site: &str,
        device: Option<&str>,
        capacity: usize,
    ) -> Result<Events, LinkError> {
        let key = format!("{}/event", root(site, device.unwrap_or("*")));
        let subscriber = outgoing::collect(&self.session, &key, capacity)?;
        Ok(Events { subscriber })
    }

    /// Sends one device an order, the bytes of a statement's envelope, and returns the answer. Its signature is not checked.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn order(
        &self,
        site: &str,
        device: &str,
        envelope: &[u8],
        timeout: Duration,
    ) -> Result<Value, OrderError> {
        self.order_with(site, device, envelope, timeout, None)
    }

    /// Like [`Self::order`], but with a list the answer must be signed by the device.
    ///
    /// # Errors
    /// [`OrderError`]; [`OrderError::Unproven`] if there were answers, but none that the device signed.
    pub fn order_with(
        &self,
        site: &str,
        device: &str,
        envelope: &[u8],
        timeout: Duration,
        list: Option<&DeviceList>,
    ) -> Result<Value, OrderError> {
        self.signed_answer(site, device, "order", envelope, timeout, list)
    }

    /// Sends one device a request about its shared data, and returns the answer. With a list it must be signed by the device.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn shared_data(
        &self,
        site: &str,
        device: &str,
        request: &[u8],
        timeout: Duration,
        list: Option<&DeviceList>,
    ) -> Result<Value, OrderError> {
        self.signed_answer(site, device, SHARED_DATA, request, timeout, list)
    }

    fn signed_answer(
        &self,
        site: &str,
        device: &str,
        part: &str,
        request: &[u8],
        timeout: Duration,
        list: Option<&DeviceList>,
    ) -> Result<Value, OrderError> {
        let context = *Digest::of(request).bytes();
        let read = |sample: &Sample| {
            let said: DeviceMessage<Value> =
                DeviceMessage::read(sample, PayloadKind::Answer, &context, |_| None)?;
            match said.check(list) {
                Ok(()) | Err(Unproven::NoList) => Some(Ok(said.value)),
                Err(why) => Some(Err(why)),
            }
        };
        self.ask(site, device, part, request, timeout, read)
    }

    /// Sends one device a recorder's request as JSON. The answer is JSON, or bytes of a file.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn record(
        &self,
        site: &str,
        device: &str,
        request: &[u8],
        timeout: Duration,
    ) -> Result<Vec<u8>, OrderError> {
        let read = |sample: &Sample| Some(Ok(sample.payload().to_bytes().into_owned()));
        self.ask(site, device, RECORD, request, timeout, read)
    }

    /// Returns the first answer that `read` accepts.
    fn ask<T>(
        &self,
        site: &str,
        device: &str,
        part: &str,
        payload: &[u8],
        timeout: Duration,
        read: impl Fn(&Sample) -> Option<Result<T, Unproven>>,
    ) -> Result<T, OrderError> {
        let key = format!("{}/{part}", root(site, device));
        let query_builder = Outgoing::new(&key, payload, JSON)?
            .ask(&self.session, QosClass::Blocking)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(timeout);
        let replies = outgoing::replies(&key, query_builder)?;
        let (mut refused, mut unproven) = (None, None);
        for reply in replies {
            match reply.into_result() {
                // A reply under a wildcard key.
                Ok(sample) if sample.key_expr().as_str() != key => {}
                Ok(sample) => match read(&sample) {
                    Some(Ok(answer)) => return Ok(answer),
                    Some(Err(why)) => unproven = Some(why),
                    None => {}
                },
                // Zenoh's own errors, such as a timeout, are not JSON objects.
                Err(error) => {
                    let said = serde_json::from_slice::<Value>(&error.payload().to_bytes());
                    refused = said.ok().filter(Value::is_object).or(refused);
                }
            }
        }
        let (site, device) = (site.to_owned(), device.to_owned());
        Err(match (refused, unproven) {
            (Some(said), _) => OrderError::Refused { device, said },
            (None, Some(why)) => OrderError::Unproven { site, device, why },
            (None, None) => OrderError::NoReply { site, device },
        })
    }

    /// Publishes a statement, the bytes of its envelope, to current subscribers. Registries store it.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn publish_statement(
        &self,
        site: &str,
        name: &str,
        envelope: &[u8],
    ) -> Result<(), LinkError> {
        Site::of(self.session.clone(), site).publish(Notice::Desired, name, envelope)
    }

    /// Publishes a new `trust.toml` to current subscribers. Registries store it.
    ///
    /// # Errors
    /// [`LinkError::Key`] and [`LinkError::Use`].
    pub fn update_trust(&self, site: &str, update: &[u8]) -> Result<(), LinkError> {
        Site::of(self.session.clone(), site).publish(Notice::Trust, "", update)
    }
}
