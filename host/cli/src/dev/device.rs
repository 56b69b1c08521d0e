//! The local device: its folder, its throw-away key, its daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use hotshoe_config::Config;
use hotshoe_link::Client;
use hotshoe_protocol::status::Status;
use hotshoe_store::{Packed, Phase, pack_changed};
use hotshoe_trust::release_toml::ReleaseToml;
use hotshoe_trust::{DEVELOPMENT_KEY, Grant, HealthGate, SigningKey, Time, TrustRoot};

use crate::commands::{install, sign};
use crate::demo::deliver::Deployer;
use crate::demo::prepare::forget;
use crate::demo::process::{DaemonProcess, free_endpoint};
use crate::device::Identity;

/// The site and the device's name, in keys and in the status.
const SITE: &str = "development";
/// As [`SITE`].
const NAME: &str = "dev";
/// How long a release made for development may be used.
const EXPIRES: &str = "1d";
/// Longest from publishing a release to its first sample.
const DELIVERY: Duration = Duration::from_secs(120);

/// A daemon in development mode that trusts one key, which lives as long as this process and is never written down.
pub struct Device {
    folder: PathBuf,
    manifest: PathBuf,
    key: SigningKey,
    generation: u64,
    running: Option<Running>,
    /// Held as long as this lives: two daemons must not share the folder.
    _lock: fs::File,
}

struct Running {
    process: DaemonProcess,
    deployer: Deployer,
    /// A session of its own, which has reached the device already.
    client: Client,
    status: Status,
}

impl Running {
    fn close(self) -> DaemonProcess {
        self.client.close();
        self.deployer.close();
        self.process
    }
}

impl Device {
    /// Prepares the folder `.hotshoe/dev` beside a release.toml. What an earlier run left there goes, but for compiled code.
    pub fn new(manifest: &Path) -> anyhow::Result<Self> {
        let beside = manifest.parent().unwrap_or(Path::new("."));
        let folder = std::path::absolute(beside.join(".hotshoe").join("dev"))?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let lock = folder.join("lock");
        let lock =
            fs::File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        if lock.try_lock().is_err() {
            bail!(
                "another `hotshoe dev` uses {}; end it first",
                folder.display()
            );
        }
        let key = SigningKey::generate().context("cannot make a key")?;
        let public = key.public_key().context("cannot make a key")?;
        let trust = format!(
            "# Made by `hotshoe dev` for one run. Whoever has the key may run anything: a device that is not in development mode refuses it.\nversion = 1\nthreshold = 1\n\n{}",
            TrustRoot::key_entry(DEVELOPMENT_KEY, &public, &["*"])
        );
        write(&folder.join("trust.toml"), &trust)?;
        forget(&folder.join("data"))?;
        Ok(Self {
            folder,
            manifest: manifest.to_owned(),
            key,
            generation: 0,
            running: None,
            _lock: lock,
        })
    }

    /// Packs and signs the release as it is now, and lets it serve: the first one by installing it, later ones by an atomic swap. Returns
    /// how long that took, from the files on the disk to the release that serves.
    pub fn serve(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.generation += 1;
        let generation = self.generation;
        let layout = self.folder.join("release");
        let packed = pack_changed(&self.manifest, Time::now(), &layout, |release| {
            for_development(release, generation);
        })?;
        sign::sign(&layout, &self.key)?;
        self.drop_ended()?;
        if self.running.is_none() {
            self.start(&packed)?;
        } else {
            self.deliver(&packed)?;
        }
        Ok(started.elapsed())
    }

    /// The session to the device, and what it said of itself.
    pub fn client(&self) -> Option<(&Client, &Status)> {
        let running = self.running.as_ref()?;
        Some((&running.client, &running.status))
    }

    /// The daemon's log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// Stops the daemon, whose samples in flight finish.
    pub fn stop(self) -> anyhow::Result<()> {
        let Some(running) = self.running else {
            return Ok(());
        };
        running.close().stop()
    }

    /// Forgets a daemon that ended by itself, so that another is started, on a device that knows nothing of what ended it.
    fn drop_ended(&mut self) -> anyhow::Result<()> {
        if let Some(ended) = self.running.take_if(|running| running.process.ended()) {
            drop(ended.close());
            forget(&self.folder.join("data"))?;
        }
        Ok(())
    }

    fn start(&mut self, packed: &Packed) -> anyhow::Result<()> {
        let file = self.folder.join("hotshoe.toml");
        let endpoint = free_endpoint()?;
        write(&file, &configuration(&endpoint, packed, &self.folder)?)?;
        let config = Config::load(&file)?;
        let identity = Identity::of(crate::device::trust_root(&config.trust)?, &config);
        install::install(packed.layout.path(), &config.data, &identity, Time::now())?;
        let mut process = DaemonProcess::start(&file, &self.log())?;
        let (client, status) = process.ready(&config.zenoh.client())?;
        let deployer = Deployer::open(&config.zenoh.client(), SITE, NAME)?;
        self.running = Some(Running {
            process,
            deployer,
            client,
            status,
        });
        Ok(())
    }

    fn deliver(&mut self, packed: &Packed) -> anyhow::Result<()> {
        let Some(running) = &mut self.running else {
            bail!("no daemon runs");
        };
        let published = running
            .deployer
            .publish(packed.layout.path(), &packed.release)?;
        let step = running
            .deployer
            .follow(&published, DELIVERY, |step| Ok(serves_or_ended(step.phase)))?;
        if matches!(step.phase, Phase::Trial | Phase::Live) {
            return Ok(());
        }
        let cause = step
            .cause
            .map_or_else(String::new, |cause| format!(": {}", cause.message));
        bail!("the release is {}{cause}", step.phase)
    }
}

const fn serves_or_ended(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Trial | Phase::Live | Phase::Refused | Phase::Failed | Phase::RolledBack
    )
}

/// Nothing is waited for on trial, and no self-test stands in the way of a result that an author wants to see.
fn for_development(release: &mut ReleaseToml, generation: u64) {
    release.generation = generation;
    release.expires = None;
    release.expires_in = Some(EXPIRES.to_owned());
    release.devices = Default::default();
    release.tests.clear();
    release.health = HealthGate {
        min_samples: 0,
        min_seconds: 0,
        ..HealthGate::default()
    };
}

/// A device that allows all that the release asks for, and is reached from this machine alone.
fn configuration(endpoint: &str, packed: &Packed, folder: &Path) -> anyhow::Result<String> {
    let list = |items: Vec<String>| {
        let items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
        items.join(", ")
    };
    let components = || packed.release.components.values();
    let grants = components()
        .flat_map(|component| &component.grants)
        .map(Grant::to_string);
    let hosts = components()
        .flat_map(|component| &component.hosts)
        .map(ToString::to_string);
    let mut text = format!(
        "# Made by `hotshoe dev`. Not for a device that somebody relies on.
development = true
site = \"{SITE}\"
device = \"{NAME}\"
data = \"data\"
trust = \"trust.toml\"
allow = [{}]

[network]
hosts = [{}]

[zenoh]
listen = [\"{endpoint}\"]
",
        list(grants.collect()),
        list(hosts.collect()),
    );
    for (number, (name, _)) in components().flat_map(|it| &it.folders).enumerate() {
        let path = folder.join("folders").join(number.to_string());
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        text.push_str(&format!(
            "\n[folders.{name:?}]\npath = {path:?}\nwrite = true\n"
        ));
    }
    Ok(text)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
