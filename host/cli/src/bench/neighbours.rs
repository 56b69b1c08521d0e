//! Many devices of one site behind a registry that is a router, with and without answering for each other.

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
use super::setting::{Setting, TRUST};
use super::site::Made;
use crate::demo::process::{DaemonProcess, free_endpoint};
use crate::fleet::reach::after;

/// The site of all devices.
const SITE: &str = "bench";
/// Longest time until the registry has the release, and until all devices have it.
const DEADLINE: Duration = Duration::from_secs(120);
/// Events that may wait to be read.
const EVENTS: usize = 65_536;
/// Without an event for so long, the devices are asked.
const PATIENCE: Duration = Duration::from_secs(1);

/// A registry that has the release, and how it is reached.
struct Ground<'a> {
    setting: &'a Setting<'a>,
    registry: Registry,
    endpoint: String,
    made: &'a Made,
    served: SharedRelease,
}

/// What all devices together took.
struct Outcome {
    /// Bytes that the registry sent.
    origin: u64,
    /// Until the last had everything.
    elapsed: Duration,
}

/// Both ways, one after the other, each with new devices.
pub fn measure(setting: &Setting<'_>, made: &Made, devices: usize) -> anyhow::Result<Vec<Row>> {
    let endpoint = free_endpoint()?;
    let registry = Registry::start(&RegistryConfig {
        data: setting.folder().join("registry"),
        trust: setting.folder().join(TRUST),
        zenoh: ZenohConfig {
            mode: ZenohMode::Router,
            listen: vec![endpoint.clone()],
            ..ZenohConfig::default()
        },
        ..RegistryConfig::new(SITE, "bench")
    })?;
    let served = hand_over(&registry, made, &endpoint)?;
    let ground = Ground {
        setting,
        registry,
        endpoint,
        made,
        served,
    };
    let alone = ground.fetch_all(devices, false)?;
    let shared = ground.fetch_all(devices, true)?;
    ground.registry.stop();
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
            None,
        ),
    ])
}

fn reach(endpoint: &str) -> ZenohConfig {
    ZenohConfig {
        mode: ZenohMode::Client,
        connect: vec![endpoint.to_owned()],
        ..ZenohConfig::default()
    }
}

/// Publishes to the registry, which has the release from then on by itself. No device is meant yet.
fn hand_over(registry: &Registry, made: &Made, endpoint: &str) -> anyhow::Result<SharedRelease> {
    let mut publisher = Publisher::open(&reach(endpoint), SITE)?;
    let served = publisher.serve(&Layout::open(&made.layout)?)?;
    let statement = statement(made, &served, &["nobody".to_owned()])?;
    publisher.desire(&made.release.name, statement)?;
    let has = registry.wait_for(served.release, DEADLINE);
    publisher.close();
    ensure!(has, "the registry did not fetch the release");
    Ok(served)
}

fn statement(made: &Made, served: &SharedRelease, devices: &[String]) -> anyhow::Result<Vec<u8>> {
    let issued = Time::now();
    let statement = Statement {
        site: SITE.to_owned(),
        devices: DeviceSelector {
            names: devices.to_vec(),
            ..DeviceSelector::default()
        },
        order: Order::Deploy {
            release: served.release,
            name: made.release.name.clone(),
            generation: made.release.generation,
            bundles: served.bundles.clone(),
            activate: true,
        },
        issued,
        expires: after(issued, "1d")?,
    };
    Ok(Envelope::new(&statement)?.to_bytes())
}

impl Ground<'_> {
    /// New devices, which all hear at once what they should run.
    fn fetch_all(&self, devices: usize, share: bool) -> anyhow::Result<Outcome> {
        let kind = if share { "sharing" } else { "alone" };
        let names: Vec<String> = (0..devices).map(|n| format!("{kind}-{n}")).collect();
        let daemons = names
            .iter()
            .map(|name| self.start(name, share))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let client = Client::open(&reach(&self.endpoint)).context("cannot reach the registry")?;
        self.all_alive(&client, devices)?;
        let events = client.events(SITE, None, EVENTS)?;
        let before = self.registry.sent();
        let started = Instant::now();
        let envelope = statement(self.made, &self.served, &names)?;
        client.desire(SITE, &self.made.release.name, &envelope)?;
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
        let folder = self.setting.folder().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("hotshoe.toml");
        let text = format!(
            "site = \"{SITE}\"\ndevice = \"{name}\"\ntrust = \"../{TRUST}\"\n[zenoh]\nmode = \"client\"\nconnect = [\"{}\"]\n[deploy]\nshare = {share}\n",
            self.endpoint
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        DaemonProcess::start(&path, &folder.join("daemon.log"))
    }

    fn all_alive(&self, client: &Client, devices: usize) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < DEADLINE {
            // They answer one after the other; those of an earlier round may still be counted for a moment.
            let alive = client.statuses(Some(SITE), None, PATIENCE)?;
            if alive.len() == devices && alive.iter().all(|status| status.release.is_none()) {
                return Ok(());
            }
        }
        anyhow::bail!("not all devices came up within {} s", DEADLINE.as_secs())
    }

    /// Until the last has staged the release, which is when all of it is on its disk.
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
                        has_it(&status, self.served.release).then_some(status.device)
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

fn has_it(status: &Status, release: Digest) -> bool {
    let slots = &status.slots;
    let trial = slots.trial.as_ref().map(|trial| &trial.slot);
    [slots.staged.as_ref(), slots.live.as_ref(), trial]
        .into_iter()
        .flatten()
        .any(|slot| slot.release == release)
}
