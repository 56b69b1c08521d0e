//! Many devices of one site behind a registry that is a router, with and without answering for each other.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use hotshoe_daemon::ZenohConfig;
use hotshoe_daemon::config::ZenohMode;
use hotshoe_daemon::delivery::{DeliveryConfig, Moved, Publisher, is_origin};
use hotshoe_daemon::registry::{Registry, RegistryConfig};
use hotshoe_store::{BlobStore, Layout, Served};
use hotshoe_trust::{DeviceSelector, Envelope, Order, Statement, Time};

use super::delivery::{Receiver, SITE, remove};
use super::report::{Row, Unit};
use super::setting::{Setting, TRUST};
use super::site::Made;
use crate::demo::process::free_endpoint;
use crate::fleet::reach::after;

/// Longest time until the registry has the release.
const REGISTRY_DEADLINE: Duration = Duration::from_secs(60);

/// What all devices together took.
struct Outcome {
    /// Bytes that the registry sent, as the devices received them.
    origin: u64,
    /// Bytes that devices sent each other.
    neighbours: u64,
    /// Until the last had everything.
    elapsed: Duration,
}

/// Both ways, one after the other.
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
    let zenoh = ZenohConfig {
        connect: vec![endpoint],
        ..ZenohConfig::default()
    };
    let served = hand_over(&registry, made, &zenoh)?;
    // The router passes on what clients send each other; peers would be expected to reach each other by themselves.
    let zenoh = ZenohConfig {
        mode: ZenohMode::Client,
        ..zenoh
    };
    let alone = fetch_all(setting, &served, &zenoh, devices, false)?;
    let shared = fetch_all(setting, &served, &zenoh, devices, true)?;
    registry.stop();
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
        Row::alone(
            &format!("{devices} devices: sent to neighbours, shared"),
            Unit::Megabytes,
            megabytes(shared.neighbours),
            None,
        ),
    ])
}

/// Publishes to the registry, which has the release from then on by itself.
fn hand_over(registry: &Registry, made: &Made, zenoh: &ZenohConfig) -> anyhow::Result<Served> {
    let mut publisher = Publisher::open(zenoh, SITE)?;
    let served = publisher.serve(&Layout::open(&made.layout)?)?;
    let issued = Time::now();
    let statement = Statement {
        site: SITE.to_owned(),
        devices: DeviceSelector::default(),
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
    publisher.desire(&made.release.name, Envelope::new(&statement)?.to_bytes())?;
    let has = registry.wait_for(served.release, REGISTRY_DEADLINE);
    publisher.close();
    ensure!(has, "the registry did not fetch the release");
    Ok(served)
}

/// All devices begin at once.
fn fetch_all(
    setting: &Setting<'_>,
    served: &Served,
    zenoh: &ZenohConfig,
    devices: usize,
    share: bool,
) -> anyhow::Result<Outcome> {
    let config = DeliveryConfig {
        share,
        ..DeliveryConfig::default()
    };
    let names: Vec<String> = (0..devices).map(|number| format!("device-{number}")).collect();
    let ready = Barrier::new(devices);
    let outcomes = thread::scope(|scope| {
        let fetch = |name: &str| fetch_one(setting, served, zenoh, name, config.clone(), &ready);
        let threads: Vec<_> = names
            .iter()
            .map(|name| scope.spawn(move || fetch(name)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a device panicked"))?)
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    let sum = |origin: bool| {
        let from = outcomes.iter().flat_map(|(moved, _)| &moved.from);
        from.filter(|(source, _)| is_origin(source) == origin)
            .map(|(_, bytes)| bytes)
            .sum()
    };
    let elapsed = outcomes.iter().map(|(_, elapsed)| *elapsed).max();
    Ok(Outcome {
        origin: sum(true),
        neighbours: sum(false),
        elapsed: elapsed.context("there were no devices")?,
    })
}

fn fetch_one(
    setting: &Setting<'_>,
    served: &Served,
    zenoh: &ZenohConfig,
    name: &str,
    config: DeliveryConfig,
    ready: &Barrier,
) -> anyhow::Result<(Moved, Duration)> {
    let share = config.share;
    let folder = setting.folder().join(name);
    let prepared = (|| {
        let blobs = BlobStore::open(&folder)?;
        let receiver = Receiver::connect(setting, zenoh, name, config)?;
        let catalogue = receiver.catalogue.clone();
        let sharing = share
            .then(|| receiver.link().share(catalogue))
            .transpose()?;
        let release = receiver.package(served)?;
        anyhow::Ok((blobs, receiver, sharing, release))
    })();
    // Both waits are everybody's, so that nobody waits for one who failed.
    ready.wait();
    let fetched = prepared.and_then(|(blobs, receiver, sharing, release)| {
        let started = Instant::now();
        let moved = receiver.blobs(&release, &blobs)?;
        Ok((moved, started.elapsed(), (blobs, receiver, sharing)))
    });
    // Others may still ask.
    ready.wait();
    let (moved, elapsed, (blobs, receiver, sharing)) = fetched?;
    drop(sharing);
    receiver.close();
    drop(blobs);
    remove(&folder)?;
    Ok((moved, elapsed))
}
