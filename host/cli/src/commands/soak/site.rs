//! A daemon in a temporary folder, and the releases that it gets.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hotshoe_config::{Config, ZenohConfig};
use hotshoe_daemon::command::Command;
use hotshoe_daemon::control;
use hotshoe_link::Client;
use hotshoe_protocol::status::Status;
use hotshoe_release::daemon_process::{DaemonProcess, free_endpoint};
use hotshoe_release::deliver::{Deployer, Step};
use hotshoe_release::device::Identity;
use hotshoe_release::install::install;
use hotshoe_release::keys::{keygen, read_key};
use hotshoe_release::pack::whole_model;
use hotshoe_release::sign::sign;
use hotshoe_release::trust_file::write_trust;
use hotshoe_store::{Phase, pack_changed};
use hotshoe_trust::release_toml::ReleaseToml;
use hotshoe_trust::{DeviceSelector, HealthGate, Release, Time, TrustRoot};
use tempfile::TempDir;

use super::SoakError;

/// The name of the key, of its site and of its files.
const NAME: &str = "soak";
/// Timeout of one release: it is loaded at low priority, beside full load.
const DEADLINE: Duration = Duration::from_secs(300);
/// Timeout of a status.
const ANSWER: Duration = Duration::from_secs(5);
/// A publisher serves each release to its end; a new one begins after so many.
const RELEASES_OF_A_PUBLISHER: u64 = 200;
/// Bytes of the log in an error.
const LOG_BYTES: usize = 2_000;

/// Packs and signs generations of one release.
pub(super) struct Workshop {
    folder: TempDir,
    release_toml: PathBuf,
    secret: PathBuf,
    trust: TrustRoot,
    generation: u64,
    /// Without self-tests, so that a swap is fast.
    is_light: bool,
}

/// A packed and signed release.
struct Packed {
    layout: PathBuf,
    release: Release,
}

impl Workshop {
    /// One with a new key.
    pub(super) fn new(release_toml: &Path, is_light: bool) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("cannot create a temporary folder")?;
        let pair = keygen(folder.path(), NAME, None, true)?;
        let keys = [(NAME.to_owned(), pair.public)];
        let trust = write_trust(&keys, 1, &["*"], &folder.path().join("trust.toml"), true)?;
        Ok(Self {
            secret: pair.secret,
            release_toml: release_toml.to_owned(),
            generation: 0,
            is_light,
            trust,
            folder,
        })
    }

    fn make(&mut self) -> anyhow::Result<Packed> {
        self.generation += 1;
        let generation = self.generation;
        let layout = self.folder.path().join(format!("release-{generation}"));
        let is_light = self.is_light;
        let change = |description: &mut ReleaseToml| {
            description.generation = generation;
            description.devices = DeviceSelector::default();
            // A trial ends after a few samples, and full load does not decide about it.
            description.health = HealthGate {
                min_samples: 5,
                min_seconds: 0,
                max_error_rate: 1.0,
                max_trap_rate: 1.0,
                max_deadline_miss_rate: 1.0,
                ..HealthGate::default()
            };
            if is_light {
                description.tests.clear();
            }
        };
        let packed = pack_changed(
            &self.release_toml,
            Time::now(),
            &layout,
            change,
            &whole_model,
        )
        .with_context(|| format!("cannot pack {}", self.release_toml.display()))?;
        sign(&layout, &read_key(&self.secret)?)?;
        Ok(Packed {
            layout,
            release: packed.release,
        })
    }
}

/// A daemon that serves.
pub(super) struct SoakSite {
    daemon: DaemonProcess,
    deployer: Deployer,
    published: u64,
    /// How to connect to it.
    pub(super) zenoh: ZenohConfig,
    /// The address of its page.
    pub(super) page: String,
    /// Its data folder.
    pub(super) data: PathBuf,
    /// Its status at the start.
    pub(super) device: Status,
    log: PathBuf,
}

impl SoakSite {
    /// Installs the next release and starts a daemon of that name.
    pub(super) fn start(workshop: &mut Workshop, name: &str) -> anyhow::Result<Self> {
        let first = workshop.make()?;
        let folder = workshop.folder.path().join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let endpoint = free_endpoint()?;
        let page = free_endpoint()?;
        let page = page.trim_start_matches("tcp/").to_owned();
        let path = folder.join("hotshoe.toml");
        let text = format!(
            "site = \"{NAME}\"\ndevice = \"{name}\"\ntrust = \"../trust.toml\"\n[zenoh]\nlisten = [\"{endpoint}\"]\n[page]\nlisten = \"{page}\"\n[governor]\nenabled = false\n"
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        let config = Config::load(&path).context("cannot load the configuration of the soak")?;
        let identity = Identity::of(workshop.trust.clone(), &config);
        install(&first.layout, &config.data, &identity, Time::now())?;
        remove(&first.layout)?;
        let zenoh = ZenohConfig {
            connect: vec![endpoint],
            ..ZenohConfig::default()
        };
        let log = folder.join("daemon.log");
        let mut daemon = DaemonProcess::start(&path, &log)?;
        let (client, device) = daemon.ready(&zenoh)?;
        client.close();
        let deployer = Deployer::open(&zenoh, &device.site, &device.device)?;
        Ok(Self {
            daemon,
            deployer,
            published: 0,
            zenoh,
            page,
            data: config.data,
            device,
            log,
        })
    }

    /// The id of its process.
    pub(super) fn id(&self) -> u32 {
        self.daemon.id()
    }

    /// Fails if the daemon has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if !self.daemon.ended() {
            return Ok(());
        }
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let from = log.len().saturating_sub(LOG_BYTES);
        let from = (from..=log.len()).find(|at| log.is_char_boundary(*at));
        let log = from.and_then(|from| log.get(from..)).unwrap_or_default();
        Err(SoakError::DaemonEnded {
            log: log.trim().to_owned(),
        }
        .into())
    }

    /// The names of its site and of itself.
    pub(super) fn names(&self) -> (String, String) {
        (self.device.site.clone(), self.device.device.clone())
    }

    /// Opens a session of its own.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        Client::open(&self.zenoh).context("cannot reach the daemon")
    }

    /// Publishes the next release and waits until it is confirmed, for which it needs samples: `on_trial` is called when its trial begins.
    /// Returns how long it took until it served.
    pub(super) fn swap(
        &mut self,
        workshop: &mut Workshop,
        mut on_trial: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let next = workshop.make()?;
        if self.published == RELEASES_OF_A_PUBLISHER {
            let fresh = Deployer::open(&self.zenoh, &self.device.site, &self.device.device)?;
            std::mem::replace(&mut self.deployer, fresh).close();
            self.published = 0;
        }
        self.published += 1;
        let began = Instant::now();
        let published = self.deployer.publish(&next.layout, &next.release)?;
        let mut served = None;
        let last = |step: &Step| {
            if matches!(step.phase, Phase::Trial | Phase::Live) && served.is_none() {
                served = Some(step.at.saturating_duration_since(began));
            }
            if step.phase == Phase::Trial {
                on_trial()?;
            }
            Ok(step.phase == Phase::Live || step.phase.is_failure())
        };
        let end = self.deployer.follow(&published, DEADLINE, last)?;
        ensure!(
            end.phase == Phase::Live,
            "generation {} ended as {}: {:?}",
            next.release.generation,
            end.phase,
            end.cause
        );
        remove(&next.layout)?;
        Ok(served.unwrap_or_else(|| began.elapsed()))
    }

    /// Rolls back, as an operator on the device does.
    pub(super) fn roll_back(&self) -> anyhow::Result<()> {
        control::call(&self.data, &Command::Rollback).context("cannot roll back")?;
        Ok(())
    }

    /// Its status.
    pub(super) fn status(&self) -> anyhow::Result<Status> {
        let (site, device) = (Some(self.device.site.as_str()), &self.device.device);
        let client = self.deployer.client();
        let mut statuses = client.statuses(site, Some(device), ANSWER)?;
        statuses.pop().context("the daemon did not answer")
    }

    /// Stops the daemon.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.deployer.close();
        self.daemon.stop()
    }
}

fn remove(layout: &Path) -> anyhow::Result<()> {
    fs::remove_dir_all(layout).with_context(|| format!("cannot remove {}", layout.display()))
}
