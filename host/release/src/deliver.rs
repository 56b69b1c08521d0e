//! Publishing releases to one device and following their progress.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_config::ZenohConfig;
use hotshoe_delivery::Publisher;
use hotshoe_link::Client;
use hotshoe_link::Events;
use hotshoe_protocol::status::DeployEvent;
use hotshoe_protocol::status::Status;
use hotshoe_store::{Cause, Layout, Phase};
use hotshoe_trust::{DeviceSelector, Digest, Envelope, Order, Release, Statement, Time};

use crate::period::after;

/// How long a statement is valid.
const LIFETIME: &str = "1d";
/// Capacity of the event queue. On overflow the oldest events are lost; querying the status compensates for that.
const EVENTS: usize = 4096;
/// After this time without an event, the status of the device is queried.
const PATIENCE: Duration = Duration::from_millis(500);
/// Timeout of a status query.
const ANSWER: Duration = Duration::from_secs(5);

/// Publishes releases to one device.
pub struct Deployer {
    publisher: Publisher,
    events: Events,
    site: String,
    device: String,
}

/// A release that was published.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// The digest of its manifest.
    pub release: Digest,
    /// When publishing began.
    pub at: Instant,
    /// Bytes that this publisher had sent by then.
    sent: u64,
}

/// A phase of a release that a device reported.
#[derive(Debug, Clone)]
pub struct Step {
    /// The reported phase.
    pub phase: Phase,
    /// Why it ended in this phase.
    pub cause: Option<Cause>,
    /// When the report arrived.
    pub at: Instant,
}

impl Deployer {
    /// Connects to the device with the configuration `zenoh`.
    pub fn open(zenoh: &ZenohConfig, site: &str, device: &str) -> anyhow::Result<Self> {
        let publisher = Publisher::open(zenoh, site).context("cannot publish")?;
        let events = publisher.client().events(site, Some(device), EVENTS)?;
        Ok(Self {
            publisher,
            events,
            site: site.to_owned(),
            device: device.to_owned(),
        })
    }

    /// The publisher's own session.
    pub fn client(&self) -> &Client {
        self.publisher.client()
    }

    /// Serves the release in a folder, and states that the device should run it.
    pub fn publish(&mut self, layout: &Path, release: &Release) -> anyhow::Result<Published> {
        let (at, sent) = (Instant::now(), self.publisher.sent());
        let served = self.publisher.serve(&Layout::open(layout)?)?;
        let issued = Time::now();
        let statement = Statement {
            site: self.site.clone(),
            devices: DeviceSelector {
                names: vec![self.device.clone()],
                ..DeviceSelector::default()
            },
            order: Order::Deploy {
                release: served.release,
                name: release.name.clone(),
                generation: release.generation,
                bundles: served.bundles,
                activate: true,
            },
            issued,
            expires: after(issued, LIFETIME)?,
        };
        let envelope = Envelope::new(&statement)?.to_bytes();
        self.publisher.publish_statement(&release.name, envelope)?;
        Ok(Published {
            release: served.release,
            at,
            sent,
        })
    }

    /// Bytes sent since a release was published.
    pub fn sent_since(&self, published: &Published) -> u64 {
        self.publisher.sent().saturating_sub(published.sent)
    }

    /// Passes each reported step of a release to `last`, until `last` returns true.
    pub fn follow(
        &self,
        published: &Published,
        deadline: Duration,
        mut last: impl FnMut(&Step) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Step> {
        let started = Instant::now();
        let mut last_phase = None;
        while started.elapsed() < deadline {
            let step = match self.events.next(PATIENCE) {
                Some(event) => self.step(published.release, event),
                None => self.asked(published.release)?,
            };
            let Some(step) = step else {
                continue;
            };
            if last(&step)? {
                return Ok(step);
            }
            last_phase = Some(step.phase);
        }
        let phase = last_phase.map_or_else(|| "none".to_owned(), |phase| phase.to_string());
        bail!(
            "the device did not finish {} within {} s; its last reported phase is {phase}",
            published.release,
            deadline.as_secs()
        )
    }

    fn step(&self, release: Digest, event: serde_json::Value) -> Option<Step> {
        let event: DeployEvent = serde_json::from_value(event).ok()?;
        (event.release == release && event.device == self.device).then(|| Step {
            phase: event.phase,
            cause: event.cause,
            at: Instant::now(),
        })
    }

    fn asked(&self, release: Digest) -> anyhow::Result<Option<Step>> {
        let deploy = self.status()?.deploy;
        Ok((deploy.release == Some(release)).then(|| Step {
            phase: deploy.phase,
            cause: deploy.cause,
            at: Instant::now(),
        }))
    }

    /// The device's status.
    pub fn status(&self) -> anyhow::Result<Status> {
        self.client()
            .statuses(Some(&self.site), Some(&self.device), ANSWER)?
            .pop()
            .context("the device did not report its status")
    }

    /// Withdraws everything that was published.
    pub fn close(self) {
        drop(self.events);
        self.publisher.close();
    }
}
