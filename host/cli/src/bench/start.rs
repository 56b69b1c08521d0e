//! The daemon's start with compiled code at hand, against loading its models alone.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_daemon::{Config, ZenohConfig};
use hotshoe_infer::{Models, Options};
use hotshoe_store::Layout;
use hotshoe_trust::{Floor, Release, Time, Verified};
use hotshoe_vision::DecodeLimits;
use label_reader::sizes;
use label_reader_native::NativeReader;

use super::laps::{Laps, by_turns, lap};
use super::page::{PAGE, RELEASE};
use super::report::{Row, Unit};
use super::setting::{Setting, TOTAL};
use crate::commands::{install, verify};
use crate::demo::process::{DaemonProcess, free_endpoint};
use crate::device::Identity;

/// Most that the start may take, of what loading the models takes.
const TARGET: f64 = 2.0;
/// Longest time from sending the first sample to its answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Channels of a picture as a tensor.
const CHANNELS: usize = 3;
/// The input of each of the three models.
const INPUT: &str = "x";

/// Starts daemons and loads models by turns. The first start, which compiles the components, does not count.
pub fn start(setting: &Setting<'_>, rounds: usize) -> anyhow::Result<Row> {
    let device = Device::install(setting)?;
    let plans = plans(setting)?;
    let (layout, release) = verify::verify(
        &setting.release(RELEASE)?,
        setting.trust(),
        &Floor::none(),
        &hotshoe_trust::Device::default(),
        Time::now(),
    )?;
    let (ours, theirs) = by_turns(
        rounds,
        || device.first_result(),
        || load_models(&layout, &release, &plans),
    )?;
    Ok(Row::compared(
        "daemon: start to first page",
        Unit::Millis,
        ours.median(TOTAL)?,
        ("loading its models and their plans", theirs.median(TOTAL)?),
        Some(TARGET),
    ))
}

/// A device on this machine with the release installed.
struct Device {
    folder: PathBuf,
    picture: Vec<u8>,
}

impl Device {
    fn install(setting: &Setting<'_>) -> anyhow::Result<Self> {
        let device = Self {
            folder: setting.folder().to_owned(),
            picture: setting.picture(PAGE)?,
        };
        let config = device.configure(&free_endpoint()?)?;
        let identity = Identity {
            trust: setting.trust().clone(),
            device: config.identity(),
            data: Some(config.data.clone()),
        };
        let release = setting.release(RELEASE)?;
        install::install(&release, &config.data, &identity, Time::now())?;
        Ok(device)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("hotshoe.toml")
    }

    /// Every start gets a port of its own: the last one's may linger.
    fn configure(&self, endpoint: &str) -> anyhow::Result<Config> {
        let path = self.configuration();
        let text =
            format!("site = \"bench\"\ndevice = \"bench\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Config::load(&path).context("cannot use the bench's configuration")
    }

    /// From starting the process to the answer to the first sample.
    fn first_result(&self) -> anyhow::Result<Laps> {
        let endpoint = free_endpoint()?;
        self.configure(&endpoint)?;
        let zenoh = ZenohConfig {
            connect: vec![endpoint],
            ..ZenohConfig::default()
        };
        let started = Instant::now();
        let mut daemon =
            DaemonProcess::start(&self.configuration(), &self.folder.join("daemon.log"))?;
        let (client, status) = daemon.ready(&zenoh)?;
        let feeder = client.feeder(&status.site, &status.device, 1, ANSWER_DEADLINE);
        feeder.send(PAGE, "image/png", "first", self.picture.clone())?;
        let fed = feeder.next(ANSWER_DEADLINE);
        let elapsed = started.elapsed();
        client.close();
        daemon.stop()?;
        match fed.map(|fed| fed.result) {
            Some(Ok(_)) => Ok(vec![lap(TOTAL, elapsed)]),
            Some(Err(error)) => bail!(error),
            None => bail!("the daemon did not answer"),
        }
    }
}

/// A model's name and the shape of its input.
type PlanFor = (&'static str, [usize; 4]);

/// What reading the page runs.
fn plans(setting: &Setting<'_>) -> anyhow::Result<Vec<PlanFor>> {
    let picture = setting.picture(PAGE)?;
    let page = hotshoe_vision::decode(&picture, &DecodeLimits::default())?;
    let (width, height) = sizes::detector_size((page.width(), page.height()));
    let reader = NativeReader::new(
        setting.model("detect")?,
        setting.model("classify-angle")?,
        setting.model("recognise")?,
    );
    let lines = reader.read(&picture)?;
    // All lines of the page are in one group, which has the width of its widest.
    let aspect = |(width, height): sizes::Size| f64::from(width) / f64::from(height.max(1));
    let widest = lines
        .iter()
        .map(|line| sizes::crop_size(&line.outline))
        .max_by(|a, b| aspect(*a).total_cmp(&aspect(*b)))
        .context("no line was read")?;
    let shape = |(width, height): sizes::Size| [1, CHANNELS, height as usize, width as usize];
    let line = |width| shape((width, sizes::LINE_HEIGHT));
    Ok(vec![
        ("detect", shape((width, height))),
        ("classify-angle", line(sizes::ANGLE_WIDTH)),
        ("recognise", line(sizes::recogniser_width(widest))),
    ])
}

/// Loads the release's models from its layout and makes their plans, and nothing else.
fn load_models(
    layout: &Layout,
    release: &Verified<Release>,
    plans: &[PlanFor],
) -> anyhow::Result<Laps> {
    let started = Instant::now();
    let models = Models::new(Options::default());
    let mut loaded = Vec::with_capacity(plans.len());
    for (name, shape) in plans {
        let spec = release
            .models
            .get(*name)
            .with_context(|| format!("the release has no model {name}"))?;
        let model = models.load(spec.blob.digest, &layout.read(&spec.blob)?)?;
        model.prepare(&[(INPUT, shape)])?;
        loaded.push(model);
    }
    Ok(vec![lap(TOTAL, started.elapsed())])
}
