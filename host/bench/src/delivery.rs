//! `hotshoe bench delivery`: the overhead and the savings of verified delivery.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_config::ZenohConfig;
use hotshoe_delivery::{Cancel, DeliveryConfig, Fetcher, Publisher, TransferStats};
use hotshoe_devkit::Environment;
use hotshoe_link::{Link, RawSession};
use hotshoe_store::{BlobStore, Catalogue, Layout, SharedRelease, Store};
use hotshoe_trust::{Device, Digest, Floor, Release, Time, Verified, verify};
use serde_json::json;

use super::neighbours;
use super::report::{Counts, Row, Unit};
use super::setup::{BenchSetup, PackedRelease, TOTAL};
use super::timings::{alternate, timing};
use hotshoe_release::daemon_process::free_endpoint;
use hotshoe_release::device::host_version;
use hotshoe_release::random::Random;
use hotshoe_release::terminal::Terminal;

/// The site of all sessions.
const SITE: &str = "bench";
/// Lowest accepted ratio of the throughput to that of a plain query into memory.
const RECEIVED_TARGET: f64 = 0.7;
/// Lowest accepted ratio of the throughput to that of a plain query whose bytes are then hashed, written and synced.
const STORED_TARGET: f64 = 0.8;
/// The timing of a plain query into memory.
const RECEIVED: &str = "received";
/// The timing of a plain query whose bytes are then hashed, written and synced.
const STORED: &str = "stored";
/// Most bytes that a changed model may transfer, in percent of its size.
const CHANGED_TARGET: f64 = 5.0;
/// Bytes of the model that are changed.
const CHANGED_BYTES: usize = 100_000;
/// Longest time for one query.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);
/// The largest message of a session that transfers everything in one message: Zenoh's default.
const RAW_MESSAGE_BYTES: usize = hotshoe_config::MAX_MESSAGE_BYTES;

/// Number of repetitions of each measurement.
struct Rounds {
    /// Sizes in MiB and the number of rounds of each.
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

/// For a quick overview.
const QUICK: Rounds = Rounds {
    sizes: &[(64, 3)],
    devices: 5,
    shared_mib: 4,
};

/// Returns the counts and all rows.
pub(crate) fn measure(
    environment: &Environment,
    quick: bool,
    terminal: &Terminal,
) -> anyhow::Result<(Counts, Vec<Row>)> {
    let rounds = if quick { QUICK } else { FULL };
    let setup = BenchSetup::prepare(environment)?;
    let mut rows = Vec::new();
    for (mib, times) in rounds.sizes {
        terminal.note(format!("measuring        throughput, {mib} MiB"));
        rows.extend(throughput(&setup, *mib, *times)?);
    }
    terminal.note("measuring        a changed model");
    let (changed, moved) = changed_model(&setup)?;
    rows.push(changed);
    terminal.note(format!(
        "measuring        {} devices at one site",
        rounds.devices
    ));
    let packed = neighbours_release(&setup, rounds.shared_mib)?;
    rows.extend(neighbours::measure(&setup, &packed, rounds.devices)?);
    let counts = Counts::from([
        ("devices", json!(rounds.devices)),
        ("changed_model_bytes_received", json!(moved.bytes_received)),
        ("changed_model_bytes_reused", json!(moved.bytes_reused)),
    ]);
    Ok((counts, rows))
}

/// Random bytes as the only model of a release: by Hotshoe's delivery and by one plain query, alternately.
fn throughput(setup: &BenchSetup<'_>, mib: usize, rounds: usize) -> anyhow::Result<[Row; 2]> {
    let packed = random_release(setup, &format!("random-{mib}"), mib)?;
    let layout = Layout::open(&packed.layout)?;
    let model = packed
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
    let receiver = Receiver::open(setup, &source, "receiver")?;
    let plain = setup.folder().join("plain");
    let (ours, theirs) = alternate(
        rounds,
        || {
            let store = setup.folder().join("received");
            let blobs = BlobStore::open(&store)?;
            let (_, elapsed) = receiver.fetch(&source, &blobs)?;
            drop(blobs);
            remove(&store)?;
            Ok(vec![timing(TOTAL, elapsed)])
        },
        || {
            let started = Instant::now();
            let size = client.get(KEY, ANSWER_DEADLINE, <[u8]>::len)?;
            let received = started.elapsed();
            anyhow::ensure!(size == Some(mib << 20), "the plain query returned {size:?}");
            let started = Instant::now();
            let found = client.get(KEY, ANSWER_DEADLINE, |bytes| store(bytes, &plain))?;
            let stored = started.elapsed();
            let found = found.context("no answer to the plain query")??;
            anyhow::ensure!(found == model.digest, "the plain query returned {found}");
            Ok(vec![timing(RECEIVED, received), timing(STORED, stored)])
        },
    )?;
    drop(value);
    client.close();
    server.close();
    receiver.close();
    source.publisher.close();
    let speed = |micros: f64| model.size as f64 / micros;
    let row = |name: &str, baseline: f64, target: f64| {
        anyhow::Ok(
            Row::compared(
                &format!("verified delivery of {mib} MiB"),
                Unit::MegabytesPerSecond,
                speed(ours.median(TOTAL)?),
                (name, speed(baseline)),
                None,
            )
            .at_least(target),
        )
    };
    Ok([
        row(
            "plain get, hash, write, sync",
            theirs.median(STORED)?,
            STORED_TARGET,
        )?,
        row("plain get", theirs.median(RECEIVED)?, RECEIVED_TARGET)?,
    ])
}

/// Hashes bytes, and writes and syncs them, one after the other.
fn store(bytes: &[u8], path: &Path) -> anyhow::Result<Digest> {
    let digest = Digest::of(bytes);
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(digest)
}

/// The bytes that a device fetches if it has the model before the change.
fn changed_model(setup: &BenchSetup<'_>) -> anyhow::Result<(Row, TransferStats)> {
    let bytes = fs::read(setup.model_path("recognise")).context("cannot read the model")?;
    let before = release(setup, "before", 1, &bytes)?;
    let mut changed = bytes;
    let middle = changed.len() / 2;
    let size = changed.len() as f64;
    let part = changed.get_mut(middle..middle + CHANGED_BYTES);
    Random::new(2).fill(part.context("the model is too small")?);
    let after = release(setup, "after", 2, &changed)?;

    let source = Source::open(&Layout::open(&before.layout)?)?;
    let receiver = Receiver::open(setup, &source, "changed")?;
    let store = Store::open(&setup.folder().join("changed"))?;
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

/// The configurations of a listening session and of one that connects to it.
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

/// The sender of a release.
struct Source {
    connect: ZenohConfig,
    served: SharedRelease,
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

/// The receiving side of a device, without the daemon.
struct Receiver<'a> {
    setup: &'a BenchSetup<'a>,
    link: Arc<Link>,
    catalogue: Catalogue,
    fetcher: Fetcher,
}

impl<'a> Receiver<'a> {
    fn open(setup: &'a BenchSetup<'a>, source: &Source, name: &str) -> anyhow::Result<Self> {
        let link = Arc::new(Link::open(&source.connect, SITE, name)?);
        let catalogue = Catalogue::new();
        let fetcher = Fetcher::new(&link, catalogue.clone(), DeliveryConfig::default())?;
        Ok(Self {
            setup,
            link,
            catalogue,
            fetcher,
        })
    }

    /// Fetches, verifies and writes a release. The time covers only its blobs.
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
            self.setup.trust(),
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

/// Removes a received folder.
fn remove(folder: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// The key of the plain value.
const KEY: &str = "bench/raw";
/// The name of the model.
const MODEL: &str = "weights";

fn random_release(setup: &BenchSetup<'_>, name: &str, mib: usize) -> anyhow::Result<PackedRelease> {
    let mut bytes = vec![0; mib << 20];
    Random::new(1).fill(&mut bytes);
    release(setup, name, 1, &bytes)
}

/// A release of one model; nothing loads it.
fn release(
    setup: &BenchSetup<'_>,
    name: &str,
    generation: u64,
    model: &[u8],
) -> anyhow::Result<PackedRelease> {
    let path = setup.folder().join(format!("{name}.bin"));
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
        measure = setup.guest("measure").display(),
        path = path.display()
    );
    setup.make(name, &recipe)
}

/// A light pipeline with a data file of random bytes.
fn neighbours_release(setup: &BenchSetup<'_>, mib: usize) -> anyhow::Result<PackedRelease> {
    let path = setup.folder().join("shared.bin");
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
        measure = setup.guest("measure").display(),
        path = path.display()
    );
    setup.make("shared", &recipe)
}
