//! Many devices of one site behind a registry that routes, with and without sharing among neighbours.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_config::ZenohConfig;
use hotshoe_config::ZenohMode;
use hotshoe_delivery::Publisher;
use hotshoe_delivery::registry::{Registry, RegistryConfig};
use hotshoe_link::Client;
use hotshoe_link::Events;
use hotshoe_protocol::status::{DeployEvent, Status};
use hotshoe_store::{Layout, Phase, SharedRelease};
use hotshoe_trust::{DeviceSelector, Digest, Envelope, Order, Statement, Time};

use super::report::{Row, Unit};
use super::setup::{BenchSetup, PackedRelease, TRUST};
use hotshoe_release::daemon_process::{DaemonProcess, free_endpoint};
use hotshoe_release::period::after;

/// The site of all devices.
const SITE: &str = "bench";
/// Timeout until the registry has the release, and until all devices have it.
const DEADLINE: Duration = Duration::from_secs(120);
/// Highest accepted ratio of the time with sharing to that without.
const SHARED_TARGET: f64 = 1.0;
/// Capacity of the event queue.
const EVENTS: usize = 65_536;
/// After this time without an event, the status of the devices is queried.
const PATIENCE: Duration = Duration::from_secs(1);

/// A registry that has the release, with its endpoint.
struct Testbed<'a> {
    setup: &'a BenchSetup<'a>,
    registry: Registry,
    endpoint: String,
    packed: &'a PackedRelease,
    served: SharedRelease,
}

/// The result for all devices together.
struct Outcome {
    /// Bytes that the registry sent.
    origin: u64,
    /// The time until the last device had everything.
    elapsed: Duration,
}

/// Measures both modes one after the other, each with new devices.
pub(crate) fn measure(
    setup: &BenchSetup<'_>,
    packed: &PackedRelease,
    devices: usize,
) -> anyhow::Result<Vec<Row>> {
    let endpoint = free_endpoint()?;
    let registry = Registry::start(&RegistryConfig {
        data: setup.folder().join("registry"),
        trust: setup.folder().join(TRUST),
        zenoh: ZenohConfig {
            mode: ZenohMode::Router,
            listen: vec![endpoint.clone()],
            ..ZenohConfig::default()
        },
        ..RegistryConfig::new(SITE, "bench")
    })?;
    let served = publish_to(&registry, packed, &endpoint)?;
    let testbed = Testbed {
        setup,
        registry,
        endpoint,
        packed,
        served,
    };
    let alone = testbed.fetch_all(devices, false)?;
    let shared = testbed.fetch_all(devices, true)?;
    testbed.registry.stop();
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    Ok(vec![
        Row::compared(
            &format!("{devices} devices: the registry sent, shared"),
            Unit::Megabytes,
            megabytes(shared.origin),
            ("not shared", megabytes(alone.origin)),
            None,
        ),
        Row::compared(
            &format!("{devices} devices: until all have it, shared"),
            Unit::Millis,
            micros(shared.elapsed),
            ("not shared", micros(alone.elapsed)),
            Some(SHARED_TARGET),
        ),
    ])
}

fn client_config(endpoint: &str) -> ZenohConfig {
    ZenohConfig {
        mode: ZenohMode::Client,
        connect: vec![endpoint.to_owned()],
        ..ZenohConfig::default()
    }
}

/// Publishes to the registry, which then serves the release without the publisher. No device is selected yet.
fn publish_to(
    registry: &Registry,
    packed: &PackedRelease,
    endpoint: &str,
) -> anyhow::Result<SharedRelease> {
    let mut publisher = Publisher::open(&client_config(endpoint), SITE)?;
    let served = publisher.serve(&Layout::open(&packed.layout)?)?;
    let statement = statement(packed, &served, &["nobody".to_owned()])?;
    publisher.publish_statement(&packed.release.name, statement)?;
    let has = registry.wait_for(served.release, DEADLINE);
    publisher.close();
    ensure!(has, "the registry did not fetch the release");
    Ok(served)
}

fn statement(
    packed: &PackedRelease,
    served: &SharedRelease,
    devices: &[String],
) -> anyhow::Result<Vec<u8>> {
    let issued = Time::now();
    let statement = Statement {
        site: SITE.to_owned(),
        devices: DeviceSelector {
            names: devices.to_vec(),
            ..DeviceSelector::default()
        },
        order: Order::Deploy {
            release: served.release,
            name: packed.release.name.clone(),
            generation: packed.release.generation,
            bundles: served.bundles.clone(),
            activate: true,
        },
        issued,
        expires: after(issued, "1d")?,
    };
    Ok(Envelope::new(&statement)?.to_bytes())
}

impl Testbed<'_> {
    /// Starts new devices, which all get the statement at the same time.
    fn fetch_all(&self, devices: usize, share: bool) -> anyhow::Result<Outcome> {
        let kind = if share { "sharing" } else { "alone" };
        let names: Vec<String> = (0..devices).map(|n| format!("{kind}-{n}")).collect();
        let daemons = names
            .iter()
            .map(|name| self.start(name, share))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let client = Client::open(&client_config(&self.endpoint))
            .context("cannot client_config the registry")?;
        self.all_alive(&client, devices)?;
        let events = client.events(SITE, None, EVENTS)?;
        let before = self.registry.sent();
        let started = Instant::now();
        let envelope = statement(self.packed, &self.served, &names)?;
        client.publish_statement(SITE, &self.packed.release.name, &envelope)?;
        let elapsed = self.all_fetched(&client, &events, devices, started)?;
        let origin = self.registry.sent().saturating_sub(before);
        drop(events);
        client.close();
        for daemon in daemons {
            daemon.stop()?;
        }
        Ok(Outcome { origin, elapsed })
    }

    fn start(&self, name: &str, share: bool) -> anyhow::Result<DaemonProcess> {
        let folder = self.setup.folder().join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let path = folder.join("hotshoe.toml");
        let text = format!(
            "site = \"{SITE}\"\ndevice = \"{name}\"\ntrust = \"../{TRUST}\"\n[zenoh]\nmode = \"client\"\nconnect = [\"{}\"]\n[governor]\nenabled = false\n[deploy]\nshare = {share}\n",
            self.endpoint
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        DaemonProcess::start(&path, &folder.join("daemon.log"))
    }

    fn all_alive(&self, client: &Client, devices: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            // They answer one after the other; devices of an earlier round may still be counted for a moment.
            let alive = client.statuses(Some(SITE), None, PATIENCE)?;
            if alive.len() == devices && alive.iter().all(|status| status.release.is_none()) {
                return Ok(());
            }
        }
        anyhow::bail!("not all devices were ready within {} s", DEADLINE.as_secs())
    }

    /// Waits until the last device has staged the release, when all of it is on its disk.
    fn all_fetched(
        &self,
        client: &Client,
        events: &Events,
        devices: usize,
        started: Instant,
    ) -> anyhow::Result<Duration> {
        let mut done = BTreeSet::new();
        while done.len() < devices {
            ensure!(
                started.elapsed() < DEADLINE,
                "only {} of {devices} devices have the release after {} s",
                done.len(),
                DEADLINE.as_secs()
            );
            match events.next(PATIENCE) {
                Some(event) => done.extend(staged(event, self.served.release)),
                None => {
                    let statuses = client.statuses(Some(SITE), None, PATIENCE)?;
                    let has = |status: Status| {
                        has_release(&status, self.served.release).then_some(status.device)
                    };
                    done.extend(statuses.into_iter().filter_map(has));
                }
            }
        }
        Ok(started.elapsed())
    }
}

fn staged(event: serde_json::Value, release: Digest) -> Option<String> {
    let event: DeployEvent = serde_json::from_value(event).ok()?;
    let there = matches!(
        event.phase,
        Phase::Staged | Phase::SelfTested | Phase::Trial | Phase::Live
    );
    (there && event.release == release).then_some(event.device)
}

fn has_release(status: &Status, release: Digest) -> bool {
    let slots = &status.slots;
    let trial = slots.trial.as_ref().map(|trial| &trial.slot);
    [slots.staged.as_ref(), slots.live.as_ref(), trial]
        .into_iter()
        .flatten()
        .any(|slot| slot.release == release)
}
