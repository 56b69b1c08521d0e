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
use label_reader::sizes::{self, Size};
use label_reader_native::NativeReader;

use super::laps::{Laps, by_turns, lap};
use super::lines;
use super::page::{PAGE, RELEASE};
use super::report::{Row, Unit};
use super::setting::{Setting, TOTAL, TRUST};
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

/// Starts daemons and loads models by turns, for a release of one small model and for that of the page. The first start,
/// which compiles the components, does not count.
pub fn start(setting: &Setting<'_>, line: &[u8], rounds: usize) -> anyhow::Result<Vec<Row>> {
    let page = setting.picture(PAGE)?;
    Ok(vec![
        measure(
            setting,
            "daemon: start to first line",
            (lines::RECOGNISER, line),
            &[("recognise", line_shape(widest(&[size(line)?])))],
            rounds,
        )?,
        measure(
            setting,
            "daemon: start to first page",
            (RELEASE, &page),
            &page_plans(setting, &page)?,
            rounds,
        )?,
    ])
}

fn measure(
    setting: &Setting<'_>,
    name: &str,
    (release, picture): (&str, &[u8]),
    plans: &[PlanFor],
    rounds: usize,
) -> anyhow::Result<Row> {
    let device = Device::install(setting, release, picture)?;
    let (layout, release) = verify::verify(
        &setting.release(release)?,
        setting.trust(),
        &Floor::none(),
        &hotshoe_trust::Device::default(),
        Time::now(),
    )?;
    let (ours, theirs) = by_turns(
        rounds,
        || device.first_result(),
        || load_models(&layout, &release, plans),
    )?;
    Ok(Row::compared(
        name,
        Unit::Millis,
        ours.median(TOTAL)?,
        ("loading its models and their plans", theirs.median(TOTAL)?),
        Some(TARGET),
    ))
}

/// A device on this machine with a release installed.
struct Device {
    folder: PathBuf,
    picture: Vec<u8>,
}

impl Device {
    fn install(setting: &Setting<'_>, release: &str, picture: &[u8]) -> anyhow::Result<Self> {
        let release = setting.release(release)?;
        let device = Self {
            folder: release.with_extension("device"),
            picture: picture.to_owned(),
        };
        fs::create_dir_all(&device.folder)
            .with_context(|| format!("cannot make {}", device.folder.display()))?;
        let config = device.configure(&free_endpoint()?)?;
        let identity = Identity {
            trust: setting.trust().clone(),
            device: config.identity(),
            data: Some(config.data.clone()),
        };
        install::install(&release, &config.data, &identity, Time::now())?;
        Ok(device)
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("hotshoe.toml")
    }

    /// Every start gets a port of its own: the last one's may linger.
    fn configure(&self, endpoint: &str) -> anyhow::Result<Config> {
        let path = self.configuration();
        let text = format!(
            "site = \"bench\"\ndevice = \"bench\"\ntrust = \"../{TRUST}\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n"
        );
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
fn page_plans(setting: &Setting<'_>, page: &[u8]) -> anyhow::Result<[PlanFor; 3]> {
    let reader = NativeReader::new(
        setting.model("detect")?,
        setting.model("classify-angle")?,
        setting.model("recognise")?,
    );
    // The lines of this page are one group, which has the width of its widest.
    let lines: Vec<Size> = reader
        .read(page)?
        .iter()
        .map(|line| sizes::crop_size(&line.outline))
        .collect();
    Ok([
        ("detect", shape(sizes::detector_size(size(page)?))),
        ("classify-angle", line_shape(sizes::ANGLE_WIDTH)),
        ("recognise", line_shape(widest(&lines))),
    ])
}

fn size(picture: &[u8]) -> anyhow::Result<Size> {
    let picture = hotshoe_vision::decode(picture, &DecodeLimits::default())?;
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
