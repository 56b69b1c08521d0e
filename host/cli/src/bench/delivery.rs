//! `hotshoe bench delivery`: what verified delivery costs, and what it saves.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_config::ZenohConfig;
use hotshoe_delivery::{Cancel, DeliveryConfig, Fetcher, Publisher, TransferStats};
use hotshoe_devkit::Environment;
use hotshoe_link::{Link, RawSession};
use hotshoe_store::{BlobStore, Catalogue, Layout, Served, Store};
use hotshoe_trust::{Device, Floor, Release, Time, Verified, verify};
use serde_json::json;

use super::laps::{by_turns, lap};
use super::neighbours;
use super::random::Random;
use super::report::{Counts, Row, Unit};
use super::setting::{Setting, TOTAL};
use super::site::Made;
use crate::demo::process::free_endpoint;
use crate::device::host_version;
use crate::terminal::Terminal;

/// The site of all sessions.
const SITE: &str = "bench";
/// Least throughput, of that of a plain query.
const THROUGHPUT_TARGET: f64 = 0.8;
/// Most that a changed model may move, in percent of its size.
const CHANGED_TARGET: f64 = 5.0;
/// Bytes of the model that are others.
const CHANGED_BYTES: usize = 100_000;
/// Longest time for one query.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);
/// The largest message of a session that moves everything in one: Zenoh's own default.
const RAW_MESSAGE_BYTES: usize = hotshoe_config::MAX_MESSAGE_BYTES;

/// How much of everything there is.
struct Rounds {
    /// Sizes in MiB, and how often each.
    sizes: &'static [(usize, usize)],
    devices: usize,
    shared_mib: usize,
}

/// About a minute on two cores.
const FULL: Rounds = Rounds {
    sizes: &[(64, 9), (256, 5)],
    devices: 20,
    shared_mib: 16,
};

/// A first impression.
const QUICK: Rounds = Rounds {
    sizes: &[(64, 3)],
    devices: 5,
    shared_mib: 4,
};

/// What was counted, and all rows.
pub fn measure(
    environment: &Environment,
    quick: bool,
    terminal: &Terminal,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let rounds = if quick { QUICK } else { FULL };
    let setting = Setting::prepare(environment)?;
    let mut rows = Vec::new();
    for (mib, times) in rounds.sizes {
        terminal.note(format!("measuring        throughput, {mib} MiB"));
        rows.push(throughput(&setting, *mib, *times)?);
    }
    terminal.note("measuring        a changed model");
    let (changed, moved) = changed_model(&setting)?;
    rows.push(changed);
    terminal.note(format!(
        "measuring        {} devices at one site",
        rounds.devices
    ));
    let made = neighbours_release(&setting, rounds.shared_mib)?;
    rows.extend(neighbours::measure(&setting, &made, rounds.devices)?);
    let counts = Counts::from([
        ("devices", json!(rounds.devices)),
        ("changed_model_bytes_received", json!(moved.bytes_received)),
        ("changed_model_bytes_reused", json!(moved.bytes_reused)),
    ]);
    Ok((counts, rows))
}

/// Random bytes as a release's only model, by Hotshoe's delivery and by one plain query, by turns.
fn throughput(setting: &Setting<'_>, mib: usize, rounds: usize) -> anyhow::Result<Row> {
    let made = random_release(setting, &format!("random-{mib}"), mib)?;
    let layout = Layout::open(&made.layout)?;
    let model = made
        .release
        .models
        .get(MODEL)
        .and_then(|m| m.variants.first());
    let model = model.context("a model")?.blob;
    let (listen, connect) = pair(RAW_MESSAGE_BYTES)?;
    let (server, client) = (RawSession::open(&listen)?, RawSession::open(&connect)?);
    let value = server.serve(KEY, layout.read(&model)?)?;
    let found = client.find(KEY, ANSWER_DEADLINE)?;
    anyhow::ensure!(found, "the plain query was not answered");
    let source = Source::open(&layout)?;
    let receiver = Receiver::open(setting, &source, "receiver")?;
    let (ours, theirs) = by_turns(
        rounds,
        || {
            let store = setting.folder().join("received");
            let blobs = BlobStore::open(&store)?;
            let (_, elapsed) = receiver.fetch(&source, &blobs)?;
            drop(blobs);
            remove(&store)?;
            Ok(vec![lap(TOTAL, elapsed)])
        },
        || {
            let started = Instant::now();
            let size = client.get(KEY, ANSWER_DEADLINE, <[u8]>::len)?;
            let elapsed = started.elapsed();
            anyhow::ensure!(size == Some(mib << 20), "the plain query brought {size:?}");
            Ok(vec![lap(TOTAL, elapsed)])
        },
    )?;
    drop(value);
    client.close();
    server.close();
    receiver.close();
    source.publisher.close();
    let speed = |micros: f64| model.size as f64 / micros;
    Ok(Row::compared(
        &format!("verified delivery of {mib} MiB"),
        Unit::MegabytesPerSecond,
        speed(ours.median(TOTAL)?),
        ("plain get", speed(theirs.median(TOTAL)?)),
        None,
    )
    .at_least(THROUGHPUT_TARGET))
}

/// What a device fetches that has the model before it was changed.
fn changed_model(setting: &Setting<'_>) -> anyhow::Result<(Row, TransferStats)> {
    let bytes = fs::read(setting.model_path("recognise")).context("cannot read the model")?;
    let before = release(setting, "before", 1, &bytes)?;
    let mut changed = bytes;
    let middle = changed.len() / 2;
    let size = changed.len() as f64;
    let part = changed.get_mut(middle..middle + CHANGED_BYTES);
    Random::new(2).fill(part.context("the model is too small")?);
    let after = release(setting, "after", 2, &changed)?;

    let source = Source::open(&Layout::open(&before.layout)?)?;
    let receiver = Receiver::open(setting, &source, "changed")?;
    let store = Store::open(&setting.folder().join("changed"))?;
    let ((verified, _), _) = receiver.fetch(&source, &store.blobs())?;
    let slot = store.keep_package(&verified, Time::now())?;
    receiver
        .catalogue
        .add_release(&store.blobs(), slot.release, &slot.bundles)?;
    let source = source.serve_instead(&Layout::open(&after.layout)?)?;
    let ((_, moved), _) = receiver.fetch(&source, &store.blobs())?;
    receiver.close();
    source.publisher.close();
    let row = Row::alone(
        "a model of 10 MB with 100 KB changed: received",
        Unit::Percent,
        moved.bytes_received as f64 / size * 100.0,
        Some(CHANGED_TARGET),
    );
    Ok((row, moved))
}

/// Settings of a session that listens and of one that connects to it.
fn pair(max_message_bytes: usize) -> anyhow::Result<(ZenohConfig, ZenohConfig)> {
    let endpoint = free_endpoint()?;
    let listen = ZenohConfig {
        listen: vec![endpoint.clone()],
        max_message_bytes,
        ..ZenohConfig::default()
    };
    let connect = ZenohConfig {
        connect: vec![endpoint],
        max_message_bytes,
        ..ZenohConfig::default()
    };
    Ok((listen, connect))
}

/// Who has a release.
struct Source {
    connect: ZenohConfig,
    served: Served,
    publisher: Publisher,
}

impl Source {
    fn open(layout: &Layout) -> anyhow::Result<Self> {
        let (listen, connect) = pair(ZenohConfig::default().max_message_bytes)?;
        let mut publisher = Publisher::open(&listen, SITE)?;
        Ok(Self {
            connect,
            served: publisher.serve(layout)?,
            publisher,
        })
    }

    fn serve_instead(mut self, layout: &Layout) -> anyhow::Result<Self> {
        self.served = self.publisher.serve(layout)?;
        Ok(self)
    }
}

/// A device's end, without the device.
struct Receiver<'a> {
    setting: &'a Setting<'a>,
    link: Arc<Link>,
    catalogue: Catalogue,
    fetcher: Fetcher,
}

impl<'a> Receiver<'a> {
    fn open(setting: &'a Setting<'a>, source: &Source, name: &str) -> anyhow::Result<Self> {
        let link = Arc::new(Link::open(&source.connect, SITE, name)?);
        let catalogue = Catalogue::new();
        let fetcher = Fetcher::new(&link, catalogue.clone(), DeliveryConfig::default())?;
        Ok(Self {
            setting,
            link,
            catalogue,
            fetcher,
        })
    }

    /// Fetches, verifies and writes a release. The time is that of its blobs.
    fn fetch(
        &self,
        source: &Source,
        blobs: &BlobStore,
    ) -> anyhow::Result<((Verified<Release>, TransferStats), Duration)> {
        let cancel = Cancel::new();
        let served = &source.served;
        let package = self
            .fetcher
            .package(served.release, &served.bundles, &cancel)?;
        let (device, floor) = (Device::default(), Floor::none());
        let release = verify(
            &package,
            self.setting.trust(),
            &floor,
            &device,
            &host_version()?,
            Time::now(),
        )?;
        let started = Instant::now();
        let moved = self.fetcher.release(&release, blobs, |_| {}, &cancel)?;
        Ok(((release, moved), started.elapsed()))
    }

    fn close(self) {
        drop(self.fetcher);
        self.link.close();
    }
}

/// Removes a folder that was received.
fn remove(folder: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// Where the plain value is.
const KEY: &str = "bench/raw";
/// The name of the model.
const MODEL: &str = "weights";

fn random_release(setting: &Setting<'_>, name: &str, mib: usize) -> anyhow::Result<Made> {
    let mut bytes = vec![0; mib << 20];
    Random::new(1).fill(&mut bytes);
    release(setting, name, 1, &bytes)
}

/// A release of one model; nothing loads it.
fn release(
    setting: &Setting<'_>,
    name: &str,
    generation: u64,
    model: &[u8],
) -> anyhow::Result<Made> {
    let path = setting.folder().join(format!("{name}.bin"));
    fs::write(&path, model).with_context(|| format!("cannot write {}", path.display()))?;
    let recipe = format!(
        r#"name = "weights"
generation = {generation}
expires-in = "1d"

[components.measure]
file = "{measure}"
world = "stage"
grants = ["infer"]
models = ["{MODEL}"]

[models.{MODEL}]
file = "{path}"

[[pipeline]]
stage = "measure"
"#,
        measure = setting.guest("measure").display(),
        path = path.display()
    );
    setting.make(name, &recipe)
}

/// A light pipeline with a data file of random bytes.
fn neighbours_release(setting: &Setting<'_>, mib: usize) -> anyhow::Result<Made> {
    let path = setting.folder().join("shared.bin");
    let mut bytes = vec![0; mib << 20];
    Random::new(3).fill(&mut bytes);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let recipe = format!(
        r#"name = "shared"
generation = 1
expires-in = "1d"

[components.measure]
file = "{measure}"
world = "stage"
grants = ["data"]
data = ["bytes"]

[data.bytes]
file = "{path}"
media-type = "application/octet-stream"

[[pipeline]]
stage = "measure"
"#,
        measure = setting.guest("measure").display(),
        path = path.display()
    );
    setting.make("shared", &recipe)
}
