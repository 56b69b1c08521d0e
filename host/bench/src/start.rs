//! The daemon's start with cached code, against loading its models alone.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_config::{Config, ZenohConfig};
use hotshoe_infer::{Model, ModelOptions, Models, Options};
use hotshoe_protocol::status::Status;
use hotshoe_store::Layout;
use hotshoe_trust::{Floor, Release, Time};
use hotshoe_vision::{Budget, DecodeLimits};
use label_reader::sizes::{self, Size};
use label_reader_native::{NativeReader, NativeRecogniser};

use super::lines;
use super::page::{PAGE, RELEASE};
use super::report::{Row, Unit};
use super::setup::{BenchSetup, TOTAL, TRUST};
use super::timings::{Timings, alternate, timing};
use hotshoe_release::daemon_process::{DaemonProcess, free_endpoint};
use hotshoe_release::device::Identity;
use hotshoe_release::{install, verify};

/// Highest accepted ratio of the start to loading the models.
const TARGET: f64 = 2.0;
/// A release with three small components and a model of half a megabyte.
const SMALL: &str = "classify-angle.toml";
/// Highest accepted resident memory of a daemon with that release, in megabytes.
const RESIDENT_TARGET: f64 = 60.0;
/// The first baseline of the start.
const LOADING: &str = "loading its models and their plans";
/// The second baseline, with the same result.
const READING: &str = "the same and reading it, in plain Rust";
/// Longest time from sending the first sample to its answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Timeout from starting the process until it listens.
const LISTEN_DEADLINE: Duration = Duration::from_secs(20);
/// Interval of polling its port.
const POLL: Duration = Duration::from_millis(1);
/// Channels of a picture as a tensor.
const CHANNELS: usize = 3;
/// The input of each of the three models.
const INPUT: &str = "x";

/// Starts daemons and loads models alternately, for a release with one small model and for that of the page. The first start,
/// which compiles the components, does not count.
pub(crate) fn start(
    setup: &BenchSetup<'_>,
    line: &[u8],
    rounds: usize,
) -> anyhow::Result<Vec<Row>> {
    let width = widest(&[size(line)?]);
    let first_line = Case {
        name: "daemon: start to first line",
        release: lines::RECOGNISER,
        picture: line,
        plans: vec![("recognise", line_shape(width))],
        read: |models, picture| {
            let native = NativeRecogniser::new(model(models, "recognise")?);
            let (input, size) = native.prepare(picture)?;
            native.interpret(&native.run(&input)?, size)?;
            Ok(())
        },
    };
    let page = setup.picture(PAGE)?;
    let first_page = Case {
        name: "daemon: start to first page",
        release: RELEASE,
        picture: &page,
        plans: page_plans(setup, &page)?,
        read: |models, picture| {
            reader(models)?.read(picture)?;
            Ok(())
        },
    };
    let mut rows = first_line.measure(setup, rounds)?;
    rows.extend(first_page.measure(setup, rounds)?);
    Ok(rows)
}

/// The resident memory of an idle daemon that has answered one sample of a small release. No row if the system does not
/// report it.
pub(crate) fn resident(setup: &BenchSetup<'_>, line: &[u8]) -> anyhow::Result<Option<Row>> {
    let device = Device::install(setup, SMALL, line)?;
    let (_, status) = device.answered()?;
    let resident = status.memory.and_then(|memory| memory.resident_mib);
    Ok(resident.map(|mib| {
        let megabytes = mib as f64 * (1 << 20) as f64 / 1e6;
        let name = "daemon: resident at rest, a small release";
        Row::alone(name, Unit::Megabytes, megabytes, Some(RESIDENT_TARGET))
    }))
}

/// The start of a daemon that keeps its data private, against one that does not, alternately; and of two that do not, which tells how much of that
/// is chance.
pub(crate) fn private(
    setup: &BenchSetup<'_>,
    line: &[u8],
    rounds: usize,
    target: f64,
) -> anyhow::Result<Vec<Row>> {
    let key = setup.folder().join("sealing.key");
    hotshoe_sealing::DeviceKey::create(&key)?;
    // Figures need the outbox, so all have one.
    let outbox = "[outbox]\nenabled = true\n";
    let more = format!(
        "{outbox}[encryption]\nkey-file = {:?}\nrequired = true\n[private-telemetry.figures.samples]\nkind = \"count\"\n",
        key.display().to_string()
    );
    let device = |name, more| Device::install_with(setup, SMALL, line, (name, more));
    let private = device("private", more)?;
    let plain = device("plain", outbox.to_owned())?;
    let again = device("again", outbox.to_owned())?;
    let mut rows = Vec::new();
    for (name, side, target) in [
        ("encrypted and with a figure", &private, Some(target)),
        ("neither, against itself", &again, None),
    ] {
        let (ours, theirs) = alternate(rounds, || side.first_result(), || plain.first_result())?;
        rows.push(Row::compared(
            &format!("daemon: start to first result, {name}"),
            Unit::Millis,
            ours.median(TOTAL)?,
            ("neither", theirs.median(TOTAL)?),
            target,
        ));
    }
    Ok(rows)
}

/// Loaded models by their names in the release.
type Loaded = BTreeMap<&'static str, Arc<Model>>;
/// A model's name and the shape of its input.
type PlanFor = (&'static str, [usize; 4]);

/// A measured start.
struct Case<'a> {
    name: &'static str,
    release: &'static str,
    picture: &'a [u8],
    /// The plans that reading the picture needs.
    plans: Vec<PlanFor>,
    /// Reads the picture with plain Rust.
    read: fn(&Loaded, &[u8]) -> anyhow::Result<()>,
}

impl Case<'_> {
    fn measure(&self, setup: &BenchSetup<'_>, rounds: usize) -> anyhow::Result<Vec<Row>> {
        let device = Device::install(setup, self.release, self.picture)?;
        let (layout, release) = verify::verify(
            &setup.release(self.release)?,
            setup.trust(),
            &Floor::none(),
            &hotshoe_trust::Device::default(),
            Time::now(),
        )?;
        let (ours, theirs) = alternate(
            rounds,
            || device.first_result(),
            || self.plain_rust(&layout, &release),
        )?;
        let row = |against: &str, target| -> anyhow::Result<Row> {
            let theirs = (against, theirs.median(against)?);
            let ours = ours.median(TOTAL)?;
            Ok(Row::compared(self.name, Unit::Millis, ours, theirs, target))
        };
        Ok(vec![row(LOADING, Some(TARGET))?, row(READING, None)?])
    }

    /// Loads the release's models from its layout, creates their plans, and then reads the picture.
    fn plain_rust(&self, layout: &Layout, release: &Release) -> anyhow::Result<Timings> {
        let started = Instant::now();
        let models = Models::new(Options::default());
        let mut loaded = Loaded::new();
        for (name, shape) in &self.plans {
            let spec = release
                .models
                .get(*name)
                .with_context(|| format!("the release has no model {name}"))?;
            let blob = spec.variants.first().context("a variant")?.blob;
            let model = models.load(blob.digest, &layout.read(&blob)?, &ModelOptions::default())?;
            model.prepare(&[(INPUT, shape)])?;
            loaded.insert(name, model);
        }
        let loading = started.elapsed();
        let made = plans_made(&loaded);
        (self.read)(&loaded, self.picture)?;
        let reading = started.elapsed();
        anyhow::ensure!(
            plans_made(&loaded) == made,
            "{} needs other plans than those created",
            self.name
        );
        Ok(vec![timing(LOADING, loading), timing(READING, reading)])
    }
}

fn plans_made(models: &Loaded) -> u64 {
    models.values().map(|model| model.stats().misses).sum()
}

fn model(models: &Loaded, name: &str) -> anyhow::Result<Arc<Model>> {
    models
        .get(name)
        .cloned()
        .with_context(|| format!("no model {name} was loaded"))
}

fn reader(models: &Loaded) -> anyhow::Result<NativeReader> {
    Ok(NativeReader::new(
        model(models, "detect")?,
        model(models, "classify-angle")?,
        model(models, "recognise")?,
    ))
}

/// A device on this machine with a release installed.
struct Device {
    folder: PathBuf,
    picture: Vec<u8>,
    /// Further tables of its configuration.
    more: String,
}

impl Device {
    fn install(setup: &BenchSetup<'_>, release: &str, picture: &[u8]) -> anyhow::Result<Self> {
        Self::install_with(setup, release, picture, ("device", String::new()))
    }

    /// A device in a folder of its own, with further tables of the configuration.
    fn install_with(
        setup: &BenchSetup<'_>,
        release: &str,
        picture: &[u8],
        (extension, more): (&str, String),
    ) -> anyhow::Result<Self> {
        let release = setup.release(release)?;
        let device = Self {
            folder: release.with_extension(extension),
            picture: picture.to_owned(),
            more,
        };
        fs::create_dir_all(&device.folder)
            .with_context(|| format!("cannot create {}", device.folder.display()))?;
        let config = device.configure(&free_endpoint()?)?;
        let identity = Identity::of(setup.trust().clone(), &config);
        install::install(&release, &config.data, &identity, Time::now())?;
        Ok(device)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("hotshoe.toml")
    }

    /// Every start gets a new port: the last one may still be in use.
    fn configure(&self, endpoint: &str) -> anyhow::Result<Config> {
        let path = self.configuration();
        let text = format!(
            "site = \"bench\"\ndevice = \"bench\"\ntrust = \"../{TRUST}\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[governor]\nenabled = false\n{}",
            self.more
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Config::load(&path).context("cannot load the bench's configuration")
    }

    /// The time from starting the process to the answer to the first sample.
    fn first_result(&self) -> anyhow::Result<Timings> {
        let (elapsed, _) = self.answered()?;
        Ok(vec![timing(TOTAL, elapsed)])
    }

    /// The same time and the status of the daemon after that answer.
    fn answered(&self) -> anyhow::Result<(Duration, Status)> {
        let endpoint = free_endpoint()?;
        self.configure(&endpoint)?;
        let address = endpoint.trim_start_matches("tcp/").to_owned();
        let zenoh = ZenohConfig {
            connect: vec![endpoint],
            ..ZenohConfig::default()
        };
        let started = Instant::now();
        let mut daemon =
            DaemonProcess::start(&self.configuration(), &self.folder.join("daemon.log"))?;
        wait_for(&address);
        let (client, status) = daemon.ready(&zenoh)?;
        let feeder = client.feeder(&status.site, &status.device, 1, ANSWER_DEADLINE);
        feeder.send(PAGE, "image/png", "first", self.picture.clone())?;
        let fed = feeder.next(ANSWER_DEADLINE);
        let elapsed = started.elapsed();
        let (site, name) = (&status.site, &status.device);
        let after = client
            .statuses(Some(site), Some(name), ANSWER_DEADLINE)?
            .pop();
        client.close();
        daemon.stop()?;
        match fed.map(|fed| fed.result) {
            Some(Ok(_)) => Ok((
                elapsed,
                after.context("the daemon did not report its status")?,
            )),
            Some(Err(error)) => bail!(error),
            None => bail!("the daemon did not answer"),
        }
    }
}

/// Waits until a process listens there; Zenoh's own retries would detect it up to 0.1 s later. After the timeout, the next
/// step reports the error.
fn wait_for(address: &str) {
    let started = Instant::now();
    while TcpStream::connect(address).is_err() && started.elapsed() < LISTEN_DEADLINE {
        thread::sleep(POLL);
    }
}

/// The plans that reading the page needs.
fn page_plans(setup: &BenchSetup<'_>, page: &[u8]) -> anyhow::Result<Vec<PlanFor>> {
    let reader = NativeReader::new(
        setup.model("detect")?,
        setup.model("classify-angle")?,
        setup.model("recognise")?,
    );
    // The lines of this page are one batch, padded to the width of the widest.
    let lines: Vec<Size> = reader
        .read(page)?
        .iter()
        .map(|line| sizes::crop_size(&line.outline))
        .collect();
    Ok(vec![
        ("detect", shape(sizes::detector_size(size(page)?))),
        ("classify-angle", line_shape(sizes::ANGLE_WIDTH)),
        ("recognise", line_shape(widest(&lines))),
    ])
}

fn size(picture: &[u8]) -> anyhow::Result<Size> {
    let picture = hotshoe_vision::decode(picture, &DecodeLimits::default(), &Budget::unlimited())?;
    Ok((picture.width(), picture.height()))
}

/// The width of the recogniser's input for these lines.
fn widest(lines: &[Size]) -> u32 {
    let width = lines
        .iter()
        .map(|line| sizes::recogniser_width(*line))
        .max();
    width.unwrap_or(sizes::RECOGNISER_WIDTH_MIN)
}

fn line_shape(width: u32) -> [usize; 4] {
    shape((width, sizes::LINE_HEIGHT))
}

fn shape((width, height): Size) -> [usize; 4] {
    [1, CHANNELS, height as usize, width as usize]
}
